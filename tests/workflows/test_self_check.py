"""The self-check: what is hidden, what is ranked against it, and what it is compared with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from adapt import Checkpoint, load_dataset, zero_shot
from adapt.workflows import self_check as checking
from adapt.workflows.recommender import ZeroShotRecommender
from adapt.workflows.self_check import self_check

THINGS = ("tent", "kettle", "lamp", "chair", "rope", "boots")
COLOURS = ("red", "blue", "green", "black")
ITEMS = [f"{colour} {thing}" for thing in THINGS for colour in COLOURS]
CATALOG = "item_id,title\n" + "".join(f"{row},{title}\n" for row, title in enumerate(ITEMS)) + "nothing,\n"

Shop = Callable[[dict[str, list[int | str]]], ZeroShotRecommender]


@pytest.fixture
def shop(tiny: Checkpoint, data_set: Callable[..., Path]) -> Shop:
    def make(histories: dict[str, list[int | str]]) -> ZeroShotRecommender:
        lines = [f"{user},{item}" for user, history in histories.items() for item in history]
        return zero_shot(tiny, load_dataset(data_set(CATALOG, "user_id,item_id\n" + "\n".join(lines) + "\n")))

    return make


def things(users: int = 12) -> dict[str, list[int | str]]:
    """Users who buy one thing in three colours."""
    random = np.random.default_rng(0)
    return {
        f"u{user}": [int(user % len(THINGS)) * 4 + int(colour) for colour in random.permutation(4)[:3]]
        for user in range(users)
    }


def test_it_is_what_recommending_without_the_last_item_reaches(shop: Shop) -> None:
    histories = things()
    recommender = shop(histories)
    found = self_check(recommender, k=2, seed=0)
    places = []
    for history in histories.values():
        (listed,) = recommender.recommend(history=[str(item) for item in history[:-1]], k=len(ITEMS))
        places.append(listed.item_ids.index(str(history[-1])))
    assert found is not None
    assert found.users == 12
    assert found.recall == pytest.approx(np.mean([place < 2 for place in places]))
    assert found.ndcg == pytest.approx(np.mean([1 / np.log2(place + 2) if place < 2 else 0 for place in places]))
    assert found.recall_low <= found.recall <= found.recall_high
    assert found.recall > found.chance_recall


def test_popularity_is_counted_without_the_hidden_events(shop: Shop) -> None:
    """Item 0 is the last of everyone: with the hidden events it would be the most popular, without them nobody's."""
    found = self_check(shop({f"u{user}": [4 + user, 5 + user, 0] for user in range(10)}), k=3, seed=0)
    assert found is not None
    assert found.popularity_recall < 0.2


def test_a_popular_hidden_item_is_found_by_popularity(shop: Shop) -> None:
    histories: dict[str, list[int | str]] = {f"u{user}": [4 + user, 0] for user in range(10)}
    histories |= {f"v{user}": [0, 4 + user] for user in range(9)}
    found = self_check(shop(histories), k=1, seed=0)
    assert found is not None
    assert found.popularity_recall == pytest.approx(10 / 19)


def test_users_without_a_last_item_to_hide_do_not_count(shop: Shop) -> None:
    histories = things()
    histories |= {"single": [3], "again": [3, 4, 3], "empty": ["nothing"], "one usable": [5, "nothing"]}
    found = self_check(shop(histories), k=2, seed=0)
    assert found is not None
    assert found.users == 12


def test_few_users_give_no_number(shop: Shop) -> None:
    assert self_check(shop(things(9)), k=2, seed=0) is None


def test_many_users_are_drawn_by_the_seed(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    recommender = shop(things(60))
    monkeypatch.setattr(checking, "_MOST_USERS", 20)
    one, again = (self_check(recommender, k=2, seed=1) for _ in range(2))
    assert one == again
    assert one is not None
    assert one.users == 20
    others = {self_check(recommender, k=2, seed=seed) for seed in range(2, 8)}
    assert len(others) > 1


def test_blocks_change_nothing(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    recommender = shop(things(30))
    whole = self_check(recommender, k=2, seed=0)
    monkeypatch.setattr(checking, "_BLOCK_BYTES", 300)
    assert self_check(recommender, k=2, seed=0) == whole


def test_a_list_as_long_as_the_catalog_finds_everything(shop: Shop) -> None:
    found = self_check(shop(things()), k=1000, seed=0)
    assert found is not None
    assert found.recall == found.chance_recall == found.popularity_recall == 1.0

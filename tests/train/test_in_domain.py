"""Held-out events: what is trained on, what is tested, and with which knowledge."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from adapt.data.catalog import Interactions
from adapt.data.split import leave_one_out
from adapt.errors import DataError, UsageError
from adapt.model.items import ItemFeatures
from adapt.model.mmsrec import MMSRec
from adapt.train.in_domain import (
    METRICS,
    POLICIES,
    HeldOutRanks,
    mean_over_runs,
    rank_baselines,
    rank_held_out,
    training_source,
)
from adapt.train.sources import RawFeatures

ITEMS, WIDTH = 9, 4


def interactions(histories: list[list[int]]) -> Interactions:
    offsets = np.concatenate([[0], np.cumsum([len(history) for history in histories])]).astype(np.int64)
    flat = np.array([item for history in histories for item in history], dtype=np.int32)
    return Interactions(tuple(f"u{user}" for user in range(len(histories))), offsets, flat)


def features(missing: int | None = None) -> RawFeatures:
    torch.manual_seed(0)
    present = np.arange(ITEMS) != missing
    return RawFeatures(torch.randn(ITEMS, WIDTH).numpy(), present)


class Recalls(MMSRec):
    """Towers that predict the last item of a history plus one."""

    def embed_items(self, items: ItemFeatures) -> torch.Tensor:
        return items.values["text"]

    def embed_users(self, histories: torch.Tensor, catalog: ItemFeatures, embedded: torch.Tensor) -> torch.Tensor:
        return embedded[histories[:, -1] + 1]


@pytest.fixture
def successor() -> Recalls:
    return Recalls({"text": ITEMS}, dim=ITEMS, depth=1, heads=1, hidden=4).eval()


def one_hot() -> ItemFeatures:
    return ItemFeatures({"text": torch.eye(ITEMS)}, {"text": torch.ones(ITEMS, dtype=torch.bool)})


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(st.integers(0, ITEMS - 1), max_size=7), min_size=1, max_size=6), st.integers(1, 3))
def test_no_held_out_event_is_trained_on(histories: list[list[int]], test_events: int) -> None:
    data = interactions(histories)
    if not any(len(history) >= test_events + 2 for history in histories):
        with pytest.raises(DataError, match="interactions or more"):
            training_source("d", {"text": features()}, data, test_events, 100, 0)
        return
    source = training_source("d", {"text": features()}, data, test_events, 100, 0)
    for user, history in enumerate(histories):
        trained = source.histories.items[source.histories.offsets[user] : source.histories.offsets[user + 1]].tolist()
        assert trained == history[: len(trained)]
        assert len(trained) <= max(1, len(history) - test_events - 1)
    long = [history for history in histories if len(history) >= test_events + 2]
    expected = sorted((history[: -test_events - 1], history[-test_events - 1]) for history in long)
    found = sorted((known.tolist(), int(target)) for known, target in zip(source.known, source.targets, strict=True))
    assert found == expected


def test_one_tested_event_is_the_usual_split() -> None:
    data = interactions([[0, 1, 2, 3], [4, 5, 6], [7, 8], [1]])
    split = leave_one_out(data)
    source = training_source("d", {"text": features()}, data, 1, 100, 0)
    np.testing.assert_array_equal(source.histories.items, split.train.items)
    assert sorted(source.targets.tolist()) == sorted(split.valid_items[split.valid_items >= 0].tolist())


def test_every_tested_event_is_ranked_after_all_that_came_before(successor: Recalls) -> None:
    data = interactions([[0, 1, 2, 3], [5, 2, 8], [4]])
    ranks = rank_held_out(successor, one_hot(), data, 2)
    assert ranks.users.tolist() == [0, 1, 0, 1]  # the last event of both, then the one before it
    assert (ranks.ranks["seen items kept"] == 0).tolist() == [True, False, True, False]
    assert ranks.skipped == 0


def test_seen_items_are_candidates_or_not() -> None:
    data = interactions([[0, 1, 0, 1]])  # after 0, 1, 0 comes 1 again, which the towers predict
    towers = Recalls({"text": ITEMS}, dim=ITEMS, depth=1, heads=1, hidden=4).eval()
    ranks = rank_held_out(towers, one_hot(), data, 1).ranks
    assert ranks["seen items kept"].tolist() == [0.0]
    assert ranks["seen items excluded"].tolist() == [float("inf")]


def test_events_without_a_usable_history_are_counted(successor: Recalls) -> None:
    items = ItemFeatures({"text": torch.eye(ITEMS)}, {"text": torch.arange(ITEMS) != 5})
    ranks = rank_held_out(successor, items, interactions([[5, 6], [1, 2]]), 1)
    assert ranks.users.tolist() == [1]
    assert ranks.skipped == 1


def test_other_scorers_know_no_held_out_event() -> None:
    """Item 8 is met in held-out events only: to whoever counts events it is the least popular."""
    data = interactions([[0, 1, 2, 8], [1, 2, 3, 8], [2, 1, 4, 8]])
    ranks = rank_baselines(one_hot(), data, 1)
    assert set(ranks) == {"popularity", "content-kNN", "item-kNN", "tuned item-kNN"}
    assert (ranks["popularity"].ranks["seen items kept"] >= 3).all()
    assert (ranks["item-kNN"].ranks["seen items kept"] >= 3).all()
    again = rank_baselines(one_hot(), interactions([[0, 1, 2, 7], [1, 2, 3, 7], [2, 1, 4, 7]]), 1)
    np.testing.assert_array_equal(
        again["popularity"].ranks["seen items kept"], ranks["popularity"].ranks["seen items kept"]
    )


def test_a_user_counts_once_whatever_the_number_of_events() -> None:
    ranks = HeldOutRanks(np.array([3, 7, 3]), {policy: np.array([0.0, 20.0, 30.0]) for policy in POLICIES}, 0)
    assert ranks.values("seen items kept", "recall@10").tolist() == [0.5, 0.0]
    assert ranks.values("seen items kept", "recall@50").tolist() == [1.0, 1.0]
    other = HeldOutRanks(ranks.users, {policy: np.array([0.0, 0.0, 0.0]) for policy in POLICIES}, 0)
    assert mean_over_runs([ranks, other], "seen items kept", "recall@10").tolist() == [0.75, 0.5]
    assert set(METRICS) == {"recall@10", "ndcg@10", "recall@50", "ndcg@50"}


def test_what_cannot_be_tested_is_said(successor: Recalls) -> None:
    with pytest.raises(UsageError, match="test_events"):
        training_source("d", {"text": features()}, interactions([[1, 2, 3]]), 0, 10, 0)
    with pytest.raises(UsageError, match="two interactions"):
        rank_held_out(successor, one_hot(), interactions([[1]]), 1)

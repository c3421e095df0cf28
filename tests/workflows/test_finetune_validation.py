"""What fine-tuning is judged by: which events are held back, and which method they choose."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from adapt import load_dataset
from adapt.data.catalog import Interactions
from adapt.errors import DataError
from adapt.hub.format import Checkpoint
from adapt.workflows.finetune import finetune
from adapt.workflows.finetune_validation import ENOUGH, Comparison, Figures, ValidationSplit, hold_back
from adapt.workflows.finetuned import REMEMBERING
from tests.workflows.finetune_cases import QUICK, write_walkers

ITEMS = 300
USABLE = np.ones(ITEMS, bool)


def histories(*lengths: int) -> Interactions:
    """Users whose items are drawn at random, none twice."""
    random = np.random.default_rng(0)
    items = [random.permutation(ITEMS)[:length] for length in lengths]
    names = tuple(f"u{user}" for user in range(len(lengths)))
    return Interactions(names, np.cumsum([0, *lengths]), np.concatenate(items).astype(np.int32))


def assert_cases_continue_histories(split: ValidationSplit, interactions: Interactions) -> None:
    for before, target, user in zip(split.lists(), split.targets, split.users, strict=True):
        history = interactions.history(int(user))
        assert history[len(before)] == target
        assert np.array_equal(history[: len(before)], before)
        assert len(split.train.history(int(user))) <= len(before)  # trained on nothing that came after


def test_of_many_users_the_last_event_is_held_back() -> None:
    known = histories(*[2, 10, 40] * ENOUGH)
    split = hold_back(known, USABLE, 10_000, 0)
    asked = np.flatnonzero(known.lengths() >= 3)
    assert np.array_equal(split.users, asked)
    assert np.array_equal(split.targets, known.items[known.offsets[asked + 1] - 1])
    assert np.array_equal(split.train.lengths(), np.where(known.lengths() >= 3, known.lengths() - 1, known.lengths()))
    assert_cases_continue_histories(split, known)


def test_few_users_give_more_of_their_last_events_but_a_fifth_at_most() -> None:
    known = histories(2, 4, 40, 100)
    split = hold_back(known, USABLE, 10_000, 0)
    assert np.array_equal(np.bincount(split.users, minlength=4), [0, 1, 8, 20])
    assert np.array_equal(split.train.lengths(), [2, 3, 32, 80])
    assert_cases_continue_histories(split, known)
    enough = hold_back(histories(*[100] * 60), USABLE, 10_000, 0)
    assert len(enough) == 540  # nine of each: eight would be fewer than is enough


def test_an_event_that_cannot_be_asked_for_is_held_back_all_the_same() -> None:
    known = histories(40, 40)
    usable = USABLE.copy()
    usable[known.items[[35, 79]]] = False
    split = hold_back(known, usable, 10_000, 0)
    assert len(split) == 2 * 8 - 2
    assert not np.isin(known.items[[35, 79]], split.targets).any()
    assert np.array_equal(split.train.lengths(), [32, 32])
    nothing = np.zeros(ITEMS, bool)
    nothing[known.items[-1]] = True  # an item, and nobody has met another one that can be read
    with pytest.raises(DataError, match=r"two or more users .* found 0"):
        hold_back(known, nothing, 10_000, 0)


def compared(zero: list[float], few: list[float], tower: list[float], users: list[int] | None = None) -> str:
    """The method that these ranks choose; fused ranks as few-shot does."""
    named = {"zero-shot": zero, "few-shot": few, "fine-tuned": tower, "fused": few}
    figures = {name: Figures(np.array(ranks), np.zeros((len(ranks), 10), int)) for name, ranks in named.items()}
    return Comparison(figures, {}, np.array(users if users else range(len(zero)))).chosen


def test_a_handful_of_events_does_not_choose_against_what_others_did() -> None:
    nowhere = [50.0] * 9
    assert compared(nowhere, nowhere, nowhere) == "few-shot"
    assert compared([0.0, *nowhere[1:]], nowhere, [0.0, *nowhere[1:]]) == "few-shot"
    assert compared([0.0] * 9, nowhere, nowhere) == "zero-shot"
    assert compared([3.0] * 9, nowhere, [0.0] * 9) == "fine-tuned"


def test_many_events_of_one_user_weigh_as_one_user() -> None:
    lucky = [0.0] * 40 + [50.0] * 8
    nowhere = [50.0] * 48
    assert compared(nowhere, nowhere, lucky) == "fine-tuned"  # of 48 users
    assert compared(nowhere, nowhere, lucky, [0] * 40 + list(range(1, 9))) == "few-shot"  # of nine, all from one


def test_a_run_of_few_users_says_so_and_recommends_by_what_others_did(tiny_folder: Path, tmp_path: Path) -> None:
    data = load_dataset(write_walkers(tmp_path / "walk", users=6, length=30))
    run = finetune(
        Checkpoint.from_pretrained(str(tiny_folder)), data, QUICK, tmp_path / "run", reference=str(tiny_folder)
    )
    assert run.record["validation"]["events"] == 6 * 6
    assert run.chosen in REMEMBERING
    assert "of 6 the last events were held back, up to 6 of each" in " ".join(run.record["caveats"])

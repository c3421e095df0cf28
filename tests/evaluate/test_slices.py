"""Splits of cases are complete and by what they say."""

from __future__ import annotations

import numpy as np
import pytest

from adapt.data.catalog import Interactions
from adapt.errors import UsageError
from adapt.evaluate.histories import from_lists
from adapt.evaluate.slices import by_history_length, by_warmth
from adapt.evaluate.tasks import leave_one_out_task, with_fraction


@pytest.fixture
def task():
    rng = np.random.default_rng(1)
    found = from_lists([rng.integers(200, size=length) for length in [*range(2, 40), 2, 3, 4]])
    users = tuple(f"u{n}" for n in range(len(found.offsets) - 1))
    return leave_one_out_task(Interactions(users, found.offsets, found.items), np.ones(200, bool))


def test_a_case_is_warm_if_its_item_has_a_training_event(task):
    parts = by_warmth(task)
    assert parts["overall"].all()
    assert (parts["warm"] ^ parts["cold"]).all()
    for target, warm in zip(task.targets, parts["warm"], strict=True):
        assert warm == (target in task.train.items)
    assert by_warmth(with_fraction(task, 0.0))["cold"].all()


def test_every_case_is_in_the_bucket_of_its_length(task):
    parts = by_history_length(task)
    assert list(parts) == ["1–2", "3–5", "6–10", "11–20", "21+"]
    np.testing.assert_array_equal(np.sum(list(parts.values()), axis=0), 1)
    lengths = np.diff(task.histories.offsets)
    assert set(lengths[parts["6–10"]]) == set(range(6, 11))
    assert lengths[parts["21+"]].min() == 21
    assert list(by_history_length(task, (1, 2, 3))) == ["1", "2", "3+"]


@pytest.mark.parametrize("edges", [(), (0, 3), (3, 3), (5, 2)])
def test_edges_that_do_not_ascend_are_refused(task, edges):
    with pytest.raises(UsageError, match="ascend"):
        by_history_length(task, edges)

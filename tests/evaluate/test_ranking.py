"""Ranking: what it excludes, what its lists hold, and that blocks change nothing."""

from __future__ import annotations

import numpy as np
import pytest

from adapt.data.catalog import Interactions
from adapt.errors import DataError, UsageError
from adapt.evaluate import ranking
from adapt.evaluate.baselines import popularity
from adapt.evaluate.histories import from_lists
from adapt.evaluate.ranking import evaluate, rank_cases
from adapt.evaluate.tasks import leave_one_out_task

CASES, ITEMS = 23, 17
ALL = np.ones(ITEMS, bool)


@pytest.fixture
def world():
    rng = np.random.default_rng(5)
    scores = rng.normal(size=(CASES, ITEMS)).astype(np.float32)
    histories = [rng.choice(ITEMS, size=rng.integers(1, 5), replace=False) for _ in range(CASES)]
    targets = np.array([rng.choice(np.setdiff1d(np.arange(ITEMS), history)) for history in histories])
    return scores, histories, targets


def test_seen_items_are_no_candidates_unless_they_are_kept(world):
    scores, histories, targets = world
    without = rank_cases(lambda cases: scores[cases], from_lists(histories), targets, ALL, k=ITEMS)
    kept = rank_cases(lambda cases: scores[cases], from_lists(histories), targets, ALL, k=ITEMS, exclude_seen=False)
    for case in range(CASES):
        better = np.flatnonzero(scores[case] > scores[case, targets[case]])
        assert kept.ranks[case] == len(better)
        assert without.ranks[case] == len(np.setdiff1d(better, histories[case]))
        assert not np.isin(without.top[case], histories[case]).any()
        assert np.isin(histories[case], kept.top[case]).all()
    assert "seen items excluded" in without.policy
    assert "seen items kept" in kept.policy


def test_a_rank_is_the_place_in_the_list(world):
    scores, histories, targets = world
    found = rank_cases(lambda cases: scores[cases], from_lists(histories), targets, ALL, k=ITEMS)
    for case in range(CASES):
        assert found.top[case, int(found.ranks[case])] == targets[case]


def test_blocks_of_any_size_give_the_same_ranks_and_lists(world, monkeypatch):
    scores, histories, targets = world
    whole = rank_cases(lambda cases: scores[cases], from_lists(histories), targets, ALL, k=4)
    sizes = []

    def scorer(cases):
        sizes.append(len(cases))
        return scores[cases]

    monkeypatch.setattr(ranking, "BLOCK_BYTES", 4 * ITEMS * 3)
    blocks = rank_cases(scorer, from_lists(histories), targets, ALL, k=4)
    assert max(sizes) == 3
    np.testing.assert_array_equal(blocks.ranks, whole.ranks)
    np.testing.assert_array_equal(blocks.top, whole.top)
    assert blocks.metrics == whole.metrics


def test_a_target_that_is_no_candidate_is_a_miss_and_in_no_list(world):
    scores, histories, targets = world
    candidates = ALL.copy()
    candidates[targets[0]] = False
    found = rank_cases(lambda cases: scores[cases], from_lists(histories), targets, candidates, k=ITEMS)
    assert found.misses == np.count_nonzero(targets == targets[0])
    assert found.candidates == ITEMS - 1
    assert targets[0] not in found.top


def test_nothing_to_evaluate_wrong_shapes_and_nan_are_refused(world):
    scores, histories, targets = world
    with pytest.raises(UsageError, match="one or more histories"):
        rank_cases(lambda cases: scores[cases], from_lists([]), targets[:0], ALL)
    with pytest.raises(UsageError, match="one target"):
        rank_cases(lambda cases: scores[cases], from_lists(histories), targets[:-1], ALL)
    with pytest.raises(UsageError, match="scores of shape"):
        rank_cases(lambda cases: scores[cases, :-1], from_lists(histories), targets, ALL)
    with pytest.raises(DataError, match="NaN"):
        rank_cases(lambda cases: np.full((len(cases), ITEMS), np.nan), from_lists(histories), targets, ALL)


def test_a_method_is_fitted_on_the_training_events_and_asked_for_the_histories():
    events = Interactions(("a", "b"), np.array([0, 3, 5]), np.array([0, 1, 2, 1, 0], np.int32))
    seen = {}

    def method(train):
        seen["train"] = train.items

        def scorer(histories):
            seen["histories"] = histories.items
            return popularity(train, 3)

        return scorer

    found = evaluate(method, leave_one_out_task(events, np.ones(3, bool)), k=2)
    assert seen["train"].tolist() == [0, 1, 1]
    assert seen["histories"].tolist() == [0, 1, 1]
    assert found.ranks.tolist() == [0, 0]  # only item 2 is left for user a; item 0 has more events than item 2 for b
    assert found.top.tolist() == [[2, -1], [0, 2]]

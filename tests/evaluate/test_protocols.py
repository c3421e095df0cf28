"""Leave-one-out: whom it counts, what it excludes, and that blocks change nothing."""

from __future__ import annotations

import numpy as np
import pytest

from adapt.errors import UsageError
from adapt.evaluate import protocols
from adapt.evaluate.histories import from_lists
from adapt.evaluate.protocols import leave_one_out

USERS, ITEMS = 23, 17


@pytest.fixture
def world():
    rng = np.random.default_rng(5)
    scores = rng.normal(size=(USERS, ITEMS)).astype(np.float32)
    histories = [rng.choice(ITEMS, size=rng.integers(1, 5), replace=False) for _ in range(USERS)]
    targets = np.array([rng.choice(np.setdiff1d(np.arange(ITEMS), history)) for history in histories])
    return scores, histories, targets


def test_seen_items_are_no_candidates_unless_they_are_kept(world):
    scores, histories, targets = world
    without = leave_one_out(lambda users: scores[users], from_lists(histories), targets, ITEMS)
    kept = leave_one_out(lambda users: scores[users], from_lists(histories), targets, ITEMS, exclude_seen=False)
    for user in range(USERS):
        better = np.flatnonzero(scores[user] > scores[user, targets[user]])
        assert kept.ranks[user] == len(better)
        assert without.ranks[user] == len(np.setdiff1d(better, histories[user]))
    assert "seen items excluded" in without.policy
    assert "seen items kept" in kept.policy


def test_blocks_of_any_size_give_the_same_ranks(world, monkeypatch):
    scores, histories, targets = world
    whole = leave_one_out(lambda users: scores[users], from_lists(histories), targets, ITEMS)
    sizes = []

    def scorer(users):
        sizes.append(len(users))
        return scores[users]

    monkeypatch.setattr(protocols, "BLOCK_BYTES", 4 * ITEMS * 3)
    blocks = leave_one_out(scorer, from_lists(histories), targets, ITEMS)
    assert max(sizes) == 3
    np.testing.assert_array_equal(blocks.ranks, whole.ranks)
    assert blocks.metrics == whole.metrics


def test_users_without_a_target_are_not_counted_and_misses_are(world):
    scores, histories, targets = world
    targets = targets.copy()
    targets[4] = -1
    candidates = np.ones(ITEMS, bool)
    candidates[targets[0]] = False
    found = leave_one_out(lambda users: scores[users], from_lists(histories), targets, ITEMS, candidates=candidates)
    assert 4 not in found.users
    assert len(found.users) == USERS - 1
    assert found.misses == np.count_nonzero(targets == targets[0])
    assert found.candidates == ITEMS - 1


def test_a_subset_is_evaluated_as_if_alone(world):
    scores, histories, targets = world
    found = leave_one_out(lambda users: scores[users], from_lists(histories), targets, ITEMS, ks=[3])
    chosen = found.users % 2 == 0
    part = found.subset(chosen)
    assert part.metrics["recall@3"] == np.mean(found.ranks[chosen] < 3)
    with pytest.raises(UsageError, match="at least one user"):
        found.subset(np.zeros(USERS, bool))


def test_nothing_to_evaluate_and_wrong_shapes_are_refused(world):
    scores, histories, targets = world
    with pytest.raises(UsageError, match="held-out item"):
        leave_one_out(lambda users: scores[users], from_lists(histories), np.full(USERS, -1), ITEMS)
    with pytest.raises(UsageError, match="one target"):
        leave_one_out(lambda users: scores[users], from_lists(histories), targets[:-1], ITEMS)
    with pytest.raises(UsageError, match="scores of shape"):
        leave_one_out(lambda users: scores[users, :-1], from_lists(histories), targets, ITEMS)

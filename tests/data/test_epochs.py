"""Turns of users and of sources: fair, mixed, and the same whichever step is asked for first."""

from __future__ import annotations

import numpy as np
import pytest

from adapt.data.epochs import WINDOW, SourceSchedule, UserBatches


@pytest.mark.parametrize(("users", "batch_size"), [(1, 4), (4, 4), (5, 4), (203, 8), (640, 8)])
def test_each_user_once_an_epoch_in_batches_of_one_size(users: int, batch_size: int) -> None:
    batches = UserBatches(np.random.default_rng(0).integers(2, 50, size=users), batch_size, seed=0, source=0)
    for epoch in range(2):
        drawn = [batches.users(epoch * batches.batches + number) for number in range(batches.batches)]
        assert sorted(np.concatenate(drawn).tolist()) == list(range(users))
        sizes = {len(batch) for batch in drawn}
        assert max(sizes) <= batch_size
        assert max(sizes) - min(sizes) <= 1


def test_users_of_a_batch_are_about_equally_long() -> None:
    lengths = np.random.default_rng(0).geometric(0.1, size=1024)
    batches = UserBatches(lengths, 16, seed=0, source=0)
    spreads = [np.ptp(lengths[batches.users(number)]) for number in range(batches.batches)]
    apart = [np.ptp(lengths[start : start + 16]) for start in range(0, 1024, 16)]
    assert np.mean(spreads) < np.mean(apart) / 3
    means = [lengths[batches.users(number)].mean() for number in range(WINDOW)]
    assert means != sorted(means)


def test_epochs_and_sources_and_seeds_differ() -> None:
    lengths = np.full(64, 3)
    one = UserBatches(lengths, 8, seed=0, source=0)
    others = [UserBatches(lengths, 8, seed=1, source=0).users(0), UserBatches(lengths, 8, seed=0, source=1).users(0)]
    for other in (*others, one.users(one.batches)):
        assert set(one.users(0).tolist()) != set(other.tolist())


def test_visits_count_the_earlier_steps_of_the_same_source() -> None:
    chance = np.array([0.7, 0.0, 0.3])
    steps = [SourceSchedule(chance, seed=3).visit(step) for step in (0, 1023, 1024, 2500)]
    whole = SourceSchedule(chance, seed=3)
    sources = [whole.visit(step)[0] for step in range(2501)]
    for step, (source, visits) in zip((0, 1023, 1024, 2500), steps, strict=True):
        assert source == sources[step]
        assert visits == sources[:step].count(source)
    assert whole.visit(0) == (sources[0], 0)  # back again
    np.testing.assert_allclose(np.bincount(sources, minlength=3) / 2501, chance, atol=0.03)


@pytest.mark.parametrize(("users", "batch_size"), [(1, 4), (5, 4), (203, 8), (640, 8)])
def test_balanced_batches_are_equal_in_length(users: int, batch_size: int) -> None:
    lengths = np.random.default_rng(0).geometric(0.1, size=users)
    batches = UserBatches(lengths, batch_size, seed=0, source=0, balanced=True)
    drawn = [batches.users(number) for number in range(batches.batches)]
    assert sorted(np.concatenate(drawn).tolist()) == list(range(users))
    sums = [lengths[batch].sum() for batch in drawn]
    assert min(sums) > 0
    if users > 100:
        assert np.std(sums) < 0.2 * np.mean(sums)
        assert np.ptp([len(batch) for batch in drawn]) > batch_size

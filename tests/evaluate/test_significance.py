"""Intervals that cover, that are narrower when paired, and that repeat."""

from __future__ import annotations

import numpy as np
import pytest

from adapt.errors import UsageError
from adapt.evaluate.significance import bootstrap_interval, paired_bootstrap


def test_the_interval_of_a_hit_rate_is_that_of_a_binomial():
    hits = np.zeros(2_000)
    hits[:200] = 1
    found = bootstrap_interval(hits, resamples=4_000)
    half = 1.96 * np.sqrt(0.1 * 0.9 / 2_000)
    assert found.mean == pytest.approx(0.1)
    assert found.low == pytest.approx(0.1 - half, abs=0.0015)
    assert found.high == pytest.approx(0.1 + half, abs=0.0015)


def test_values_that_never_repeat_have_the_interval_of_the_mean():
    values = np.random.default_rng(0).normal(2.0, 3.0, size=3_000)
    found = bootstrap_interval(values)
    half = 1.96 * values.std() / np.sqrt(3_000)
    assert found.low == pytest.approx(values.mean() - half, abs=0.015)
    assert found.high == pytest.approx(values.mean() + half, abs=0.015)


def test_pairing_sees_a_difference_that_separate_intervals_hide():
    theirs = np.random.default_rng(1).normal(0.0, 1.0, size=500)
    ours = theirs + 0.02
    assert paired_bootstrap(ours, theirs).excludes_zero
    assert bootstrap_interval(ours).low < bootstrap_interval(theirs).high
    assert not paired_bootstrap(theirs, theirs).excludes_zero


def test_about_one_interval_in_twenty_misses_the_truth():
    rng = np.random.default_rng(2)
    covered = 0
    for seed in range(200):
        found = bootstrap_interval(rng.binomial(1, 0.3, size=400), resamples=400, seed=seed)
        covered += found.low <= 0.3 <= found.high
    assert 0.88 <= covered / 200 <= 0.99


def test_one_seed_one_interval():
    values = np.arange(50.0)
    assert bootstrap_interval(values, seed=4) == bootstrap_interval(values, seed=4)
    assert bootstrap_interval(values, seed=4) != bootstrap_interval(values, seed=5)


def test_values_that_do_not_fit_are_refused():
    with pytest.raises(UsageError, match="same users"):
        paired_bootstrap([1.0], [1.0, 2.0])
    with pytest.raises(UsageError, match="finite"):
        bootstrap_interval([1.0, np.nan])
    with pytest.raises(UsageError, match="confidence"):
        bootstrap_interval([1.0], confidence=1.0)

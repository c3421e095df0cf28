"""Figures of lists against their formulas written as loops."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapt.data.catalog import Interactions
from adapt.errors import UsageError
from adapt.evaluate import lists
from adapt.evaluate.histories import from_lists

ITEMS, K = 7, 4
item_lists = st.lists(st.lists(st.integers(0, ITEMS - 1), max_size=K, unique=True), min_size=1, max_size=8)
histories = st.lists(st.lists(st.integers(0, ITEMS - 1), max_size=6), min_size=1, max_size=8)
exactly = {"abs": 1e-9, "nan_ok": True}


def padded(rows):
    return np.array([row + [-1] * (K - len(row)) for row in rows], np.int64)


def events(rows):
    found = from_lists(rows)
    return Interactions(tuple(f"u{n}" for n in range(len(rows))), found.offsets, found.items)


def mean(values):
    values = list(values)
    return sum(values) / len(values) if values else math.nan


@given(item_lists)
@settings(deadline=None)
def test_coverage_and_gini_equal_a_count_by_hand(rows):
    candidates = np.ones(ITEMS + 2, bool)
    candidates[-1] = False
    top = padded(rows)
    shown = [sum(item in row for row in rows) for item in range(ITEMS + 1)]
    assert lists.coverage(top, candidates) == pytest.approx(sum(map(bool, shown)) / len(shown), **exactly)
    # The other form of the index: half the mean absolute difference over the mean.
    apart = sum(abs(a - b) for a, b in itertools.product(shown, shown))
    expected = apart / (2 * len(shown) * sum(shown)) if sum(shown) else 0.0
    assert lists.gini(top, candidates) == pytest.approx(expected, **exactly)


@given(item_lists, histories)
@settings(deadline=None)
def test_popularity_and_novelty_equal_a_count_by_hand(rows, known):
    train, top = events(known), padded(rows)
    count = [sum(history.count(item) for history in known) for item in range(ITEMS)]
    assert lists.mean_popularity(top, train) == pytest.approx(
        mean(mean(count[item] for item in row) for row in rows if row), **exactly
    )
    users = sum(bool(history) for history in known)
    having = [max(1, sum(item in history for history in known)) for item in range(ITEMS)]
    expected = mean(mean(-math.log2(having[i] / users) for i in row) for row in rows if row) if users else math.nan
    assert lists.novelty(top, train) == pytest.approx(expected, **exactly)


@given(item_lists, st.integers(0, 99))
@settings(deadline=None)
def test_diversity_is_one_minus_the_mean_cosine_of_pairs(rows, seed):
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(ITEMS, 5)).astype(np.float32)
    present = rng.random(ITEMS) < 0.8
    features[~present] = np.nan

    def cosine(i, j):
        x, y = features[i].astype(np.float64), features[j].astype(np.float64)
        return x @ y / np.sqrt((x @ x) * (y @ y))

    of_lists = []
    for row in rows:
        pairs = list(itertools.combinations([item for item in row if present[item]], 2))
        of_lists += [mean(1 - cosine(i, j) for i, j in pairs)] if pairs else []
    found = lists.intra_list_diversity(padded(rows), features, present)
    assert found == pytest.approx(mean(of_lists), **exactly)


def test_many_lists_are_read_in_blocks_with_the_same_result(monkeypatch):
    rng = np.random.default_rng(0)
    features = rng.normal(size=(30, 6)).astype(np.float32)
    top = np.array([rng.choice(30, 5, replace=False) for _ in range(40)])
    whole = lists.intra_list_diversity(top, features)
    monkeypatch.setattr(lists, "_BLOCK_VALUES", 100)
    assert lists.intra_list_diversity(top, features) == pytest.approx(whole, abs=1e-12)


def test_lists_of_what_cannot_be_recommended_are_refused():
    with pytest.raises(UsageError, match="lists of candidates"):
        lists.coverage(np.array([[0, 1]]), np.array([True, False]))
    with pytest.raises(UsageError, match="lists of candidates"):
        lists.gini(np.array([[5]]), np.array([True, False]))
    with pytest.raises(UsageError, match="found none"):
        lists.coverage(np.array([[0]]), np.array([False]))
    with pytest.raises(UsageError, match="expected features"):
        lists.intra_list_diversity(np.array([[0]]), np.zeros((2, 3), np.float32), np.ones(3, bool))


def test_without_lists_or_events_there_is_nothing_to_say():
    empty, nobody = np.full((2, 3), -1), events([[], []])
    assert math.isnan(lists.mean_popularity(empty, nobody))
    assert math.isnan(lists.novelty(np.array([[0, 1]]), nobody))
    assert math.isnan(lists.intra_list_diversity(np.array([[0, -1]]), np.ones((2, 2), np.float32)))
    assert lists.gini(empty, np.ones(3, bool)) == lists.coverage(empty, np.ones(3, bool)) == 0.0

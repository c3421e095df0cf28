"""Baselines against their formulas written as loops, and the figures they are known for on real data."""

from __future__ import annotations

import csv
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapt.data.catalog import Interactions
from adapt.errors import DataError, UsageError
from adapt.evaluate import baselines
from adapt.evaluate.histories import decayed, from_lists
from adapt.evaluate.ranking import rank_cases

ITEMS = 6
histories = st.lists(st.lists(st.integers(0, ITEMS - 1), max_size=9), min_size=1, max_size=5)


def cooccurrence_by_hand(train, window):
    counts = np.zeros((ITEMS, ITEMS))
    for history in train:
        for first, left in enumerate(history):
            for second in range(first + 1, min(len(history), first + window + 1)):
                right = history[second]
                if left != right:
                    counts[left, right] += 1 / (second - first)
                    counts[right, left] += 1 / (second - first)
    return counts


@given(histories, st.integers(1, 6), st.sampled_from([0.0, 0.25, 0.5]), st.sampled_from([0.0, 0.4]))
@settings(deadline=None, max_examples=60)
def test_item_knn_is_its_formula(train, window, power, decay):
    counts = cooccurrence_by_hand(train, window)
    totals = counts.sum(axis=1)
    expected = np.zeros((len(train), ITEMS))
    for user, history in enumerate(train):
        for age, item in enumerate(reversed(history)):
            for other in range(ITEMS):
                if counts[item, other]:
                    similarity = counts[item, other] / (totals[item] * totals[other]) ** power
                    expected[user, other] += np.exp(-decay * age) * similarity
    known = from_lists(train)
    scorer = baselines.item_knn(known, known, ITEMS, window=window, power=power, decay=decay)
    np.testing.assert_allclose(scorer(np.arange(len(train))), expected, rtol=1e-5, atol=1e-6)


@given(histories, st.sampled_from([0.0, 0.4, 2.0]))
@settings(deadline=None, max_examples=60)
def test_content_knn_is_its_formula_and_skips_absent_rows(known, decay):
    rng = np.random.default_rng(0)
    embeddings = rng.normal(size=(ITEMS, 4)).astype(np.float32)
    present = np.array([True, False, True, True, True, True])
    embeddings[1] = np.nan
    scores = baselines.content_knn(embeddings, from_lists(known), decay=decay, present=present)(np.arange(len(known)))
    for user, history in enumerate(known):
        profile = np.zeros(4)
        for age, item in enumerate(reversed(history)):
            if present[item]:
                profile += np.exp(-decay * age) * embeddings[item] / np.linalg.norm(embeddings[item])
        length = np.linalg.norm(profile)
        for item in np.flatnonzero(present):
            cosine = profile @ embeddings[item] / np.linalg.norm(embeddings[item]) / length if length else 0.0
            assert scores[user, item] == pytest.approx(cosine, abs=1e-5)
    assert np.isneginf(scores[:, 1]).all()


def test_recent_popularity_halves_an_event_with_every_half_life():
    rng = np.random.default_rng(4)
    known = from_lists([rng.integers(ITEMS, size=length) for length in (5, 0, 9, 4)])
    times = 1.6e9 + rng.uniform(0, 1e7, size=18)
    events = Interactions(("a", "b", "c", "d"), known.offsets, known.items, times)
    expected = np.zeros(ITEMS)
    for item, time in zip(known.items, times, strict=True):
        expected[item] += 0.5 ** ((times.max() - time) / 2e6)
    found = baselines.recent_popularity(events, ITEMS, half_life=2e6)(np.arange(2))
    np.testing.assert_allclose(found, [expected, expected], rtol=1e-5)
    tenth = times.max() - np.quantile(times, 0.9)
    np.testing.assert_allclose(
        baselines.recent_popularity(events, ITEMS)(np.arange(1)),
        baselines.recent_popularity(events, ITEMS, half_life=tenth)(np.arange(1)),
    )


def test_recent_popularity_needs_points_in_time_and_a_half_life():
    events = Interactions(("a", "b"), np.array([0, 2, 4]), np.array([0, 1, 2, 3], np.int32))
    with pytest.raises(DataError, match="file order"):
        baselines.recent_popularity(events, ITEMS)
    with pytest.raises(DataError, match="only number"):
        baselines.recent_popularity(replace(events, timestamps=np.array([0.0, 1, 0, 1])), ITEMS)
    with pytest.raises(UsageError, match="half-life"):
        baselines.recent_popularity(replace(events, timestamps=np.array([7e8, 8e8, 6e8, 9e8])), ITEMS, half_life=0.0)
    nobody = Interactions(("a",), np.array([0, 0]), np.zeros(0, np.int32), np.zeros(0))
    assert not baselines.recent_popularity(nobody, ITEMS)(np.array([0])).any()


def test_content_knn_refuses_features_that_are_not_finite():
    embeddings = np.ones((3, 2), np.float32)
    embeddings[2, 0] = np.inf
    with pytest.raises(DataError, match="first at row 2"):
        baselines.content_knn(embeddings, from_lists([[0]]))


def test_scores_do_not_depend_on_the_batch_they_are_asked_in():
    rng = np.random.default_rng(1)
    known = from_lists([rng.integers(ITEMS, size=length) for length in (3, 0, 5, 1)])
    scorer = baselines.tuned_item_knn(known, known, ITEMS)
    together = scorer(np.array([3, 1, 0, 2]))
    for place, user in enumerate([3, 1, 0, 2]):
        np.testing.assert_array_equal(scorer(np.array([user]))[0], together[place])


def test_a_negative_decay_or_an_empty_window_is_refused():
    with pytest.raises(UsageError, match="decay"):
        decayed(from_lists([[0]]), np.array([0]), 1, -0.1)
    with pytest.raises(UsageError, match="window"):
        baselines.cooccurrence(from_lists([[0]]), 1, window=0)


@pytest.mark.real_data
def test_item_knn_reaches_its_known_figures_on_ml100k(real_data):
    folder = real_data("ml100k")
    with (folder / "items.csv").open(encoding="utf-8-sig", newline="") as handle:
        row_of = {line["item_id"]: row for row, line in enumerate(csv.DictReader(handle))}
    with (folder / "interactions.csv").open(encoding="utf-8-sig", newline="") as handle:
        events = sorted(csv.DictReader(handle), key=lambda line: float(line["timestamp"]))
    users: dict[str, list[int]] = {}
    for line in events:
        users.setdefault(line["user_id"], []).append(row_of[line["item_id"]])
    known, targets = from_lists(rows[:-1] for rows in users.values()), np.array([rows[-1] for rows in users.values()])
    measured = {}
    for name, scorer in {
        "popularity": baselines.popularity(known, len(row_of)),
        "item-kNN": baselines.item_knn(known, known, len(row_of)),
        "tuned item-kNN": baselines.tuned_item_knn(known, known, len(row_of)),
    }.items():
        measured[name] = rank_cases(scorer, known, targets, np.ones(len(row_of), bool)).metrics
    assert measured["popularity"]["recall@10"] == pytest.approx(0.086, abs=0.002)
    assert measured["item-kNN"]["recall@10"] == pytest.approx(0.213, abs=0.003)
    assert measured["item-kNN"]["ndcg@10"] == pytest.approx(0.111, abs=0.002)
    assert measured["tuned item-kNN"]["ndcg@10"] == pytest.approx(0.112, abs=0.002)

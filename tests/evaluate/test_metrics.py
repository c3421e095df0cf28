"""Metrics against a count by hand in plain Python, and the rules for ties, misses and NaN."""

from __future__ import annotations

import csv
import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from adapt.errors import DataError, UsageError
from adapt.evaluate import metrics

SCORE_PROGRAM = Path(__file__).resolve().parents[3] / "shared" / "tools" / "score.py"


def rank_by_hand(scores: list[float], target: int, excluded: set[int], allowed: set[int]) -> float:
    pool = [item for item in range(len(scores)) if item in allowed and item not in excluded]
    if target not in pool or scores[target] == -math.inf:
        return math.inf
    higher = sum(scores[item] > scores[target] for item in pool)
    tied = sum(scores[item] == scores[target] for item in pool) - 1
    return higher + tied / 2


def metrics_by_hand(ranks: list[float], k: int) -> tuple[float, float, float]:
    recall = sum(1.0 for rank in ranks if rank < k) / len(ranks)
    ndcg = sum(1 / math.log2(rank + 2) for rank in ranks if rank < k) / len(ranks)
    mrr = sum(0.0 if math.isinf(rank) else 1 / (rank + 1) for rank in ranks) / len(ranks)
    return recall, ndcg, mrr


@st.composite
def rankings(draw):
    users, items = draw(st.integers(1, 6)), draw(st.integers(1, 9))
    # Few distinct values, so that ties are the rule and not the exception.
    value = st.sampled_from([-math.inf, -1.0, 0.0, 0.25, 0.5, 3.0])
    scores = draw(hnp.arrays(np.float32, (users, items), elements=value))
    targets = draw(hnp.arrays(np.int32, users, elements=st.integers(-1, items - 1)))
    row = st.integers(0, items - 1)
    excluded = draw(st.lists(st.lists(row, max_size=items + 2), min_size=users, max_size=users))
    candidates = draw(hnp.arrays(np.bool_, items))
    return scores, targets, excluded, candidates


@given(rankings(), st.integers(1, 10))
@settings(deadline=None)
def test_ranks_and_metrics_equal_a_count_by_hand(ranking, k):
    scores, targets, excluded, candidates = ranking
    ranks = metrics.rank_of_target(
        scores, targets, excluded=[np.array(rows, np.int64) for rows in excluded], candidates=candidates
    )
    allowed = set(np.flatnonzero(candidates))
    expected = [
        rank_by_hand(list(line), int(target), set(rows), allowed)
        for line, target, rows in zip(scores, targets, excluded, strict=True)
    ]
    assert ranks.tolist() == expected
    recall, ndcg, mrr = metrics_by_hand(expected, k)
    assert metrics.recall_at_k(ranks, k) == pytest.approx(recall, abs=1e-9)
    assert metrics.ndcg_at_k(ranks, k) == pytest.approx(ndcg, abs=1e-9)
    assert metrics.mrr(ranks) == pytest.approx(mrr, abs=1e-9)


def test_a_scorer_without_an_opinion_gains_nothing():
    ranks = metrics.rank_of_target(np.zeros((50, 1001), np.float32), np.arange(50))
    assert set(ranks) == {500.0}
    assert metrics.recall_at_k(ranks, 10) == 0.0


def test_a_target_outside_the_catalog_or_among_the_seen_is_a_miss():
    scores = np.array([[3.0, 2.0, 1.0]] * 3)
    candidates = np.array([True, True, False])
    ranks = metrics.rank_of_target(
        scores,
        np.array([-1, 0, 2]),
        excluded=[[], [0], []],
        candidates=candidates,  # type: ignore[list-item]
    )
    assert np.isinf(ranks).all()
    assert set(metrics.summarise(ranks).values()) == {0.0}


def test_nan_is_an_error_that_says_where():
    scores = np.zeros((2, 3))
    scores[1, 2] = np.nan
    with pytest.raises(DataError, match="user 1 of the block and item row 2"):
        metrics.rank_of_target(scores, np.array([0, 0]))


@pytest.mark.parametrize(
    ("targets", "options"),
    [
        (np.array([0]), {}),
        (np.array([0, 3]), {}),
        (np.array([0, -2]), {}),
        (np.array([0, 0]), {"excluded": [np.array([0])]}),
        (np.array([0, 0]), {"excluded": [np.array([3]), np.array([0])]}),
        (np.array([0, 0]), {"candidates": np.array([True])}),
        (np.array([0, 0]), {"candidates": np.array([1, 1, 0])}),
    ],
)
def test_arguments_that_do_not_fit_are_refused(targets, options):
    with pytest.raises(UsageError, match="expected"):
        metrics.rank_of_target(np.zeros((2, 3)), targets, **options)


def test_nobody_to_evaluate_is_an_error_and_not_a_zero():
    with pytest.raises(UsageError, match="at least one user"):
        metrics.recall_at_k(np.zeros(0), 10)
    with pytest.raises(UsageError, match="at least 1"):
        metrics.ndcg_at_k(np.zeros(3), 0)


def test_scikit_learn_agrees_to_a_billionth():
    from sklearn.metrics import label_ranking_average_precision_score, ndcg_score, top_k_accuracy_score

    rng = np.random.default_rng(7)
    scores, targets = rng.normal(size=(300, 90)), rng.integers(90, size=300)
    relevant = np.eye(90)[targets]
    ranks = metrics.rank_of_target(scores, targets)
    for k in (1, 5, 10, 50):
        found = metrics.summarise(ranks, [k])
        recall = top_k_accuracy_score(targets, scores, k=k, labels=np.arange(90))
        assert found[f"recall@{k}"] == found[f"hit_rate@{k}"] == pytest.approx(recall, abs=1e-9)
        assert found[f"ndcg@{k}"] == pytest.approx(ndcg_score(relevant, scores, k=k), abs=1e-9)
        found_by_k = scores[np.arange(300), targets] >= np.sort(scores, axis=1)[:, -k]
        within = label_ranking_average_precision_score(relevant[found_by_k], scores[found_by_k])
        assert found[f"mrr@{k}"] == pytest.approx(found_by_k.mean() * within, abs=1e-9)
    assert metrics.mrr(ranks) == pytest.approx(label_ranking_average_precision_score(relevant, scores), abs=1e-9)


@pytest.mark.parametrize("name", ["recall", "recall@", "recall@x", "precision@10", "mrr@-1", "ndcg"])
def test_a_metric_that_does_not_exist_is_refused(name):
    with pytest.raises(UsageError, match="expected a metric such as"):
        metrics.values_of(np.zeros(3), name)


@pytest.mark.skipif(not SCORE_PROGRAM.is_file(), reason="needs the scoring program beside the checkout")
def test_the_independent_scoring_program_agrees(tmp_path):
    rng = np.random.default_rng(3)
    scores, targets = rng.normal(size=(40, 30)), rng.integers(30, size=40)
    order = np.argsort(-scores, axis=1)
    with (tmp_path / "recommendations.csv").open("w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(["user_id", "item_id", "rank", "score"])
        for user in range(40):
            writer.writerows([user, item, place + 1, scores[user, item]] for place, item in enumerate(order[user]))
    with (tmp_path / "test.csv").open("w", newline="") as handle:
        csv.writer(handle).writerows([["user_id", "item_id"], *enumerate(targets)])
    command = [sys.executable, SCORE_PROGRAM, "--recommendations", tmp_path / "recommendations.csv"]
    done = subprocess.run([*command, "--test", tmp_path / "test.csv", "--k", "10"], capture_output=True, check=True)
    printed = json.loads(done.stdout)
    ours = metrics.summarise(metrics.rank_of_target(scores, targets), ks=[10])
    # The program prints five decimals.
    assert ours["recall@10"] == pytest.approx(printed["recall@10"], abs=5e-6)
    assert ours["ndcg@10"] == pytest.approx(printed["ndcg@10"], abs=5e-6)

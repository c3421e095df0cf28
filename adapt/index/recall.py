"""How many of the true neighbours a search finds, and the smallest breadth of search that finds enough."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from adapt.errors import UsageError
from adapt.index.base import FloatMatrix, SearchResult
from adapt.progress import SILENT, Progress
from adapt.seeds import generator

CALIBRATION_QUERIES = 1_000
# Lists are longer than what is shown because seen items are dropped from them afterwards.
CALIBRATION_K = 50
LARGEST_EF = 4_096
_STREAM = 0x4EF

SearchAt = Callable[[FloatMatrix, int], SearchResult]
"""Queries and ef to what is found."""


@dataclass(frozen=True)
class Calibration:
    """The outcome of choosing ``ef``.

    Attributes:
        ef: the smallest breadth of search (to about 10 %) that reached the target, else the largest that was tried.
        recall: the share of true neighbours found with it, on queries that took no part in the choice.
        target: the share that was asked for.
        queries: number of queries ``recall`` was measured on.
        k: length of the lists.
    """

    ef: int
    recall: float
    target: float
    queries: int
    k: int

    @property
    def reached(self) -> bool:
        """Whether the recall is at least the target."""
        return self.recall >= self.target


def sample_queries(embeddings: FloatMatrix, count: int, seed: int) -> FloatMatrix:
    """Queries for an index whose users are not known: half are items, half lie between two items.

    Args:
        embeddings: float32 (items, dim), at least one.
        count: how many to draw, with replacement where there are fewer items.
        seed: the same seed gives the same queries.

    Returns:
        float32 (count, dim).
    """
    rng = generator(seed, _STREAM)
    items = len(embeddings)
    first = rng.choice(items, count, replace=items < count)
    second = np.where(np.arange(count) % 2 == 0, first, rng.integers(items, size=count))
    return ((embeddings[first] + embeddings[second]) / 2).astype(np.float32)


def measure_recall(found: SearchResult, truth: SearchResult) -> float:
    """The mean share of the true neighbours that were found.

    An item that scores as high as the last true neighbour counts as found, whichever of several equal ones it is.

    Args:
        found: rows and scores (queries, k) of the search to measure.
        truth: the same from exact search.

    Raises:
        UsageError: the shapes differ or there is nothing to find.

    >>> truth = SearchResult(np.array([[0, 1]]), np.array([[2.0, 1.0]], np.float32))
    >>> measure_recall(SearchResult(np.array([[0, 5]]), np.array([[2.0, 0.5]], np.float32)), truth)
    0.5
    """
    possible = np.count_nonzero(truth.rows >= 0, axis=1)
    if found.rows.shape != truth.rows.shape or not possible.sum():
        raise UsageError(
            f"expected two results of one shape that are not empty, found {found.rows.shape} and {truth.rows.shape}"
        )
    answered = possible > 0
    last = np.take_along_axis(truth.scores, np.maximum(possible - 1, 0)[:, None], axis=1)
    # The two searches sum in different orders: scores agree to float32 rounding at the scale of the largest.
    rounding = 1e-5 * np.max(np.abs(truth.scores), axis=1, where=truth.rows >= 0, initial=0, keepdims=True)
    hits = np.count_nonzero((found.rows >= 0) & (found.scores >= last - rounding), axis=1)
    return float(np.mean(np.minimum(hits, possible)[answered] / possible[answered]))


def choose_ef(
    search_at: SearchAt,
    truth: Callable[[FloatMatrix], SearchResult],
    queries: FloatMatrix,
    *,
    target: float,
    k: int,
    progress: Progress = SILENT,
) -> Calibration:
    """Find the smallest ``ef`` that reaches the target recall, on one half of the queries, and measure on the other.

    Doubles ``ef`` until the target is reached, then halves the gap until it is within 10 %. Where the held-out half
    falls short, ``ef`` grows by a quarter at a time.

    Args:
        search_at: the search to calibrate: lists of length ``k``.
        truth: exact search: lists of length ``k``.
        queries: float32 (n, dim), at least two.
        target: between 0 and 1.
        k: length of the lists; ``ef`` is never below it.
        progress: told each trial.

    Raises:
        UsageError: the target is out of range or there are fewer than two queries.
    """
    if not 0 < target <= 1 or len(queries) < 2:
        raise UsageError(f"expected 0 < target <= 1 and two queries or more, found {target} and {len(queries)}")
    choosing, held_out = queries[::2], queries[1::2]
    true_choosing, true_held_out = truth(choosing), truth(held_out)

    with progress.task("calibrating", None, "trials") as advance:

        def recall(ef: int, batch: FloatMatrix, expected: SearchResult) -> float:
            value = measure_recall(search_at(batch, ef), expected)
            advance(1)
            return value

        low, high = k - 1, k
        while recall(high, choosing, true_choosing) < target and high < LARGEST_EF:
            low, high = high, min(2 * high, LARGEST_EF)
        while high - low > max(1, high // 10):
            middle = (low + high) // 2
            if recall(middle, choosing, true_choosing) < target:
                low = middle
            else:
                high = middle
        measured = recall(high, held_out, true_held_out)
        while measured < target and high < LARGEST_EF:
            high = min(high + max(1, high // 4), LARGEST_EF)
            measured = recall(high, held_out, true_held_out)
    return Calibration(ef=high, recall=measured, target=target, queries=len(held_out), k=k)

"""What recommendation lists are like, whatever the target: coverage, exposure, popularity, diversity and novelty.

All read ``top``, int64 (cases, k): catalog rows, best first, padded with -1 where a list is shorter.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from adapt.data.catalog import Interactions
from adapt.errors import UsageError

Top = NDArray[np.int64]

_BLOCK_VALUES = 8 << 20


def coverage(top: Top, candidates: NDArray[np.bool_]) -> float:
    """The share of the candidates that are in some list: ``|union of lists| / |candidates|``.

    Args:
        top: lists.
        candidates: bool (items,), what can be recommended.

    Raises:
        UsageError: there is no candidate, or a list holds something else.

    >>> coverage(np.array([[0, 1], [1, -1]]), np.array([True, True, True, True]))
    0.5
    """
    return float(np.count_nonzero(_exposure(top, candidates)) / np.count_nonzero(candidates))


def gini(top: Top, candidates: NDArray[np.bool_]) -> float:
    """The Gini index of how often each candidate is in a list: 0 = all alike, near 1 = a few items are everywhere.

    ``G = sum_i (2 i - n - 1) x_i / (n sum_i x_i)`` with the ``n`` exposures in ascending order, ``i`` from 1.

    Args:
        top: lists.
        candidates: bool (items,), what can be recommended; those in no list have exposure 0.

    Returns:
        From 0 to ``1 - 1 / n``; 0 where every list is empty.

    Raises:
        UsageError: there is no candidate, or a list holds something else.

    >>> gini(np.array([[0, 1], [2, 3]]), np.ones(4, bool)), gini(np.array([[0], [0]]), np.ones(4, bool))
    (0.0, 0.75)
    """
    exposure = np.sort(_exposure(top, candidates)).astype(np.float64)
    n, total = len(exposure), exposure.sum()
    if not total:
        return 0.0
    return float((2 * np.arange(1, n + 1) - n - 1) @ exposure / (n * total))


def mean_popularity(top: Top, train: Interactions) -> float:
    """The mean number of training events of a recommended item: for each list its mean, then the mean over lists.

    Args:
        top: lists; empty ones are left out.
        train: the events that are counted.

    Returns:
        At least 0; NaN where every list is empty.

    >>> train = Interactions(("a", "b"), np.array([0, 2, 3]), np.array([0, 1, 1], np.int32))
    >>> mean_popularity(np.array([[0, 1], [2, -1]]), train)
    0.75
    """
    counts = np.bincount(train.items, minlength=int(max(top.max(initial=0), train.items.max(initial=0))) + 1)
    return _mean_of_lists(top, counts.astype(np.float64))


def novelty(top: Top, train: Interactions) -> float:
    """Mean self-information of the recommended items, in bits (also: mean inverse user frequency).

    ``-log2(u_i / U)`` with ``u_i`` the users who have item ``i`` in training and ``U`` the users with any; an item that
    nobody has counts as if one user had it. For each list its mean, then the mean over lists.

    Args:
        top: lists; empty ones are left out.
        train: the events that say who has what.

    Returns:
        From 0, everybody has it, to ``log2 U``; NaN where every list is empty or nobody has a training event.

    >>> train = Interactions(("a", "b"), np.array([0, 2, 3]), np.array([0, 1, 1], np.int32))
    >>> novelty(np.array([[0, 1]]), train)
    0.5
    """
    items = int(max(top.max(initial=0), train.items.max(initial=0))) + 1
    having = np.unique(train.users() * items + train.items) % items
    users = np.count_nonzero(train.lengths())
    if not users:
        return float("nan")
    return _mean_of_lists(top, -np.log2(np.maximum(np.bincount(having, minlength=items), 1) / users))


def intra_list_diversity(top: Top, features: NDArray[np.float32], present: NDArray[np.bool_] | None = None) -> float:
    """How different the items of a list are: the mean of ``1 - cos(x_i, x_j)`` over its pairs, then over lists.

    Args:
        top: lists; those with fewer than two items that have features are left out.
        features: float32 (items, dim), any scale.
        present: bool (items,), False where a row of ``features`` means nothing; None = all mean something.

    Returns:
        From 0, all the same, to 2; NaN where no list has a pair.

    Raises:
        UsageError: the shapes do not fit.

    >>> intra_list_diversity(np.array([[0, 1], [0, 2]]), np.array([[1, 0], [0, 2], [3, 0]], np.float32))
    0.5
    """
    if features.ndim != 2 or (present is not None and present.shape != features.shape[:1]):
        raise UsageError(f"expected features (items, dim) and as many booleans, found shape {features.shape}")
    there = np.ones(len(features), bool) if present is None else present
    values = np.where(there[:, None], features, 0).astype(np.float64)
    unit = values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), np.finfo(np.float64).tiny)
    found = []
    for block in np.array_split(top, max(1, top.size * features.shape[1] // _BLOCK_VALUES)):
        counted = (block >= 0) & there[np.maximum(block, 0)]
        rows = unit[np.maximum(block, 0)] * counted[..., None]  # [cases, k, dim]
        count = counted.sum(axis=1)
        # sum over pairs i < j of x_i x_j = (|sum x|^2 - sum |x|^2) / 2
        together = np.square(rows.sum(axis=1)).sum(axis=1) - np.square(rows).sum(axis=(1, 2))
        pairs = count * (count - 1)
        found.append(1 - together[pairs > 0] / pairs[pairs > 0])
    values_of_lists = np.concatenate(found) if found else np.zeros(0)
    return float(values_of_lists.mean()) if len(values_of_lists) else float("nan")


def _exposure(top: Top, candidates: NDArray[np.bool_]) -> NDArray[np.int64]:
    """How often each candidate is in a list."""
    if candidates.dtype != np.bool_ or not candidates.any():
        raise UsageError("expected one item or more that can be recommended, found none")
    shown = top[top >= 0]
    if len(shown) and (shown.max() >= len(candidates) or not candidates[shown].all()):
        raise UsageError("expected lists of candidates, found other items in them")
    exposure: NDArray[np.int64] = np.bincount(shown, minlength=len(candidates))[candidates]
    return exposure


def _mean_of_lists(top: Top, values: NDArray[np.float64]) -> float:
    shown = top >= 0
    count = shown.sum(axis=1)
    totals = (values[np.maximum(top, 0)] * shown).sum(axis=1)
    filled = count > 0
    return float((totals[filled] / count[filled]).mean()) if filled.any() else float("nan")

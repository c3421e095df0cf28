"""Full-ranking metrics with one relevant item a user.

Everything starts from the rank of the target, counted from 0: how many candidates score higher, plus half of those
that score the same. Ties thus share their mean rank, so a scorer cannot gain by giving many items one score. A target
that is not a candidate has the rank ``inf``: a miss in every metric.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from adapt.errors import DataError, UsageError

FloatArray = npt.NDArray[np.float64]

MISS = float("inf")


def rank_of_target(
    scores: npt.NDArray[np.floating],
    targets: npt.NDArray[np.integer],
    *,
    excluded: Sequence[npt.NDArray[np.integer]] | None = None,
    candidates: npt.NDArray[np.bool_] | None = None,
) -> FloatArray:
    """The rank of each user's target among that user's candidates, ties sharing the mean rank.

    ``rank = |{j: s_j > s_target}| + |{j != target: s_j = s_target}| / 2`` over the candidates ``j``.

    Args:
        scores: (users, items), higher is better; ``-inf`` says that the item is not a candidate for this user.
        targets: (users,) catalog row of the relevant item; -1 where it is not in the catalog.
        excluded: for each user the rows that are not candidates (seen items); repeats are harmless.
        candidates: (items,) False where an item is a candidate for nobody.

    Returns:
        (users,) ranks from 0, in steps of one half; ``inf`` where the target is not a candidate.

    Raises:
        DataError: a score is NaN; says the first user and item.
        UsageError: the shapes do not fit each other, or a target lies outside the catalog.

    >>> rank_of_target(np.array([[.9, .5, .5, .1]]), np.array([1]))
    array([1.5])
    >>> rank_of_target(np.array([[.9, .5, .5, .1]]), np.array([1]), excluded=[np.array([0])])
    array([0.5])
    >>> rank_of_target(np.array([[.9, .5]]), np.array([1]), excluded=[np.array([1])])
    array([inf])
    """
    users, items = _check_shapes(scores, targets, excluded, candidates)
    if not users:
        return np.zeros(0)
    _refuse_nan(scores)
    known = targets >= 0
    column = np.where(known, targets, 0)
    target_scores = np.take_along_axis(scores, column[:, None], axis=1)  # [users, 1]
    pool = scores if candidates is None else scores[:, candidates]
    higher = np.count_nonzero(pool > target_scores, axis=1)
    equal = np.count_nonzero(pool == target_scores, axis=1)

    is_candidate = known & np.isfinite(target_scores[:, 0])
    if candidates is not None:
        is_candidate &= candidates[column]
    if excluded is not None:
        user, item = _pairs(excluded, items)
        is_candidate[user[item == column[user]]] = False
        if candidates is not None:
            user, item = user[candidates[item]], item[candidates[item]]
        other = scores[user, item]
        reference = target_scores[user, 0]
        higher = higher - np.bincount(user[other > reference], minlength=users)
        equal = equal - np.bincount(user[other == reference], minlength=users)
    return np.where(is_candidate, higher + (equal - 1) / 2, MISS)


def hits_at_k(ranks: FloatArray, k: int) -> FloatArray:
    """For each user 1.0 where the target is among the first ``k``: ``rank < k``, else 0.0.

    A tie that straddles place ``k`` counts whole when its mean rank lies before it (9.5 of 10), not at all otherwise.

    >>> hits_at_k(np.array([0., 9., 9.5, 10., np.inf]), 10)
    array([1., 1., 1., 0., 0.])
    """
    _check_k(k)
    return (np.asarray(ranks) < k).astype(np.float64)


def gains_at_k(ranks: FloatArray, k: int) -> FloatArray:
    """For each user ``1 / log2(rank + 2)`` where the target is among the first ``k``, else 0.0.

    >>> gains_at_k(np.array([0., 2., 10.]), 10)
    array([1. , 0.5, 0. ])
    """
    ranks = np.asarray(ranks, np.float64)
    return hits_at_k(ranks, k) / np.log2(ranks + 2)


def reciprocal_ranks(ranks: FloatArray, k: int | None = None) -> FloatArray:
    """For each user ``1 / (rank + 1)``, 0.0 for a miss, and where the rank is not below a given ``k``.

    >>> reciprocal_ranks(np.array([0., 1., np.inf])), reciprocal_ranks(np.array([0., 1.]), 1)
    (array([1. , 0.5, 0. ]), array([1., 0.]))
    """
    found = 1 / (np.asarray(ranks, np.float64) + 1)
    return found if k is None else found * hits_at_k(ranks, k)


def recall_at_k(ranks: FloatArray, k: int) -> float:
    """Recall@K: the share of users whose target is among the first ``k`` (with one relevant item also the hit rate).

    Args:
        ranks: (users,) from :func:`rank_of_target`.
        k: length of the list, at least 1.

    Raises:
        UsageError: there is no user, or ``k`` is below 1.

    >>> recall_at_k(np.array([0., 3., 12., np.inf]), 10)
    0.5
    """
    return _mean(hits_at_k(ranks, k))


def ndcg_at_k(ranks: FloatArray, k: int) -> float:
    """NDCG@K: the mean of ``1 / log2(rank + 2)`` over users, 0 below place ``k``; the ideal gain is 1.

    Args:
        ranks: (users,) from :func:`rank_of_target`.
        k: length of the list, at least 1.

    Raises:
        UsageError: there is no user, or ``k`` is below 1.

    >>> ndcg_at_k(np.array([0., 2., 12., np.inf]), 10)
    0.375
    """
    return _mean(gains_at_k(ranks, k))


def hit_rate_at_k(ranks: FloatArray, k: int) -> float:
    """Hit rate@K: the share of cases with a relevant item among the first ``k``; with one relevant item it is Recall@K.

    Args:
        ranks: (users,) from :func:`rank_of_target`.
        k: length of the list, at least 1.

    Raises:
        UsageError: there is no user, or ``k`` is below 1.

    >>> hit_rate_at_k(np.array([0., 3., 12., np.inf]), 10)
    0.5
    """
    return _mean(hits_at_k(ranks, k))


def mrr(ranks: FloatArray, k: int | None = None) -> float:
    """MRR: the mean of ``1 / (rank + 1)`` over users; 0 for a miss, and below place ``k`` where one is given.

    Args:
        ranks: (users,) from :func:`rank_of_target`.
        k: length of the list, at least 1; None = the whole catalog.

    Raises:
        UsageError: there is no user, or ``k`` is below 1.

    >>> mrr(np.array([0., 1., 3., np.inf])), mrr(np.array([0., 1., 3., np.inf]), 2)
    (0.4375, 0.375)
    """
    return _mean(reciprocal_ranks(ranks, k))


def values_of(ranks: FloatArray, name: str) -> FloatArray:
    """One metric of each case by its name, for intervals and paired comparisons; its mean is the metric.

    Args:
        ranks: (cases,) from :func:`rank_of_target`.
        name: ``recall@K``, ``ndcg@K``, ``mrr@K``, ``hit_rate@K`` with a number for K, or ``mrr``.

    Raises:
        UsageError: there is no such metric.

    >>> values_of(np.array([0., 2., 10.]), "ndcg@10"), values_of(np.array([0., 1.]), "mrr")
    (array([1. , 0.5, 0. ]), array([1. , 0.5]))
    """
    kind, _, k = name.partition("@")
    if name == "mrr":
        return reciprocal_ranks(ranks)
    of_case = {"recall": hits_at_k, "hit_rate": hits_at_k, "ndcg": gains_at_k, "mrr": reciprocal_ranks}.get(kind)
    if of_case is None or not k.isdecimal():
        raise UsageError(f"expected a metric such as recall@10, ndcg@10, mrr@10, hit_rate@10 or mrr, found {name!r}")
    return of_case(ranks, int(k))


def summarise(ranks: FloatArray, ks: Sequence[int] = (10, 50)) -> dict[str, float]:
    """Every metric by its name: recall, ndcg, mrr and hit_rate at each of ``ks``, and ``mrr`` of the whole catalog.

    >>> summarise(np.array([0., 1.]), ks=[1])
    {'recall@1': 0.5, 'ndcg@1': 0.5, 'mrr@1': 0.5, 'hit_rate@1': 0.5, 'mrr': 0.75}
    """
    names = [f"{kind}@{k}" for k in ks for kind in ("recall", "ndcg", "mrr", "hit_rate")]
    return {name: _mean(values_of(ranks, name)) for name in (*names, "mrr")}


def _mean(values: FloatArray) -> float:
    if not len(values):
        raise UsageError("expected the ranks of at least one user, found none")
    return float(np.mean(values))


def _check_k(k: int) -> None:
    if k < 1:
        raise UsageError(f"expected k of at least 1, found {k}")


def _check_shapes(
    scores: npt.NDArray[np.floating],
    targets: npt.NDArray[np.integer],
    excluded: Sequence[npt.NDArray[np.integer]] | None,
    candidates: npt.NDArray[np.bool_] | None,
) -> tuple[int, int]:
    if scores.ndim != 2 or targets.shape != scores.shape[:1]:
        raise UsageError(
            f"expected scores (users, items) and targets (users,), found shapes {scores.shape} and {targets.shape}"
        )
    users, items = scores.shape
    if excluded is not None and len(excluded) != users:
        raise UsageError(f"expected excluded rows for each of {users} users, found {len(excluded)}")
    if candidates is not None and (candidates.shape != (items,) or candidates.dtype != np.bool_):
        raise UsageError(
            f"expected candidates as {items} booleans, found {candidates.dtype} of shape {candidates.shape}"
        )
    if users and (targets.min() < -1 or targets.max() >= items):
        raise UsageError(f"expected targets from -1 to {items - 1}, found {targets.min()} to {targets.max()}")
    return users, items


def _refuse_nan(scores: npt.NDArray[np.floating]) -> None:
    # The minimum propagates NaN and needs no mask of the size of the block.
    if not scores.size or not np.isnan(scores.min()):
        return
    user, item = np.argwhere(np.isnan(scores))[0]
    raise DataError(
        f"expected a number for every score, found NaN for user {user} of the block and item row {item}",
        "A scorer says 'not a candidate' with -inf; NaN is a defect of the scorer.",
    )


def _pairs(
    excluded: Sequence[npt.NDArray[np.integer]], items: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The distinct (user, row) pairs of lists of rows, flat."""
    lengths = [len(rows) for rows in excluded]
    if not sum(lengths):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    flat = np.concatenate([np.asarray(rows, np.int64) for rows in excluded])
    if flat.min() < 0 or flat.max() >= items:
        raise UsageError(f"expected excluded rows from 0 to {items - 1}, found {flat.min()} to {flat.max()}")
    keys = np.unique(np.repeat(np.arange(len(excluded)), lengths) * items + flat)
    return keys // items, keys % items

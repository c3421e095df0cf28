"""EASE: a linear item-to-item model with a closed form (Steck, Embarrassingly Shallow Autoencoders, WWW 2019)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, sparse

from adapt.errors import DataError, UsageError
from adapt.evaluate.baselines import Scorer
from adapt.evaluate.histories import Histories, decayed

MOST_ITEMS = 15_000
"""Items with training events up to which :func:`ease` works: there, one float32 matrix of 0.9 GB is inverted."""

PENALTY = 3.0
"""The penalty by default, in multiples of the mean number of users of an item.

Chosen on validation events, where NDCG@10 at 1, 3 and 10 is .087, .086 and .077 on MovieLens-100K, .067, .069 and .069
on industrial supplies, .041, .043 and .045 on MovieLens-small, .049, .052 and .051 on Beauty.
"""

_STRIPE = 1024


def ease(train: Histories, items: int, *, penalty: float | None = None) -> Callable[[Histories], Scorer]:
    """Score = ``X_u B``, where ``B`` predicts each history from its other items as well as least squares can.

    With the binary matrix ``X`` of users and items and ``P = (X'X + penalty I)^-1``: ``B_ij = -P_ij / P_jj`` and
    ``B_jj = 0`` (equation 8). Order plays no part. It takes one float32 matrix of the items with training events,
    squared.

    Args:
        train: the histories that are fitted.
        items: number of items in the catalog; those without a training event score 0.
        penalty: above 0; None takes :data:`PENALTY` times the mean number of users of an item.

    Returns:
        Histories to their scorer.

    Raises:
        UsageError: more than :data:`MOST_ITEMS` items have training events, or ``penalty`` is not above 0.
        DataError: there is no training event.

    >>> from adapt.evaluate.histories import from_lists
    >>> fitted = ease(from_lists([[0, 1], [0, 1], [2]]), items=4, penalty=1.0)
    >>> fitted(from_lists([[0]]))(np.array([0])).round(3)
    array([[0.   , 0.667, 0.   , 0.   ]], dtype=float32)
    """
    if penalty is not None and not (np.isfinite(penalty) and penalty > 0):
        raise UsageError(f"expected a penalty above 0, found {penalty}")
    met = np.unique(train.items)
    if not len(met):
        raise DataError("expected training events to fit EASE on, found none")
    if len(met) > MOST_ITEMS:
        raise UsageError(
            f"expected at most {MOST_ITEMS:,} items with training events for EASE, found {len(met):,}",
            "It inverts a matrix of these items; leave EASE out on a catalog of this size.",
        )
    users = np.arange(len(train.offsets) - 1)
    weights = _weights(_binary(train, users, items)[:, met], penalty)

    def scorer(histories: Histories) -> Scorer:
        def score(cases: NDArray[np.int64]) -> NDArray[np.float32]:
            scores = np.zeros((len(cases), items), np.float32)
            scores[:, met] = _binary(histories, cases, items)[:, met] @ weights
            return scores

        return score

    return scorer


def _weights(met: Any, penalty: float | None) -> NDArray[np.float32]:
    """``B`` of the items that occur, float32 (n, n)."""
    items = met.shape[1]
    gram = np.empty((items, items), np.float32, order="F")
    of_item = met.T.tocsr()
    for start in range(0, items, _STRIPE):  # the sparse product of a dense catalog takes more room than the dense one
        gram[:, start : start + _STRIPE] = (of_item @ met[:, start : start + _STRIPE]).toarray()
    diagonal = np.arange(items)
    gram[diagonal, diagonal] += PENALTY * gram[diagonal, diagonal].mean() if penalty is None else penalty
    # LAPACK works in place and fills one triangle: one matrix of this size is in memory, not three.
    factor, failed = linalg.lapack.spotrf(gram, lower=1, overwrite_a=1)
    inverse, singular = (factor, failed) if failed else linalg.lapack.spotri(factor, lower=1, overwrite_c=1)
    if failed or singular:
        raise DataError("expected co-occurrence that can be inverted, found a penalty too small for float32")
    for start in range(0, len(inverse), _STRIPE):
        stop = start + _STRIPE
        inverse[start:stop, stop:] = inverse[stop:, start:stop].T
        corner = inverse[start:stop, start:stop]
        corner[...] = np.tril(corner) + np.tril(corner, -1).T
    found: NDArray[np.float32] = inverse.T  # symmetric; C order, so that no product copies it
    found /= -found[diagonal, diagonal].copy()
    found[diagonal, diagonal] = 0
    return found


def _binary(histories: Histories, users: NDArray[np.integer], items: int) -> Any:
    """float32 CSR (users, items): 1 where the history holds the item, once or more."""
    matrix = decayed(histories, users, items, 0.0)
    matrix.sum_duplicates()
    matrix.data[:] = 1
    return sparse.csr_array(matrix)

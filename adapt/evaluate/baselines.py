"""What every figure of ours stands beside: popularity, recent popularity, content-kNN and item-kNN.

Each function prepares what it needs once and returns a :data:`~adapt.evaluate.baselines.Scorer`: a function from user
numbers to a block of scores (users, items). Whoever evaluates chooses the size of the blocks, so memory stays bounded.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from adapt.data.catalog import Interactions
from adapt.errors import DataError, UsageError
from adapt.evaluate.histories import Histories, decayed
from adapt.evaluate.times import real_times

Scorer = Callable[[npt.NDArray[np.int64]], npt.NDArray[np.float32]]
"""User numbers (batch,) to scores (batch, items); ``-inf`` = not a candidate."""


def popularity(train: Histories, items: int) -> Scorer:
    """Score = number of training events of the item, the same for every user.

    Args:
        train: the events that are counted.
        items: number of items in the catalog.

    >>> from adapt.evaluate.histories import from_lists
    >>> popularity(from_lists([[0, 2], [2]]), items=3)(np.array([0, 1]))
    array([[1., 0., 2.],
           [1., 0., 2.]], dtype=float32)
    """
    counts = np.bincount(train.items, minlength=items).astype(np.float32)
    return lambda users: np.broadcast_to(counts, (len(users), items))


def recent_popularity(train: Interactions, items: int, *, half_life: float | None = None) -> Scorer:
    """Score = number of training events of the item, each weighted by how recent it is; the same for every user.

    ``s_j = sum_e 2^(-(T - t_e) / half_life)`` over the events of the item, with ``T`` the time of the last training
    event.

    Args:
        train: the events that are counted, with timestamps that are points in time.
        items: number of items in the catalog.
        half_life: in the unit of the timestamps (seconds for dates), above 0; None takes the time in which the last
            tenth of the training events happened.

    Raises:
        DataError: there are no timestamps, or they only number the events of each user.
        UsageError: ``half_life`` is not above 0.

    >>> events = Interactions(("a",), np.array([0, 3]), np.array([0, 0, 1], np.int32), np.array([0.0, 5e8, 6e8]))
    >>> recent_popularity(events, items=3, half_life=1e8)(np.array([0])).round(3)
    array([[0.516, 1.   , 0.   ]], dtype=float32)
    """
    if half_life is not None and not half_life > 0:
        raise UsageError(f"expected a half-life above 0, found {half_life}")
    times = real_times(train)
    if not len(times):
        return popularity(train, items)
    last = times.max()
    span = last - np.quantile(times, 0.9) if half_life is None else half_life
    weights = np.exp2(-(last - times) / max(float(span), 1.0))
    counts = np.bincount(train.items, weights, minlength=items).astype(np.float32)
    return lambda users: np.broadcast_to(counts, (len(users), items))


def content_knn(
    embeddings: npt.NDArray[np.float32],
    histories: Histories,
    *,
    decay: float = 0.4,
    present: npt.NDArray[np.bool_] | None = None,
) -> Scorer:
    """Score = cosine of the item with the decayed mean of the history; nothing is fitted.

    ``s_j = cos(x_j, sum_i exp(-decay * age_i) x_i / |x_i|)``. Items without features are no candidates (``-inf``) and
    add nothing to a profile; a user whose history holds no feature scores every candidate 0, which ranks at chance.

    Args:
        embeddings: float32 (items, dim), as given or normalised over the catalog; any scale.
        histories: what each user met, oldest first.
        decay: per position of the history.
        present: (items,) False where the row of ``embeddings`` means nothing; None = all rows are used.

    Raises:
        DataError: a present row is not finite; says the first.
        UsageError: the shapes do not fit.

    >>> from adapt.evaluate.histories import from_lists
    >>> scores = content_knn(np.eye(3, dtype=np.float32), from_lists([[1]]))
    >>> scores(np.array([0]))
    array([[0., 1., 0.]], dtype=float32)
    """
    if embeddings.ndim != 2 or (present is not None and present.shape != embeddings.shape[:1]):
        raise UsageError(
            f"expected embeddings (items, dim) and present (items,), found shapes {embeddings.shape} and "
            f"{None if present is None else present.shape}"
        )
    unit = _unit_rows(embeddings, present)
    absent = None if present is None else np.flatnonzero(~present)
    items = len(unit)

    def score(users: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        profiles = decayed(histories, users, items, decay) @ unit  # [users, items] @ [items, dim] -> [users, dim]
        scores: npt.NDArray[np.float32] = _normalised(profiles) @ unit.T
        if absent is not None:
            scores[:, absent] = -np.inf
        return scores

    return score


def item_knn(
    train: Histories,
    histories: Histories,
    items: int,
    *,
    window: int = 5,
    power: float = 0.5,
    decay: float = 0.4,
) -> Scorer:
    """Score = co-occurrence with the decayed history, discounted by how often both items co-occur with anything.

    ``s_j = sum_i w_i C_ij / (c_i c_j)^power`` with ``C_ij`` the sum of ``1 / distance`` over all places where ``i`` and
    ``j`` stand at most ``window`` apart in one training history, ``c`` the row sums of ``C`` and ``w_i = exp(-decay *
    age)``. With ``power`` 0.5 it is the cosine of co-occurrence.

    Args:
        train: the histories in which co-occurrence is counted.
        histories: the histories that are continued (may be the same).
        items: number of items in the catalog.
        window: largest distance that counts, at least 1.
        power: 0 favours popular items, 0.5 is the cosine.
        decay: per position of the history.

    >>> from adapt.evaluate.histories import from_lists
    >>> both = from_lists([[0, 1], [0]])
    >>> item_knn(both, both, items=3)(np.array([1]))
    array([[0., 1., 0.]], dtype=float32)
    """
    similarity = normalised_cooccurrence(cooccurrence(train, items, window), power)

    def score(users: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        scores: npt.NDArray[np.float32] = (decayed(histories, users, items, decay) @ similarity).toarray()
        return scores

    return score


def tuned_item_knn(train: Histories, histories: Histories, items: int) -> Scorer:
    """:func:`item_knn` with the power 0.25 and the decay 0.2, better on most catalogs and the baseline to beat.

    >>> from adapt.evaluate.histories import from_lists
    >>> both = from_lists([[0, 1], [0]])
    >>> tuned_item_knn(both, both, items=3)(np.array([1])).round(3)
    array([[0., 1., 0.]], dtype=float32)
    """
    return item_knn(train, histories, items, power=0.25, decay=0.2)


def cooccurrence(train: Histories, items: int, window: int = 5) -> Any:
    """How often two items stand near each other in a history, each time weighted by ``1 / distance``.

    Args:
        train: histories, oldest first.
        items: number of items in the catalog.
        window: largest distance that counts, at least 1.

    Returns:
        float32 scipy CSR array (items, items), symmetric, zero on the diagonal.

    Raises:
        UsageError: ``window`` is below 1.

    >>> from adapt.evaluate.histories import from_lists
    >>> cooccurrence(from_lists([[0, 1, 2]]), items=3).toarray()
    array([[0. , 1. , 0.5],
           [1. , 0. , 1. ],
           [0.5, 1. , 0. ]], dtype=float32)
    """
    following = successions(train, items, window)
    return (following + following.T).tocsr()


def successions(train: Histories, items: int, window: int = 5) -> Any:
    """The same for pairs in their order: row = the earlier item, column = the later one.

    Raises:
        UsageError: ``window`` is below 1.

    >>> from adapt.evaluate.histories import from_lists
    >>> successions(from_lists([[0, 1, 2]]), items=3).toarray()
    array([[0. , 1. , 0.5],
           [0. , 0. , 1. ],
           [0. , 0. , 0. ]], dtype=float32)
    """
    if window < 1:
        raise UsageError(f"expected a window of at least 1, found {window}")
    rows = np.asarray(train.items, np.int64)
    user = np.repeat(np.arange(len(train.offsets) - 1), np.diff(train.offsets))
    total = sparse.csr_array((items, items), dtype=np.float32)
    for distance in range(1, window + 1):
        left, right = rows[:-distance], rows[distance:]
        pair = (user[:-distance] == user[distance:]) & (left != right)
        weight = np.full(int(pair.sum()), 1 / distance, np.float32)
        total = total + sparse.csr_array((weight, (left[pair], right[pair])), shape=(items, items))
    return total


def normalised_cooccurrence(counts: Any, power: float) -> Any:
    """``C_ij / (c_i c_j)^power`` with ``c`` the row sums of ``C``; rows that are zero stay zero.

    Args:
        counts: scipy CSR array (items, items), symmetric: from :func:`cooccurrence`.
        power: at least 0.

    >>> normalised_cooccurrence(sparse.csr_array([[0., 4.], [4., 0.]]), 0.5).toarray()
    array([[0., 1.],
           [1., 0.]])
    """
    totals = np.asarray(counts.sum(axis=1)).reshape(-1)
    scale = np.where(totals > 0, np.maximum(totals, np.finfo(np.float32).tiny) ** -power, 0).astype(counts.dtype)
    return sparse.csr_array(counts.multiply(scale[:, None]).multiply(scale[None, :]))


def _unit_rows(embeddings: npt.NDArray[np.float32], present: npt.NDArray[np.bool_] | None) -> npt.NDArray[np.float32]:
    """Rows of length 1; absent rows are 0 whatever they hold."""
    kept = np.array(embeddings, np.float32)
    if present is not None:
        kept[~present] = 0
    broken = ~np.isfinite(kept).all(axis=1)
    if broken.any():
        raise DataError(
            f"expected finite features, found NaN or infinity in {int(broken.sum())} rows, "
            f"the first at row {int(np.argmax(broken))}",
            "Mark rows without features in `present`.",
        )
    return _normalised(kept)


def _normalised(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: npt.NDArray[np.float32] = vectors / np.maximum(norms, np.finfo(np.float32).tiny)
    return unit

"""Histories of many users as two arrays, and as a sparse matrix of weights by recency."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from scipy import sparse

from adapt.errors import UsageError
from adapt.ranges import ranges


class Histories(Protocol):
    """What scorers need of interactions; :class:`adapt.data.catalog.Interactions` is one."""

    @property
    def offsets(self) -> npt.NDArray[Any]:
        """int64 (users + 1,): the history of user ``u`` is ``items[offsets[u]:offsets[u + 1]]``, oldest first."""
        ...

    @property
    def items(self) -> npt.NDArray[Any]:
        """Catalog rows (n,)."""
        ...


@dataclass(frozen=True, eq=False)
class HistoryLists:
    """Histories made from lists of rows: see :func:`from_lists`."""

    offsets: npt.NDArray[np.int64]
    items: npt.NDArray[np.int32]

    def history(self, user: int) -> npt.NDArray[np.int32]:
        """Catalog rows of one history, oldest first."""
        return self.items[self.offsets[user] : self.offsets[user + 1]]


def from_lists(histories: Iterable[npt.ArrayLike]) -> HistoryLists:
    """Histories from one sequence of catalog rows a user, oldest first.

    >>> from_lists([[3, 1], [], [2]]).offsets
    array([0, 2, 2, 3])
    """
    rows = [np.asarray(history, np.int32).reshape(-1) for history in histories]
    offsets = np.zeros(len(rows) + 1, np.int64)
    np.cumsum([len(history) for history in rows], out=offsets[1:])
    return HistoryLists(offsets, np.concatenate([np.zeros(0, np.int32), *rows]))


def ages(histories: Histories, users: npt.NDArray[np.integer]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Positions in ``histories.items`` of the given users' events, user after user, and the age of each.

    The newest event of a user has age 0, the one before it 1.

    >>> ages(from_lists([[5, 6, 7], [8]]), np.array([1, 0]))
    (array([3, 0, 1, 2]), array([0, 2, 1, 0]))
    """
    starts, ends = histories.offsets[users], histories.offsets[np.asarray(users) + 1]
    lengths = ends - starts
    places = ranges(starts, lengths)
    return places, np.repeat(ends, lengths) - 1 - places


def decayed(histories: Histories, users: npt.NDArray[np.integer], items: int, decay: float) -> Any:
    """The histories of ``users`` as a sparse matrix of weights ``exp(-decay * age)``.

    Args:
        histories: of all users.
        users: (batch,) user numbers.
        items: number of items in the catalog.
        decay: at least 0, per position of the history; 0 weighs every event alike.

    Returns:
        float32 scipy CSR array (batch, items). An item met several times has the sum of its weights.

    Raises:
        UsageError: ``decay`` is negative or not finite.

    >>> decayed(from_lists([[0, 2]]), np.array([0]), 3, np.log(2)).toarray()
    array([[0.5, 0. , 1. ]], dtype=float32)
    """
    if not (np.isfinite(decay) and decay >= 0):
        raise UsageError(f"expected a decay of at least 0 per position, found {decay}")
    positions, age = ages(histories, users)
    lengths = histories.offsets[np.asarray(users) + 1] - histories.offsets[users]
    indptr = np.concatenate([[0], np.cumsum(lengths)])
    weights = np.exp(-decay * age).astype(np.float32)
    return sparse.csr_array((weights, histories.items[positions], indptr), shape=(len(users), items))

"""Ids and embeddings of an index in rows without gaps, growing and shrinking in place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from adapt.errors import UsageError
from adapt.index.base import FloatMatrix, check_ids, check_vectors, row_of
from adapt.index.vectors import DenseVectors, padded_count
from adapt.shards import plan, release


@dataclass(frozen=True)
class Removal:
    """One step of a removal: the item at ``row`` is gone and the one at ``moved`` now lies there (-1: none moved)."""

    row: int
    moved: int


class Table:
    """Rows of an index: ``ids[row]`` and ``embeddings[row]`` belong together.

    In memory a dimension of all items lies in one piece, not an item: one query is then answered about twice as fast,
    and many at once as fast as otherwise.

    Args:
        ids: distinct, not empty.
        embeddings: float32 (len(ids), dim), finite; copied, unless they are mapped from a file, where they stay until
            there are more rows.
    """

    def __init__(self, ids: Sequence[str], embeddings: npt.ArrayLike) -> None:
        matrix = check_vectors(embeddings, None, "embeddings")
        self._ids = list(check_ids(ids, len(matrix)))
        self._row = {item_id: row for row, item_id in enumerate(self._ids)}
        if isinstance(embeddings, np.memmap) and np.shares_memory(matrix, embeddings):
            self._values = matrix
            release(matrix)
        else:
            self._values = _room(len(matrix), matrix.shape[1])
            self._values[: len(matrix)] = matrix
        self._frozen_ids: tuple[str, ...] | None = None
        self._used: npt.NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self._ids)

    def __contains__(self, item_id: object) -> bool:
        return item_id in self._row

    @property
    def dim(self) -> int:
        """Length of an embedding."""
        return int(self._values.shape[1])

    @property
    def ids(self) -> tuple[str, ...]:
        """Row -> item id."""
        if self._frozen_ids is None:
            self._frozen_ids = tuple(self._ids)
        return self._frozen_ids

    @property
    def embeddings(self) -> FloatMatrix:
        """A read-only view (items, dim); valid until the next change."""
        view = self._values[: len(self)]
        view.flags.writeable = False
        return view

    @property
    def vectors(self) -> DenseVectors:
        """The rows as they are searched; valid until the next change."""
        return DenseVectors(self._values[: padded_count(len(self))], len(self))

    @property
    def used(self) -> npt.NDArray[np.int64]:
        """The dimensions in which some row has something (and those of rows that are gone), ascending."""
        if self._used is None:
            self._used = used_columns(self.embeddings)
        return self._used

    def row(self, item_id: str) -> int:
        """The row of an item.

        Raises:
            NotFoundError: the item is not in the index; the hint names similar ids.
        """
        return row_of(item_id, self._row, compared=100_000)

    def put(self, ids: Sequence[str], embeddings: npt.ArrayLike) -> npt.NDArray[np.int64]:
        """Append or replace; returns the row of each id. Nothing changes when an argument is wrong."""
        matrix = check_vectors(embeddings, self.dim, "embeddings")
        checked = check_ids(ids, len(matrix))
        new = [item_id for item_id in checked if item_id not in self._row]
        self._reserve(len(self) + len(new))
        for item_id in new:
            self._row[item_id] = len(self._ids)
            self._ids.append(item_id)
        if new:
            self._frozen_ids = None
        self._used = None
        rows = np.fromiter((self._row[item_id] for item_id in checked), np.int64, len(checked))
        self._values[rows] = matrix
        return rows

    def remove(self, ids: Sequence[str]) -> list[Removal]:
        """Take items out, the last row moving into each that becomes free. Nothing changes when an id is wrong."""
        if isinstance(ids, str):
            raise UsageError(f"expected a sequence of ids, found one string: {ids!r}")
        for item_id in ids:
            self.row(item_id)
        check_ids(ids, len(ids))
        steps = []
        for item_id in ids:
            row, last = self._row.pop(item_id), len(self._ids) - 1
            moved_id = self._ids.pop()
            if row != last:
                self._ids[row] = moved_id
                self._row[moved_id] = row
                self._values[row] = self._values[last]
            steps.append(Removal(row, last if row != last else -1))
        self._frozen_ids = None
        return steps

    def _reserve(self, count: int) -> None:
        if count <= len(self._values):
            return
        grown = _room(max(count, 2 * len(self._values)), self.dim)
        grown[: len(self)] = self._values[: len(self)]
        self._values = grown


def _room(rows: int, dim: int) -> FloatMatrix:
    """Zeros (at least ``rows``, dim), laid out by dimension."""
    return np.zeros((dim, padded_count(rows)), np.float32).T


def used_columns(embeddings: FloatMatrix) -> npt.NDArray[np.int64]:
    """The dimensions in which some item has something: int64, ascending; reads the items block by block.

    >>> used_columns(np.array([[1, 0, 0], [0, 0, 2]], np.float32))
    array([0, 2])
    """
    used = np.zeros(embeddings.shape[1], bool)
    for shard in plan(len(embeddings)):
        used |= embeddings[shard.rows].any(axis=0)
        release(embeddings)
    return np.flatnonzero(used)

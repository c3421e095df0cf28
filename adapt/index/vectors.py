"""Rows of embeddings to search, wherever they lie: in memory, or mapped from several files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from adapt.index.base import FloatMatrix
from adapt.index.quantise import Encoded, decode
from adapt.shards import release

# Searches multiply a number of rows that is a multiple of this, so that equal embeddings get equal scores: matrix
# kernels sum the rows that are left over at the edge in another order.
ROW_MULTIPLE = 64


@dataclass(frozen=True, eq=False)
class Tile:
    """Some consecutive rows.

    Attributes:
        start: the first of them.
        rows: how many of ``values`` are rows; what follows has no meaning.
        values: float32 (a multiple of :data:`ROW_MULTIPLE`, dim).
    """

    start: int
    rows: int
    values: FloatMatrix


class Vectors(Protocol):
    """Embeddings by row."""

    def __len__(self) -> int: ...

    @property
    def dim(self) -> int:
        """Length of an embedding."""
        ...

    def tiles(self, widest: int) -> Iterator[Tile]:
        """Every row, in tiles of at most ``widest`` rows (a multiple of :data:`ROW_MULTIPLE`)."""
        ...

    def take(self, rows: npt.NDArray[np.int64]) -> FloatMatrix:
        """A copy of some rows: float32 (rows, dim)."""
        ...


class DenseVectors:
    """Rows in memory, or mapped from one file.

    Args:
        values: float32 (rows, dim); in memory a multiple of :data:`ROW_MULTIPLE` of them, so that nothing is copied.
        count: how many of them are rows.
    """

    def __init__(self, values: FloatMatrix, count: int) -> None:
        self._values = values
        self._count = count

    def __len__(self) -> int:
        return self._count

    @property
    def dim(self) -> int:
        return int(self._values.shape[1])

    def tiles(self, widest: int) -> Iterator[Tile]:
        for start in range(0, len(self._values), widest):
            values = self._values[start : start + widest]
            rows = min(len(values), self._count - start)
            yield Tile(start, rows, padded(values, self.dim) if len(values) % ROW_MULTIPLE else values)
            release(self._values)

    def take(self, rows: npt.NDArray[np.int64]) -> FloatMatrix:
        return self._values[rows]


class NarrowVectors:
    """The same rows in some of their dimensions.

    Args:
        vectors: the rows.
        columns: int64, ascending.
    """

    def __init__(self, vectors: Vectors, columns: npt.NDArray[np.int64]) -> None:
        self._vectors = vectors
        self._columns = columns
        ends = np.flatnonzero(np.diff(columns) != 1) + 1
        self._runs = [slice(int(run[0]), int(run[-1]) + 1) for run in np.split(columns, ends) if len(run)]

    def __len__(self) -> int:
        return len(self._vectors)

    @property
    def dim(self) -> int:
        return len(self._columns)

    def tiles(self, widest: int) -> Iterator[Tile]:
        for tile in self._vectors.tiles(widest):
            yield Tile(tile.start, tile.rows, self._narrow(tile.values))

    def take(self, rows: npt.NDArray[np.int64]) -> FloatMatrix:
        return self._narrow(self._vectors.take(rows))

    def _narrow(self, values: FloatMatrix) -> FloatMatrix:
        """Runs of neighbouring dimensions are copied at once: a tenth of the time of picking single ones."""
        return values[:, self._runs[0]] if len(self._runs) == 1 else np.hstack([values[:, run] for run in self._runs])


class StoredVectors:
    """Rows of several files one after the other, memory-mapped, decoded tile by tile.

    Args:
        parts: what each file holds.
        dim: length of an embedding.
        known: vectors of which some parts are the same objects.
    """

    def __init__(self, parts: Sequence[Encoded], dim: int, known: StoredVectors | None = None) -> None:
        self._parts = tuple(parts)
        self._dim = dim
        self._starts = np.concatenate([[0], np.cumsum([len(part) for part in parts])]).astype(np.int64)
        # The rows that no whole multiple covers are kept padded: at most ROW_MULTIPLE a file.
        rests = {} if known is None else dict(zip(map(id, known._parts), known._rests, strict=True))
        self._rests: list[FloatMatrix] = [
            rests[id(part)]
            if id(part) in rests
            else padded(decode(part, slice(len(part) // ROW_MULTIPLE * ROW_MULTIPLE, None)), dim)
            for part in parts
        ]

    def __len__(self) -> int:
        return int(self._starts[-1])

    @property
    def dim(self) -> int:
        return self._dim

    def tiles(self, widest: int) -> Iterator[Tile]:
        for part, first, rest in zip(self._parts, self._starts[:-1].tolist(), self._rests, strict=True):
            whole = len(part) // ROW_MULTIPLE * ROW_MULTIPLE
            for start in range(0, whole, widest):
                stop = min(start + widest, whole)
                yield Tile(first + start, stop - start, decode(part, slice(start, stop)))
            if len(rest):
                yield Tile(first + whole, len(part) - whole, rest)

    def take(self, rows: npt.NDArray[np.int64]) -> FloatMatrix:
        out = np.empty((len(rows), self._dim), np.float32)
        owner = np.searchsorted(self._starts, rows, side="right") - 1
        for number in np.unique(owner):
            mine = owner == number
            out[mine] = decode(self._parts[number], rows[mine] - self._starts[number])
        return out


def padded(values: FloatMatrix, dim: int) -> FloatMatrix:
    """A copy followed by zeros up to a multiple of :data:`ROW_MULTIPLE` rows.

    >>> padded(np.ones((3, 2), np.float32), 2).shape
    (64, 2)
    """
    out = np.zeros((padded_count(len(values)), dim), np.float32)
    out[: len(values)] = values
    return out


def padded_count(count: int) -> int:
    """``count`` rounded up to a multiple of :data:`ROW_MULTIPLE`.

    >>> padded_count(65)
    128
    """
    return -(-count // ROW_MULTIPLE) * ROW_MULTIPLE

"""Tables as every reader gives them: columns of strings, where the empty string is a missing value.

Ids must stay as they are written (``007``, ``NA``, ``1e5``), so no reader infers a type: text files are read as text,
and typed ones (parquet) are turned into text exactly.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


class TableFile(Protocol):
    """A file of rows, of any format."""

    @property
    def name(self) -> str:
        """The name shown to people: the path below the data set's folder."""
        ...

    @property
    def columns(self) -> tuple[str, ...]:
        """The column names in file order."""
        ...

    @property
    def numeric(self) -> frozenset[str]:
        """Columns that the file itself declares to hold numbers."""
        ...

    @property
    def vectors(self) -> frozenset[str]:
        """Columns that hold a list of numbers a row; they are read by :meth:`vector`, never by :meth:`read`."""
        ...

    def read(self, columns: Sequence[str], encoded: Collection[str] = ()) -> Table:
        """The named columns of all rows; those in ``encoded`` (ids) come as codes and distinct values."""
        ...

    def vector(self, column: str) -> NDArray[np.float32]:
        """A column of vectors: float32 (rows, dim), a missing row is NaN."""
        ...

    def line(self, row: int) -> int | None:
        """The physical line, from 1, on which a row begins; None where a file has no lines."""
        ...


@dataclass(frozen=True, eq=False)
class Codes:
    """A column of ids: ``values[codes[row]]``.

    Attributes:
        codes: int32 (rows,).
        values: the distinct ids in order of first appearance.
    """

    codes: NDArray[np.int32]
    values: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Table:
    """Columns that were read.

    Attributes:
        count: number of rows.
        cells: column -> pyarrow ChunkedArray of strings without nulls.
        ids: column -> its codes, for the columns that were asked for as ids.
    """

    count: int
    cells: dict[str, Any]
    ids: dict[str, Codes]


def encode(array: Any) -> Codes:
    """Codes of a pyarrow ChunkedArray of strings or of dictionaries of strings, without nulls."""
    import pyarrow as pa

    if not pa.types.is_dictionary(array.type):
        array = array.dictionary_encode()
    combined = array.combine_chunks()
    codes = combined.indices.to_numpy(zero_copy_only=False).astype(np.int32)
    return first_appearance(Codes(codes, tuple(combined.dictionary.to_pylist())))


def first_appearance(ids: Codes) -> Codes:
    """The same column, its values in order of first appearance and without values that never appear."""
    distinct, first = np.unique(ids.codes, return_index=True)
    order = distinct[np.argsort(first, kind="stable")]
    if len(order) == len(ids.values) and np.array_equal(order, np.arange(len(order))):
        return ids
    renamed = np.zeros(len(ids.values), dtype=np.int32)
    renamed[order] = np.arange(len(order), dtype=np.int32)
    return Codes(renamed[ids.codes], tuple(ids.values[code] for code in order.tolist()))

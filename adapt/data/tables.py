"""Tables as every reader gives them: batches of strings, where the empty string is a missing value.

Ids must stay as they are written (``007``, ``NA``, ``1e5``), so no reader infers a type: text files are read as text,
and typed ones (parquet) are turned into text exactly.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

BATCH_BYTES = 1 << 22  # about as much as a batch should hold
BATCH_ROWS = 1 << 13  # rows of a batch that come as Python objects


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
        """Columns that hold a list of numbers a row; they are read by :meth:`vector`, never by :meth:`batches`."""
        ...

    def batches(self, columns: Sequence[str], ids: Collection[str] = ()) -> Iterator[Any]:
        """The named columns of all rows: pyarrow RecordBatches of strings without nulls, from the first row on.

        Args:
            columns: at least one.
            ids: those of them that are ids.
        """
        ...

    def vector(self, column: str) -> NDArray[np.float32]:
        """A column of vectors: float32 (rows, dim), a missing row is NaN."""
        ...

    def line(self, row: int) -> int | None:
        """The physical line, from 1, on which a row begins; None where a file has no lines."""
        ...


def text_batch(columns: Sequence[str], cells: Sequence[Any]) -> Any:
    """A RecordBatch of strings: a list or pyarrow Array of cells for each column."""
    import pyarrow as pa

    arrays = [cell if isinstance(cell, pa.Array) else pa.array(cell, pa.string()) for cell in cells]
    return pa.record_batch(arrays, names=list(columns))


def text_schema(columns: Sequence[str]) -> Any:
    """The schema of such batches."""
    import pyarrow as pa

    return pa.schema([(name, pa.string()) for name in columns])

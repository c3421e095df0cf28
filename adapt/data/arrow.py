"""Parquet files and other Arrow tables, turned into strings exactly from their types."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adapt.data.problems import Example, ProblemLog
from adapt.data.tables import BATCH_BYTES, text_batch

_MOST_ROWS = 1 << 17  # of a batch
_LARGEST_EXACT = 2.0**53  # beyond it, a float64 does not hold every integer


class ArrowFile:
    """An Arrow table, or a parquet file read through one.

    Args:
        table: a pyarrow Table, or the path of a parquet file.
        name: its name in messages.
        log: where faults go.

    Raises:
        UnreadableError: it is not a parquet file, or has two columns of the same name.
    """

    def __init__(self, table: Any, name: str, log: ProblemLog) -> None:
        import pyarrow as pa
        from pyarrow import parquet

        self.name = name
        self._log = log
        self._file: Any = None
        self._table: Any = None
        try:
            if isinstance(table, Path):
                self._file = parquet.ParquetFile(table, buffer_size=BATCH_BYTES, pre_buffer=False)
                schema, self._count = self._file.schema_arrow, self._file.metadata.num_rows
            else:
                self._table, schema, self._count = table, table.schema, len(table)
        except (pa.ArrowException, OSError) as error:
            log.fatal("unreadable", Example(name, None, None, f"expected a parquet file: {error}"))
        for column in schema.names:
            if schema.names.count(column) > 1:
                message = f"expected different column names, found {column!r} twice"
                log.fatal("duplicate-column", Example(name, None, column, message))
        fields = {field.name: _value_type(field.type) for field in schema}
        self.vectors = frozenset(column for column, kind in fields.items() if _is_vector(kind))
        self._embedded = frozenset(column for column, kind in fields.items() if _is_embedded(kind))
        if self._embedded:
            column = sorted(self._embedded)[0]
            log.add("image-embedded", Example(name, None, column, f"column {column!r} holds the bytes of files"))
        self.columns = tuple(column for column in schema.names if column not in self._embedded)
        self.numeric = frozenset(
            column
            for column, kind in fields.items()
            if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
        )

    def batches(self, columns: Sequence[str], ids: Collection[str] = ()) -> Iterator[Any]:
        """The named columns of all rows."""
        start = 0
        for batch in self._batches(columns):
            cells = [
                self._ids(name, batch.column(name), start) if name in ids else self._texts(name, batch.column(name))
                for name in columns
            ]
            yield text_batch(columns, cells)
            start += len(batch)

    def vector(self, column: str) -> NDArray[np.float32]:
        """A column of lists of numbers as float32 (rows, dim); a null row, or a null inside one, is NaN.

        Raises:
            UnreadableError: the lists have different lengths.
        """
        from pyarrow import compute

        values: NDArray[np.float32] = np.zeros((0, 0), dtype=np.float32)
        lengths: set[int] = set()
        start = 0
        for batch in self._batches([column]):
            array = batch.column(column)
            given = array.drop_null()
            lengths |= set(compute.unique(compute.list_value_length(given)).to_pylist())
            if len(lengths) > 1:
                break
            if lengths and not len(values):
                values = np.full((self._count, *lengths), np.nan, dtype=np.float32)
            if len(given):
                there = start + np.flatnonzero(array.is_valid().to_numpy(zero_copy_only=False))
                flat = given.flatten().to_numpy(zero_copy_only=False).astype(np.float32)
                values[there] = flat.reshape(-1, *lengths)
            start += len(array)
        if len(lengths) != 1:
            message = f"expected lists of one length, found lengths {sorted(lengths)[:5]}"
            self._log.fatal("bad-features", Example(self.name, None, column, message))
        return values

    def line(self, row: int) -> int | None:  # noqa: ARG002
        """None: the file has no lines."""
        return None

    def _batches(self, columns: Sequence[str]) -> Iterator[Any]:
        import pyarrow as pa

        # pyarrow takes a dot in a name for a path into a nested column
        wanted = None if any("." in name for name in columns) else list(columns)
        try:
            if self._file is None:
                batches = self._table.to_batches(max_chunksize=_MOST_ROWS)
            else:
                batches = self._file.iter_batches(batch_size=self._rows(columns), columns=wanted)
            for batch in batches:
                arrays = [batch.column(name) for name in columns]
                plain = [array.dictionary_decode() if pa.types.is_dictionary(array.type) else array for array in arrays]
                yield pa.record_batch(plain, names=list(columns))
        except (pa.ArrowException, OSError) as error:
            column = columns[0] if len(columns) == 1 else None
            self._log.fatal("unreadable", Example(self.name, None, column, f"expected a whole parquet file: {error}"))

    def _rows(self, columns: Sequence[str]) -> int:
        """Rows of a batch, by the size of the columns before they were compressed."""
        metadata = self._file.metadata
        size = sum(
            metadata.row_group(group).column(place).total_uncompressed_size
            for group in range(metadata.num_row_groups)
            for place in range(metadata.num_columns)
            if metadata.row_group(group).column(place).path_in_schema.split(".")[0] in columns
        )
        return min(_MOST_ROWS, max(1, int(BATCH_BYTES * metadata.num_rows / max(size, 1))))

    def _texts(self, column: str, array: Any) -> Any:
        import pyarrow as pa

        try:
            return _texts(array)
        except pa.ArrowException as error:
            self._log.fatal("encoding", Example(self.name, None, column, f"expected text: {error}"))

    def _ids(self, column: str, array: Any, start: int) -> Any:
        """Ids as text; whole floats become integers (pandas makes floats of integers where a value is missing)."""
        import pyarrow as pa

        if not pa.types.is_floating(array.type):
            return self._texts(column, array)
        values = array.cast(pa.float64()).to_numpy(zero_copy_only=False)
        finite = np.nan_to_num(values, nan=0.0, posinf=0.5, neginf=0.5)
        wrong = np.flatnonzero((finite != np.floor(finite)) | (np.abs(finite) > _LARGEST_EXACT))
        if len(wrong):
            message = f"expected a text or an integer as id, found {values[wrong[0]]!r}"
            place = f"row {start + wrong[0] + 1}"
            self._log.fatal("fractional-id", Example(self.name, None, column, f"{place}: {message}"))
        if start == 0:
            message = f"column {column!r} is {array.type}; 7.0 is read as 7"
            self._log.add("float-id", Example(self.name, None, column, message))
        return pa.array(["" if np.isnan(v) else str(int(v)) for v in values.tolist()], pa.string())


def _value_type(kind: Any) -> Any:
    import pyarrow as pa

    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _is_list(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _is_vector(kind: Any) -> bool:
    import pyarrow as pa

    return _is_list(kind) and bool(pa.types.is_floating(kind.value_type) or pa.types.is_integer(kind.value_type))


def _is_embedded(kind: Any) -> bool:
    """Whether cells are files with their bytes, as the ``datasets`` library stores images."""
    import pyarrow as pa

    return bool(pa.types.is_struct(kind)) and kind.get_field_index("bytes") >= 0


def _texts(array: Any) -> Any:
    """An array as strings without nulls; exact for integers, decimals and texts."""
    import pyarrow as pa
    from pyarrow import compute

    kind = array.type
    if _is_list(kind) and (pa.types.is_string(kind.value_type) or pa.types.is_large_string(kind.value_type)):
        array = compute.binary_join(array.cast(pa.list_(pa.string())), "|")
    elif pa.types.is_nested(kind):
        array = pa.array(["" if value is None else str(value) for value in array.to_pylist()], pa.string())
    return compute.fill_null(array.cast(pa.string()), "")

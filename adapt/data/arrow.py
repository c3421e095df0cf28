"""Parquet files and other Arrow tables, turned into strings exactly from their types."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adapt.data.problems import Example, ProblemLog
from adapt.data.tables import Codes, Table, encode

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
                self._file = parquet.ParquetFile(table)
                schema = self._file.schema_arrow
            else:
                self._table, schema = table, table.schema
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

    def read(self, columns: Sequence[str], encoded: Collection[str] = ()) -> Table:
        """The named columns of all rows."""
        cells: dict[str, Any] = {}
        ids: dict[str, Codes] = {}
        count = 0
        for column in columns:
            array = self._column(column)
            count = len(array)
            if column in encoded:
                ids[column] = encode(self._ids(column, array))
            else:
                cells[column] = self._texts(column, array)
        return Table(count, cells, ids)

    def vector(self, column: str) -> NDArray[np.float32]:
        """A column of lists of numbers as float32 (rows, dim); a null row, or a null inside one, is NaN.

        Raises:
            UnreadableError: the lists have different lengths.
        """
        array = self._column(column).combine_chunks()
        lengths = {len(value) for value in array if value.is_valid}
        if len(lengths) != 1:
            message = f"expected lists of one length, found lengths {sorted(lengths)[:5]}"
            self._log.fatal("bad-features", Example(self.name, None, column, message))
        dim = lengths.pop()
        valid = np.array([value.is_valid for value in array], dtype=bool)
        flat = array.drop_null().flatten()
        values = np.full((len(array), dim), np.nan, dtype=np.float32)
        values[valid] = flat.to_numpy(zero_copy_only=False).astype(np.float32).reshape(-1, dim)
        return values

    def line(self, row: int) -> int | None:  # noqa: ARG002
        """None: the file has no lines."""
        return None

    def _column(self, column: str) -> Any:
        import pyarrow as pa

        try:
            # pyarrow takes a dot in a name for a path into a nested column
            wanted = None if "." in column else [column]
            table = self._table if self._file is None else self._file.read(columns=wanted)
            array = table.column(column)
            return array.cast(array.type.value_type) if pa.types.is_dictionary(array.type) else array
        except (pa.ArrowException, OSError) as error:
            self._log.fatal("unreadable", Example(self.name, None, column, f"expected a whole parquet file: {error}"))

    def _texts(self, column: str, array: Any) -> Any:
        import pyarrow as pa

        try:
            return _texts(array)
        except pa.ArrowException as error:
            self._log.fatal("encoding", Example(self.name, None, column, f"expected text: {error}"))

    def _ids(self, column: str, array: Any) -> Any:
        """Ids as text; whole floats become integers (pandas makes floats of integers where a value is missing)."""
        import pyarrow as pa

        if not pa.types.is_floating(array.type):
            return self._texts(column, array)
        values = array.cast(pa.float64()).to_numpy()
        finite = np.nan_to_num(values, nan=0.0, posinf=0.5, neginf=0.5)
        wrong = np.flatnonzero((finite != np.floor(finite)) | (np.abs(finite) > _LARGEST_EXACT))
        if len(wrong):
            message = f"expected a text or an integer as id, found {values[wrong[0]]!r}"
            self._log.fatal("fractional-id", Example(self.name, None, column, f"row {wrong[0] + 1}: {message}"))
        message = f"column {column!r} is {array.type}; 7.0 is read as 7"
        self._log.add("float-id", Example(self.name, None, column, message))
        return pa.chunked_array([pa.array(["" if np.isnan(v) else str(int(v)) for v in values.tolist()], pa.string())])


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
    """A chunked array as strings without nulls; exact for integers, decimals and texts."""
    import pyarrow as pa
    from pyarrow import compute

    kind = array.type
    if _is_list(kind) and (pa.types.is_string(kind.value_type) or pa.types.is_large_string(kind.value_type)):
        chunks = [compute.binary_join(chunk.cast(pa.list_(pa.string())), "|") for chunk in array.chunks]
        array = pa.chunked_array(chunks, pa.string())
    elif pa.types.is_nested(kind):
        values = ["" if value is None else str(value) for value in array.to_pylist()]
        array = pa.chunked_array([pa.array(values, pa.string())])
    return compute.fill_null(array.cast(pa.string()), "")

"""Columns of a catalog as sequences: Arrow arrays that decode only what is asked for."""

from __future__ import annotations

import operator
import os
from abc import abstractmethod
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any, SupportsIndex, TypeAlias, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from adapt.data.spool import Stored, store

T = TypeVar("T")
_ROWS = 1 << 12  # rows that are Python objects at a time
_TOUCHED = 32 << 20  # bytes that are looked at before mapped memory is given back
_AROUND = 64 << 10  # bytes that the system maps around a place that is looked at


class ArrowSequence(Sequence[T]):
    """A column of a table as a sequence; equal to a tuple of the same values, and like one it never changes.

    Args:
        array: a pyarrow Array or ChunkedArray without nulls.
        source: the table that it is a column of, where that may be mapped.
    """

    __hash__ = None  # type: ignore[assignment]

    def __init__(self, array: Any, source: Stored | None = None) -> None:
        chunks = array.chunks if hasattr(array, "chunks") else [array]
        self._chunks = [chunk for chunk in chunks if len(chunk)]
        self._starts = [0, *accumulate(map(len, self._chunks))]
        self._type = array.type
        self._source = source
        self._touched = 0

    @abstractmethod
    def _values(self, array: Any) -> list[T]:
        """The values of an Arrow array."""

    def __len__(self) -> int:
        return self._starts[-1]

    @overload
    def __getitem__(self, place: SupportsIndex) -> T: ...
    @overload
    def __getitem__(self, place: slice) -> tuple[T, ...]: ...
    def __getitem__(self, place: SupportsIndex | slice) -> T | tuple[T, ...]:
        if isinstance(place, slice):
            return self._slice(place)
        row = operator.index(place)
        row += len(self) if row < 0 else 0
        if not 0 <= row < len(self):
            raise IndexError(f"expected a row below {len(self)}, found {operator.index(place)}")
        number = bisect_right(self._starts, row) - 1
        self._count(_AROUND)
        return self._values(self._chunks[number].slice(row - self._starts[number], 1))[0]

    def _slice(self, place: slice) -> tuple[T, ...]:
        start, stop, step = place.indices(len(self))
        if step != 1:
            return tuple(self.at(np.arange(start, stop, step)))
        found: list[T] = []
        for array in self._between(start, stop):
            found += self._values(array)
            self._count(array.nbytes)
        return tuple(found)

    def __iter__(self) -> Iterator[T]:
        for array in self.arrays(_ROWS):
            yield from self._values(array)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, (tuple, ArrowSequence)):
            return NotImplemented
        return len(self) == len(other) and all(map(operator.eq, self, other))

    def __repr__(self) -> str:
        shown = ", ".join([*map(repr, self[:3]), *(["..."] if len(self) > 3 else [])])
        return f"{type(self).__name__}({len(self):,}: {shown})"

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.arrow,)

    @property
    def arrow(self) -> Any:
        """The column as a pyarrow ChunkedArray."""
        import pyarrow as pa

        return pa.chunked_array(self._chunks, self._type)

    @property
    def nbytes(self) -> int:
        """The bytes that the column takes, in memory or on disk."""
        return sum(chunk.nbytes for chunk in self._chunks)

    def arrays(self, rows: int) -> Iterator[Any]:
        """The column as pyarrow Arrays of at most ``rows`` rows, in order."""
        for chunk in self._chunks:
            for start in range(0, len(chunk), rows):
                array = chunk.slice(start, rows)
                yield array
                self._count(array.nbytes)

    def span(self, start: int, stop: int) -> Any:
        """The rows from ``start`` to before ``stop`` as one pyarrow Array."""
        import pyarrow as pa

        parts = list(self._between(start, stop))
        for part in parts:
            self._count(part.nbytes)
        return pa.concat_arrays(parts) if len(parts) != 1 else parts[0]

    def take(self, rows: NDArray[np.integer]) -> Any:
        """The values at ``rows`` (all at least 0), in their order, as one pyarrow Array."""
        import pyarrow as pa

        numbers = np.searchsorted(self._starts, rows, "right") - 1
        order = np.argsort(numbers, kind="stable")
        parts = []
        for number in np.unique(numbers).tolist():
            here = rows[order[np.searchsorted(numbers, number, sorter=order) :][: int((numbers == number).sum())]]
            parts.append(self._chunks[number].take(pa.array(here - self._starts[number])))
        joined = pa.concat_arrays(parts) if parts else pa.array([], self._type)
        if len(parts) > 1:
            back = np.empty(len(order), dtype=np.int64)
            back[order] = np.arange(len(order))
            joined = joined.take(pa.array(back))
        self._count(joined.nbytes + _AROUND * len(rows))
        return joined

    def at(self, rows: NDArray[np.integer]) -> list[T]:
        """The values at ``rows`` (all at least 0), in their order."""
        step = _TOUCHED // _AROUND
        found: list[T] = []
        for start in range(0, len(rows), step):
            found += self._values(self.take(rows[start : start + step]))
        return found

    def filled(self) -> NDArray[np.bool_]:
        """bool (rows,): the value is not empty."""
        from pyarrow import compute

        if not self._chunks:
            return np.zeros(0, dtype=bool)
        measure = compute.list_value_length if hasattr(self._type, "value_type") else compute.binary_length
        return np.concatenate([measure(chunk).to_numpy(zero_copy_only=False) > 0 for chunk in self._chunks])

    def _between(self, start: int, stop: int) -> Iterator[Any]:
        number = bisect_right(self._starts, start) - 1
        while start < stop:
            inside = start - self._starts[number]
            array = self._chunks[number].slice(inside, stop - start)
            yield array
            start += len(array)
            number += 1

    def _count(self, size: int) -> None:
        if self._source is None or self._source.mapping is None:
            return
        self._touched += size
        if self._touched > _TOUCHED:
            self._source.release()
            self._touched = 0


class Strings(ArrowSequence[str]):
    """A column of strings."""

    def _values(self, array: Any) -> list[str]:
        values: list[str] = array.to_pylist()
        return values

    def __contains__(self, value: object) -> bool:
        from pyarrow import compute

        return isinstance(value, str) and any(compute.index(chunk, value).as_py() >= 0 for chunk in self._chunks)


class ImageFiles(ArrowSequence[tuple[Path, ...]]):
    """A column of absolute paths, several or none a row; Arrow holds them as the bytes that the system knows."""

    def _values(self, array: Any) -> list[tuple[Path, ...]]:
        return [tuple(Path(os.fsdecode(file)) for file in files) for files in array.to_pylist()]

    def total(self) -> int:
        """The number of files of all rows."""
        return sum(len(chunk.flatten()) for chunk in self._chunks)


# What a catalog has for columns: views of what was read, tuples of what a program made.
StringColumn: TypeAlias = Strings | tuple[str, ...]
ImageColumn: TypeAlias = ImageFiles | tuple[tuple[Path, ...], ...]


def strings(values: Sequence[str]) -> Strings:
    """Strings as a column; what is one already stays itself. Half a surrogate pair, which is no text, becomes ``?``."""
    import pyarrow as pa

    if isinstance(values, Strings):
        return values
    try:
        return Strings(pa.array(values, pa.string()))
    except UnicodeEncodeError:
        return Strings(pa.array([value.encode("utf-8", "replace").decode() for value in values], pa.string()))


def image_files(rows: Iterable[Sequence[Path]]) -> ImageFiles:
    """The image files of each row as a column."""
    import pyarrow as pa

    kind = pa.list_(pa.binary())
    schema = pa.schema([("files", kind)])
    stored = store(schema, (pa.record_batch([pa.array(part, kind)], schema=schema) for part in _parts(rows)))
    return ImageFiles(stored.table.column(0), stored)


def no_image_files(count: int) -> ImageFiles:
    """A column of ``count`` rows without a file."""
    import pyarrow as pa

    return ImageFiles(pa.ListArray.from_arrays(np.zeros(count + 1, np.int32), pa.array([], pa.binary())))


def _parts(rows: Iterable[Sequence[Path]]) -> Iterator[list[list[bytes]]]:
    part: list[list[bytes]] = []
    for files in rows:
        part.append([os.fsencode(file) for file in files])
        if len(part) == _ROWS:
            yield part
            part = []
    yield part


def filled(values: Sequence[Any]) -> NDArray[np.bool_]:
    """bool (rows,): the value is not empty."""
    return values.filled() if isinstance(values, ArrowSequence) else np.array([bool(v) for v in values], dtype=bool)


def taken(columns: Mapping[str, Sequence[str]], rows: NDArray[np.integer]) -> dict[str, Strings]:
    """The given rows of several columns of strings, in their order."""
    import pyarrow as pa

    if not columns:
        return {}
    views = {name: strings(values) for name, values in columns.items()}
    schema = pa.schema([(name, pa.string()) for name in views])
    parts = (rows[start : start + _ROWS] for start in range(0, len(rows), _ROWS))
    stored = store(schema, (pa.record_batch([v.take(part) for v in views.values()], schema=schema) for part in parts))
    return columns_of(stored)


def columns_of(stored: Stored) -> dict[str, Strings]:
    """The columns of a table of strings."""
    return {name: Strings(stored.table.column(name), stored) for name in stored.table.column_names}

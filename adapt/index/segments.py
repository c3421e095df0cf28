"""Items of an index on disk: written once, in rows that keep their numbers, read when they are needed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from adapt.errors import CheckpointError
from adapt.files import output_errors
from adapt.index.description import PartEntry
from adapt.index.filters import Condition, number_in, satisfying
from adapt.index.generations import Generations, Writer
from adapt.index.quantise import Encoded, Storage, decode
from adapt.index.sealed import REBUILD, SealedFolder, write_tensors
from adapt.shards import plan

EMBEDDINGS, IDS, TITLES, COLUMNS, SHARED_COLUMNS, FEATURES = (
    "embeddings.safetensors",
    "ids.json",
    "titles.json",
    "items.parquet",
    "items.json",  # the same cells where the index is shared: nothing but safetensors and JSON is
    "features.safetensors",
)
DENSE_BYTES = 64 << 20
"""What float32 copies of embeddings that are stored in fewer bytes may take by default."""
_REMEMBERED = 32
_TABLE_ROWS = 1 << 17  # items whose columns are written at once
_DTYPES = {"float32": np.float32, "float16": np.float16, "int8": np.int8}


@dataclass(frozen=True, eq=False)
class RawFeatures:
    """One modality of some items, as its encoder gave it.

    Attributes:
        values: float32 (items, width); what the row of an absent item holds does not matter.
        present: bool (items,).
    """

    values: npt.NDArray[np.float32]
    present: npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Items:
    """What is stored of some items, row by row.

    Attributes:
        ids: distinct.
        embeddings: in the type of the index.
        titles: what a person reads; empty = nothing is known but ids.
        columns: cells to filter by, as text.
        features: modality -> raw features, to embed the items anew.
    """

    ids: Sequence[str]
    embeddings: Encoded
    titles: Sequence[str] = ()
    columns: Mapping[str, Sequence[str]] = field(default_factory=lambda: MappingProxyType({}))
    features: Mapping[str, RawFeatures] = field(default_factory=lambda: MappingProxyType({}))


def write_items(writer: Writer, items: Items, *, shared: bool = False) -> PartEntry:
    """Store items as a part of the index.

    Args:
        writer: of the index.
        items: what is stored of them.
        shared: columns as JSON, for an index that others will read.

    Raises:
        OutputError: it cannot be written.
    """

    def fill(folder: Path) -> None:
        write_tensors(folder / EMBEDDINGS, items.embeddings.tensors())
        with output_errors(folder):
            (folder / IDS).write_text(json.dumps(list(items.ids)), encoding="utf-8")
            if items.titles:
                (folder / TITLES).write_text(json.dumps(list(items.titles)), encoding="utf-8")
            if items.columns and shared:
                cells = {name: list(column) for name, column in items.columns.items()}
                (folder / SHARED_COLUMNS).write_text(json.dumps(cells), encoding="utf-8")
            elif items.columns:
                _write_columns(folder / COLUMNS, items.columns)
        if items.features:
            tensors: dict[str, npt.NDArray[Any]] = {}
            for modality, raw in items.features.items():
                tensors[f"{modality}.values"], tensors[f"{modality}.present"] = raw.values, raw.present
            write_tensors(folder / FEATURES, tensors)

    part = writer.part(fill)
    return PartEntry(name=part.name, sha256=part.sha256, rows=len(items.ids))


class Segment:
    """A part that :func:`write_items` stored; embeddings and features are memory-mapped.

    Args:
        folder: the part's files.
        entry: of the part.
        dim: length of an embedding.
        storage: its type.

    Raises:
        CheckpointError: ids or embeddings are damaged or do not fit each other.
    """

    def __init__(self, folder: SealedFolder, entry: PartEntry, dim: int, storage: Storage) -> None:
        self.folder = folder
        self.entry = entry
        self.ids = folder.strings(IDS, entry.rows)
        self.embeddings = _embeddings(folder, entry.rows, dim, storage)
        self._cells: dict[str, npt.NDArray[np.object_]] = {}
        self._numbers: dict[str, npt.NDArray[np.float64]] = {}
        self._satisfying: dict[Condition, npt.NDArray[np.bool_]] = {}

    def __len__(self) -> int:
        return self.entry.rows

    def rows_of(self, item_id: str) -> Sequence[int]:
        """The rows that an id has had here, the newest first."""
        if item_id in self._repeated:
            return self._repeated[item_id]
        row = self._row.get(item_id)
        return () if row is None else (row,)

    @cached_property
    def _row(self) -> dict[str, int]:
        return dict(zip(self.ids, range(len(self)), strict=True))

    @cached_property
    def _repeated(self) -> dict[str, list[int]]:
        """Ids with several rows, of which all but one at most were deleted; newest first."""
        if len(self._row) == len(self):
            return {}
        rows: dict[str, list[int]] = {}
        for row in reversed(range(len(self))):
            rows.setdefault(self.ids[row], []).append(row)
        return {item_id: found for item_id, found in rows.items() if len(found) > 1}

    @cached_property
    def titles(self) -> Sequence[str]:
        """What a person reads; the ids where no titles are known."""
        return self.folder.strings(TITLES, len(self)) if TITLES in self.folder else self.ids

    @cached_property
    def dense(self) -> Encoded:
        """The embeddings in float32: a copy in memory where they are stored in another type."""
        return Encoded(decode(self.embeddings))

    @cached_property
    def column_names(self) -> tuple[str, ...]:
        """Columns that the items can be filtered by."""
        return tuple(self._table.column_names) if self._table is not None else ()

    def cells(self, column: str) -> npt.NDArray[np.object_]:
        """The cells of a column as text, (items,); empty where the items have no such column."""
        if column not in self._cells:
            cells = np.full(len(self), "", object)
            if column in self.column_names:
                cells[:] = self._table.column(column).to_pylist()
            self._cells[column] = cells
        return self._cells[column]

    def columns_of(self, row: int) -> dict[str, str]:
        """Every column of one item, as text."""
        if self._table is None:
            return {}
        return {name: column[row].as_py() for name, column in zip(self.column_names, self._table.columns, strict=True)}

    def numbers(self, column: str) -> npt.NDArray[np.float64]:
        """The cells of a column as numbers, (items,); NaN where a cell is none."""
        if column not in self._numbers:
            self._numbers[column] = np.array([number_in(cell) for cell in self.cells(column)], np.float64)
        return self._numbers[column]

    def satisfying(self, condition: Condition) -> npt.NDArray[np.bool_]:
        """Which items satisfy a condition, (items,); remembered for the conditions that were asked last."""
        found = self._satisfying.get(condition)
        if found is None:
            found = satisfying(condition, self)
            self._satisfying[condition] = found
            for oldest in list(self._satisfying)[:-_REMEMBERED]:
                self._satisfying.pop(oldest, None)
        return found

    @cached_property
    def features(self) -> Mapping[str, RawFeatures]:
        """Modality -> raw features, memory-mapped."""
        if FEATURES not in self.folder:
            return {}
        tensors = self.folder.mapped(FEATURES)
        found = {}
        for name in tensors:
            modality, _, what = name.rpartition(".")
            if what == "values":
                present = tensors.get(f"{modality}.present")
                if present is None or len(present) != len(self) or len(tensors[name]) != len(self):
                    raise CheckpointError(f"expected {len(self)} {modality} features in {self.folder.path}", REBUILD)
                found[modality] = RawFeatures(tensors[name], present.astype(np.bool_))
        return found

    @cached_property
    def _table(self) -> Any:
        name = next((name for name in (COLUMNS, SHARED_COLUMNS) if name in self.folder), None)
        if name is None:
            return None
        import pyarrow as pa
        from pyarrow import parquet

        try:
            if name == SHARED_COLUMNS:
                cells = self.folder.json(name)
                table = pa.table({column: pa.array(values, pa.string()) for column, values in dict(cells).items()})
            else:
                table = parquet.ParquetFile(self.folder.file(name)).read(use_threads=False)
            table.validate(full=True)  # text that is no UTF-8 would be found out at the first look at it
        except (pa.ArrowException, OSError, TypeError, ValueError) as error:
            raise CheckpointError(f"expected columns of items in {self.folder.path / name}, found: {error}") from error
        for column, values in zip(table.column_names, table.columns, strict=True):
            if not pa.types.is_string(values.type) or values.null_count:
                raise CheckpointError(f"expected text in column {column!r} of {self.folder.path / name}", REBUILD)
        if table.num_rows != len(self):
            raise CheckpointError(f"expected {len(self)} rows in {self.folder.path / name}, found {table.num_rows}")
        return table


def open_segment(folder: Generations, entry: PartEntry, dim: int, storage: Storage) -> Segment:
    """Open a part of an index.

    Raises:
        CheckpointError: it is damaged or does not fit.
    """
    return Segment(folder.part(entry.part), entry, dim, storage)


def searched(segments: Sequence[Segment], dim: int, dense_bytes: int) -> list[Encoded]:
    """The embeddings of segments, in float32 as long as the copies together take no more memory than is allowed."""
    found = []
    for segment in segments:
        size = 0 if segment.embeddings.storage == "float32" else 4 * dim * len(segment)
        fits = size <= dense_bytes
        found.append(segment.dense if fits else segment.embeddings)
        dense_bytes -= size if fits else 0
    return found


def stored_items(segment: Segment) -> Items:
    """What a segment holds, deleted rows too."""
    columns = {name: segment.cells(name).tolist() for name in segment.column_names}
    return Items(segment.ids, segment.embeddings, segment.titles, columns, segment.features)


def together(parts: Sequence[Items], rows: npt.NDArray[np.int64] | None = None) -> Items:
    """Several lots of items as one, in their order.

    Args:
        parts: at least one, stored in the same type. A column or a modality that one lacks is empty there.
        rows: which rows of all of them to keep; None = every one.
    """
    count = sum(len(part.ids) for part in parts)
    chosen = np.arange(count) if rows is None else rows
    ids = _column([part.ids for part in parts], chosen)
    values = np.concatenate([part.embeddings.values for part in parts])[chosen]
    scales = [part.embeddings.scales for part in parts if part.embeddings.scales is not None]
    names = dict.fromkeys(name for part in parts for name in part.columns)
    return Items(
        ids,
        Encoded(values, np.concatenate(scales)[chosen] if scales else None),
        _column([part.titles or part.ids for part in parts], chosen),
        {name: _column([part.columns.get(name) or [""] * len(part.ids) for part in parts], chosen) for name in names},
        {name: RawFeatures(raw.values[chosen], raw.present[chosen]) for name, raw in _features(parts).items()},
    )


def _features(parts: Sequence[Items]) -> dict[str, RawFeatures]:
    widths = {name: raw.values.shape[1] for part in parts for name, raw in part.features.items()}
    found = {}
    for modality, width in widths.items():
        raws = [
            part.features.get(modality)
            or RawFeatures(np.zeros((len(part.ids), width), np.float32), np.zeros(len(part.ids), bool))
            for part in parts
        ]
        if any(raw.values.shape[1] != width for raw in raws):
            raise CheckpointError(f"expected {modality} features of one width, found several", REBUILD)
        found[modality] = RawFeatures(
            np.concatenate([raw.values for raw in raws]), np.concatenate([raw.present for raw in raws])
        )
    return found


def _column(parts: Sequence[Sequence[str]], rows: npt.NDArray[np.int64]) -> list[str]:
    cells = [cell for part in parts for cell in part]
    return [cells[row] for row in rows.tolist()]


def _embeddings(folder: SealedFolder, rows: int, dim: int, storage: Storage) -> Encoded:
    tensors = folder.mapped(EMBEDDINGS)
    matrix, scales = tensors.get("embeddings"), tensors.get("scales")
    wanted = {"embeddings", "scales"} if storage == "int8" else {"embeddings"}
    fits = matrix is not None and matrix.dtype == _DTYPES[storage] and matrix.shape == (rows, dim)
    if not fits or set(tensors) != wanted or (scales is not None and scales.shape != (rows,)) or matrix is None:
        found = {name: f"{tensor.dtype} {tensor.shape}" for name, tensor in tensors.items()}
        raise CheckpointError(
            f"expected 'embeddings' as {storage} {(rows, dim)} in {folder.path / EMBEDDINGS}, found {found}", REBUILD
        )
    for tensor in (matrix, scales):
        if tensor is not None and tensor.dtype != np.int8 and not np.isfinite(tensor).all():
            row = int(np.argmin(np.isfinite(tensor).reshape(rows, -1).all(axis=1)))
            raise CheckpointError(f"expected finite numbers in {folder.path / EMBEDDINGS}, found others in row {row}")
    return Encoded(matrix, scales)


def _write_columns(path: Path, columns: Mapping[str, Sequence[str]]) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    schema = pa.schema([(name, pa.string()) for name in columns])
    with parquet.ParquetWriter(path, schema) as writer:
        for shard in plan(max(map(len, columns.values())), _TABLE_ROWS):
            # JSON can hold half a character; a table cannot.
            cells = [
                [cell.encode("utf-8", "replace").decode() for cell in column[shard.start : shard.stop]]
                for column in columns.values()
            ]
            writer.write_table(pa.table([pa.array(column, pa.string()) for column in cells], schema=schema))

"""Which row of a file each item is read from, and what the other rows of it say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adapt.data.columns import TEXT_ROLES, ColumnOptions, find
from adapt.data.ids import Codes, IdEncoder
from adapt.data.problems import Example, ProblemLog, row_example
from adapt.data.spool import Stored, store
from adapt.data.tables import TableFile, text_schema
from adapt.data.views import Strings, columns_of
from adapt.progress import Advance

_ROWS = 1 << 14  # repeated rows that are compared at a time


@dataclass(frozen=True, eq=False)
class ItemRows:
    """One row an item.

    Attributes:
        ids: row -> item id.
        columns: the columns that describe items.
        kept: int64 (items,): the row of the file that each item is read from, its first.
        count: rows of the file.
    """

    ids: Strings
    columns: Mapping[str, Strings]
    kept: NDArray[np.int64]
    count: int


def read_item_rows(
    file: TableFile,
    item: str,
    *,
    ignored: frozenset[str],
    repeated: bool,
    options: ColumnOptions,
    log: ProblemLog,
    advance: Advance,
) -> ItemRows:
    """Read a file of items.

    Args:
        file: the table.
        item: the column of ids.
        ignored: columns that describe interactions.
        repeated: whether there is one row an interaction.
        options: the user's choice of columns.
        log: where faults go.
        advance: called with the numbers of rows read.

    Raises:
        UnreadableError: there is no item.
    """
    names = [name for name in file.columns if name not in ignored and name not in file.vectors]
    described = [name for name in names if name != item]
    encoder = IdEncoder()

    def cells() -> Any:
        for batch in file.batches(names, ids=[item]):
            encoder.add(batch.column(item))
            advance(len(batch))
            if described:
                yield batch.select(described)

    stored = store(text_schema(described), cells())
    ids = encoder.finish()
    rows = np.arange(len(ids))
    first = np.zeros(len(ids.values), dtype=np.int64)
    first[ids.codes[::-1]] = rows[::-1]
    empty = ids.codes == ids.empty
    if not ids.values.filled().any():
        log.fatal("no-items", Example(file.name, None, item, "expected at least one row with an item id"))
    if not repeated:  # with one row an interaction, the reader of interactions reports these rows
        log.rows("empty-id", file, np.flatnonzero(empty), item, lambda _: "expected an item id, found nothing")
    repeats = rows[(first[ids.codes] != rows) & ~empty]
    columns = columns_of(stored)
    if len(repeats):
        there = _Repeats(file, ids, repeats, first)
        columns = there.settle(columns, options, log) if repeated else there.report(columns, log)
    kept = first if ids.empty < 0 else np.delete(first, ids.empty)
    if len(kept) < len(ids):
        columns = columns_of(_kept(stored, list(columns), kept))
    values = ids.values if ids.empty < 0 else Strings(ids.values.take(np.flatnonzero(ids.values.filled())))
    return ItemRows(values, columns, kept, len(ids))


def _kept(stored: Stored, names: list[str], kept: NDArray[np.int64]) -> Stored:
    """Some rows, in the order of the file, of some columns."""
    import pyarrow as pa

    def batches() -> Any:
        start = 0
        for batch in stored.batches():
            stop = start + len(batch)
            inside = kept[np.searchsorted(kept, start) : np.searchsorted(kept, stop)] - start
            yield batch.select(names).take(pa.array(inside))
            start = stop

    return store(text_schema(names), batches() if names else ())


@dataclass(frozen=True, eq=False)
class _Repeats:
    """The rows whose item was met before.

    Attributes:
        file: the table.
        ids: of all rows.
        rows: int64 (repeats,), increasing.
        first: int64 (distinct ids,): the first row of each id.
    """

    file: TableFile
    ids: Codes
    rows: NDArray[np.int64]
    first: NDArray[np.int64]

    def settle(self, columns: dict[str, Strings], options: ColumnOptions, log: ProblemLog) -> dict[str, Strings]:
        """One row an interaction: columns that differ describe these; the others, and reports."""
        differing = self._differing(columns)
        known = {find(role, list(columns)).column for role in (*TEXT_ROLES, "image")} | {*options.text, options.image}
        for name in [name for name in columns if name not in known and differing[name].any()]:
            row = int(self.rows[np.argmax(differing[name])])
            message = f"column {name!r} differs between rows of item {self.ids.at(row)!r}: not used"
            log.add("varying-column", row_example(self.file, row, name, message))
            columns = {other: cells for other, cells in columns.items() if other != name}
        self._conflicts(columns, differing, log)
        return columns

    def report(self, columns: dict[str, Strings], log: ProblemLog) -> dict[str, Strings]:
        """One row an item: report rows that repeat or contradict an earlier one."""
        conflict = self._conflicts(columns, self._differing(columns), log)

        def repeated(row: int) -> str:
            return f"item {self.ids.at(row)!r} repeats {self._place(row)}"

        log.rows("duplicate-item", self.file, self.rows[~conflict], None, repeated)
        return columns

    def _conflicts(
        self, columns: dict[str, Strings], differing: dict[str, NDArray[np.bool_]], log: ProblemLog
    ) -> NDArray[np.bool_]:
        conflict = np.zeros(len(self.rows), dtype=bool)
        for name in columns:
            conflict |= differing[name]

        def describe(row: int) -> str:
            at = int(np.searchsorted(self.rows, row))
            name = next(name for name in columns if differing[name][at])
            here, there = columns[name][row], columns[name][int(self.first[self.ids.codes[row]])]
            return (
                f"item {self.ids.at(row)!r} has {name} {short(here)} here and {short(there)} on {self._place(row)}; "
                "expected one row, or identical rows"
            )

        log.rows("conflicting-item", self.file, self.rows[conflict], None, describe)
        return conflict

    def _place(self, row: int) -> str:
        """Where the item of a row was first met."""
        first = int(self.first[self.ids.codes[row]])
        line = self.file.line(first)
        return f"line {line}" if line is not None else f"row {first + 1}"

    def _differing(self, columns: dict[str, Strings]) -> dict[str, NDArray[np.bool_]]:
        """For every column, which of the repeated rows differ from the first row of their item."""
        from pyarrow import compute

        differing = {}
        for name, cells in columns.items():
            parts = []
            for start in range(0, len(self.rows), _ROWS):
                rows = self.rows[start : start + _ROWS]
                unlike = compute.not_equal(cells.take(rows), cells.take(self.first[self.ids.codes[rows]]))
                parts.append(unlike.to_numpy(zero_copy_only=False).astype(bool))
            differing[name] = np.concatenate(parts)
        return differing


def short(value: str) -> str:
    """A cell as a message shows it."""
    return repr(value if len(value) <= 60 else value[:59] + "…")

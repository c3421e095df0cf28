"""Histories, built from a file with one row an interaction."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from adapt.data.catalog import Catalog, Interactions, variant
from adapt.data.problems import Example, ProblemLog
from adapt.data.tables import Codes, TableFile
from adapt.data.times import MISSING, Times, TimeUnit, number, parse_times


@dataclass(frozen=True)
class InteractionColumns:
    """The columns of interactions; time and rating may be absent."""

    user: str
    item: str
    time: str | None
    rating: str | None


def build_interactions(
    file: TableFile, columns: InteractionColumns, catalog: Catalog, log: ProblemLog
) -> tuple[Interactions, TimeUnit | None]:
    """Read the histories; rows without an id, a known item or (where others have one) a timestamp are left out.

    Args:
        file: the table.
        columns: what its columns mean.
        catalog: the items.
        log: where faults go.

    Returns:
        The interactions, and what their timestamps were read as; None = file order.
    """
    wanted = [name for name in (columns.user, columns.item, columns.time, columns.rating) if name is not None]
    table = file.read(list(dict.fromkeys(wanted)), encoded=[columns.user, columns.item])
    users, items = table.ids[columns.user], table.ids[columns.item]
    keep = np.ones(table.count, dtype=bool)

    def drop(kind: str, wrong: NDArray[np.bool_], column: str, message: Callable[[int], str], hint: str = "") -> None:
        found = np.flatnonzero(wrong & keep)
        keep[found] = False
        log.rows(kind, file, found, column, message, hint=hint)

    drop("empty-id", _is_empty(users), columns.user, lambda _: "expected a user id, found nothing")
    present = keep.copy()  # a user whose every item is unknown still is a user
    drop("empty-id", _is_empty(items), columns.item, lambda _: "expected an item id, found nothing")
    lookup = np.array([catalog.index.get(value, -1) for value in items.values], dtype=np.int32)
    rows = lookup[items.codes] if table.count else np.zeros(0, dtype=np.int32)
    unknown = (rows < 0) & keep
    drop(
        "unknown-item",
        unknown,
        columns.item,
        lambda row: f"item {items.values[items.codes[row]]!r} is not in the catalog",
        _changed_ids(items, unknown, catalog),
    )
    times = _times(table.cells[columns.time], columns.time, drop) if columns.time is not None else None
    if columns.time is None or times is None:
        log.add("no-timestamp", Example(file.name, None, columns.time, "histories are in the order of the rows"))
    ratings = _ratings(file, table.cells[columns.rating], columns.rating, keep, log) if columns.rating else None
    if not keep.any():
        log.add("no-interactions", Example(file.name, None, None, f"{table.count:,} rows, none of them usable"))
    interactions = _group(users, present=present, keep=keep, rows=rows, times=times, ratings=ratings)
    _report_ties(file, columns, interactions, log)
    return interactions, times.unit if times is not None else None


def _is_empty(ids: Codes) -> NDArray[np.bool_]:
    empty = ids.values.index("") if "" in ids.values else -1
    return np.asarray(ids.codes == empty)


def _changed_ids(items: Codes, unknown: NDArray[np.bool_], catalog: Catalog) -> str:
    """A hint when unknown ids are known ones in another spelling, as spreadsheets and data frames leave them."""
    for code in np.unique(items.codes[unknown])[:1000].tolist():
        if other := variant(items.values[code], catalog.index):
            return (
                f"The catalog has {other!r} where the interactions have {items.values[code]!r}: ids are text and must "
                "match exactly. Export both files with the ids as text."
            )
    return ""


def _times(array: object, column: str, drop: Callable[..., None]) -> Times | None:
    """The timestamps; None when the column is empty."""
    times = parse_times(array)
    if times.missing.all():
        return None
    drop("missing-timestamp", times.missing, column, lambda _: "expected a timestamp, found nothing")
    cells = array

    def describe(row: int) -> str:
        return f"expected a number or an ISO 8601 date, found {cells[row].as_py()[:60]!r}"  # type: ignore[index]

    drop("bad-timestamp", times.wrong, column, describe)
    return times


def _ratings(
    file: TableFile, array: object, column: str, keep: NDArray[np.bool_], log: ProblemLog
) -> NDArray[np.float32]:
    """Ratings as float32, NaN where there is none; numbers are read as in timestamps."""
    import pyarrow as pa
    from pyarrow import compute

    empty = compute.equal(array, "")
    try:
        values = compute.if_else(empty, None, array).cast(pa.float64()).to_numpy()
        wrong = np.isinf(values)
    except pa.ArrowInvalid:
        texts: list[str] = array.to_pylist()  # type: ignore[attr-defined]
        values = np.array([np.nan if (value := number(text)) is None else value for text in texts])
        wrong = np.isnan(values) & np.array([text.strip().lower() not in MISSING for text in texts])
    wrong &= keep
    values = np.where(np.isinf(values), np.nan, values)
    found = np.flatnonzero(wrong)
    log.rows("bad-rating", file, found, column, lambda row: f"expected a number, found {array[row].as_py()[:60]!r}")  # type: ignore[index]
    return values.astype(np.float32)


def _group(
    users: Codes,
    *,
    present: NDArray[np.bool_],
    keep: NDArray[np.bool_],
    rows: NDArray[np.int32],
    times: Times | None,
    ratings: NDArray[np.float32] | None,
) -> Interactions:
    """Sort by user, then time, then place in the file."""
    named = np.zeros(len(users.values), dtype=bool)
    named[users.codes[present]] = True
    numbers = np.cumsum(named) - 1
    kept = np.flatnonzero(keep)
    user = numbers[users.codes[kept]]
    keys = (user,) if times is None else (times.order[kept], user)
    order = kept[np.lexsort(keys)]  # stable: what ties stays in file order
    offsets = np.zeros(int(named.sum()) + 1, dtype=np.int64)
    np.cumsum(np.bincount(user, minlength=len(offsets) - 1), out=offsets[1:])
    return Interactions(
        user_ids=tuple(value for value, has in zip(users.values, named.tolist(), strict=True) if has),
        offsets=offsets,
        items=rows[order].astype(np.int32),
        timestamps=None if times is None else times.seconds[order],
        ratings=None if ratings is None else ratings[order],
    )


def _report_ties(file: TableFile, columns: InteractionColumns, interactions: Interactions, log: ProblemLog) -> None:
    times = interactions.timestamps
    if times is None or len(times) < 2:
        return
    users = interactions.users()
    ties = int(((np.diff(times) == 0) & (np.diff(users) == 0)).sum())
    if ties:
        message = f"{ties:,} of {len(times):,} interactions share the timestamp of the one before them"
        log.add("equal-timestamps", Example(file.name, None, columns.time, message))

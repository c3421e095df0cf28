"""Histories, built from a file with one row an interaction."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adapt.data.catalog import Catalog, Interactions, variant
from adapt.data.ids import Codes, IdEncoder
from adapt.data.problems import Example, ProblemLog
from adapt.data.spool import store
from adapt.data.tables import TableFile, text_schema
from adapt.data.times import Times, TimeUnit, parse_numbers, parse_times
from adapt.data.views import Strings, columns_of, taken
from adapt.progress import SILENT, Advance, Progress

_BLOCK = 1 << 20  # interactions that a thread sorts at a time
_THREADS = 2  # more would hold more blocks in memory


@dataclass(frozen=True)
class InteractionColumns:
    """The columns of interactions; time and rating may be absent."""

    user: str
    item: str
    time: str | None
    rating: str | None


def build_interactions(
    file: TableFile, columns: InteractionColumns, catalog: Catalog, log: ProblemLog, progress: Progress = SILENT
) -> tuple[Interactions, TimeUnit | None]:
    """Read the histories; rows without an id, a known item or (where others have one) a timestamp are left out.

    Args:
        file: the table.
        columns: what its columns mean.
        catalog: the items.
        log: where faults go.
        progress: who listens.

    Returns:
        The interactions, and what their timestamps were read as; None = file order.
    """
    with progress.task(f"reading {file.name}", None, "interactions") as advance:
        users, items, cells = _read(file, columns, catalog, advance)
    keep = np.ones(len(users), dtype=bool)

    def drop(kind: str, wrong: NDArray[np.bool_], column: str, message: Callable[[int], str], hint: str = "") -> None:
        found = np.flatnonzero(wrong & keep)
        keep[found] = False
        log.rows(kind, file, found, column, message, hint=hint)

    drop("empty-id", users.codes == users.empty, columns.user, lambda _: "expected a user id, found nothing")
    present = keep.copy()  # a user whose every item is unknown still is a user
    drop("empty-id", items.codes == items.empty, columns.item, lambda _: "expected an item id, found nothing")
    unknown = (items.codes >= len(catalog)) & keep  # the others' code is their row
    drop(
        "unknown-item",
        unknown,
        columns.item,
        lambda row: f"item {items.at(row)!r} is not in the catalog",
        _changed_ids(items, unknown, catalog),
    )
    times = _times(cells[columns.time], columns.time, drop) if columns.time is not None else None
    if columns.time is None or times is None:
        log.add("no-timestamp", Example(file.name, None, columns.time, "histories are in the order of the rows"))
    ratings = _ratings(file, cells[columns.rating], columns.rating, keep, log) if columns.rating else None
    if not keep.any():
        log.add("no-interactions", Example(file.name, None, None, f"{len(users):,} rows, none of them usable"))
    interactions = _group(users, present=present, keep=keep, rows=items.codes, times=times, ratings=ratings)
    _report_ties(file, columns, interactions, log)
    return interactions, times.unit if times is not None else None


def _read(
    file: TableFile, columns: InteractionColumns, catalog: Catalog, advance: Advance
) -> tuple[Codes, Codes, dict[str, Strings]]:
    """Users and items as codes, that of a known item its row, and the cells of times and ratings."""
    import pyarrow as pa

    users, items = IdEncoder(), IdEncoder(catalog.ids)
    values = list(dict.fromkeys(name for name in (columns.time, columns.rating) if name is not None))

    def cells() -> Iterator[Any]:
        for batch in file.batches([columns.user, columns.item, *values], ids=[columns.user, columns.item]):
            users.add(batch.column(columns.user))
            items.add(batch.column(columns.item))
            advance(len(batch))
            if values:
                yield batch.select(values)

    stored = store(text_schema(values), cells())
    with ThreadPoolExecutor(1, "ids") as beside:
        coming = beside.submit(users.finish)
        numbered = items.finish()
    pa.default_memory_pool().release_unused()  # what numbering needed on its way
    return coming.result(), numbered, columns_of(stored)


def _changed_ids(items: Codes, unknown: NDArray[np.bool_], catalog: Catalog) -> str:
    """A hint when unknown ids are known ones in another spelling, as spreadsheets and data frames leave them."""
    for code in np.unique(items.codes[unknown])[:1000].tolist():
        value = items.values[code]
        if other := variant(value, catalog.index):
            return (
                f"The catalog has {other!r} where the interactions have {value!r}: ids are text and must "
                "match exactly. Export both files with the ids as text."
            )
    return ""


def _times(cells: Strings, column: str, drop: Callable[..., None]) -> Times | None:
    """The timestamps; None when the column is empty."""
    times = parse_times(cells)
    if times.missing.all():
        return None
    drop("missing-timestamp", times.missing, column, lambda _: "expected a timestamp, found nothing")

    def describe(row: int) -> str:
        return f"expected a number or an ISO 8601 date, found {cells[row][:60]!r}"

    drop("bad-timestamp", times.wrong, column, describe)
    return times


def _ratings(
    file: TableFile, cells: Strings, column: str, keep: NDArray[np.bool_], log: ProblemLog
) -> NDArray[np.float32]:
    """Ratings as float32, NaN where there is none; numbers are read as in timestamps."""
    values, missing = parse_numbers(cells)
    found = np.flatnonzero(np.isnan(values) & ~missing & keep)
    log.rows("bad-rating", file, found, column, lambda row: f"expected a number, found {cells[row][:60]!r}")
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
    numbers = (np.cumsum(named) - 1).astype(np.int32)
    user = numbers[users.codes]
    user[~keep] = -1
    offsets = np.concatenate([[0], np.cumsum(_counts(user, int(named.sum())))])
    items = np.empty(offsets[-1], dtype=np.int32)
    timestamps = None if times is None else np.empty(len(items), dtype=np.float64)
    sorted_ratings = None if ratings is None else np.empty(len(items), dtype=np.float32)
    cuts = np.unique(np.append(np.searchsorted(offsets, np.arange(0, len(items), _BLOCK)), len(offsets) - 1))

    def sort(first: int, last: int) -> None:
        there = np.flatnonzero((user >= first) & (user < last))
        there = there[_order(user[there], None if times is None else times.order[there])]
        place = slice(offsets[first], offsets[last])
        items[place] = rows[there]
        if times is not None and timestamps is not None:
            timestamps[place] = times.seconds(there)
        if ratings is not None and sorted_ratings is not None:
            sorted_ratings[place] = ratings[there]

    with ThreadPoolExecutor(_THREADS, "sort") as threads:
        list(threads.map(sort, cuts[:-1].tolist(), cuts[1:].tolist()))
    names = users.values if named.all() else taken({"id": users.values}, np.flatnonzero(named))["id"]
    return Interactions(names, offsets, items, timestamps, sorted_ratings)


def _counts(user: NDArray[np.int32], users: int) -> NDArray[np.int64]:
    """int64 (users,): how many rows each user has; a row of user -1 is nobody's."""
    counts = np.zeros(users + 1, dtype=np.int64)
    step = max(_BLOCK, users)
    for start in range(0, len(user), step):
        counts += np.bincount(user[start : start + step] + 1, minlength=users + 1)
    return counts[1:]


def _order(user: NDArray[np.int32], time: NDArray[Any] | None) -> NDArray[np.int64]:
    """The stable order by user, then time."""
    if time is None:
        return _stable_order(user)
    by_time = _stable_order(time)
    return by_time[_stable_order(user[by_time])]


def _stable_order(keys: NDArray[Any]) -> NDArray[np.int64]:
    """``np.argsort(keys, kind="stable")``; integers that fit into 64 bits with their places are sorted as one number.

    Numpy sorts numbers with vector instructions, which makes that two to three times as fast.
    """
    if keys.dtype.kind == "i" and len(keys):
        start, bits = int(keys.min()), len(keys).bit_length()
        if (int(keys.max()) - start).bit_length() + bits < 64:
            packed = ((keys.astype(np.int64) - start) << bits) | np.arange(len(keys))
            packed.sort()
            return packed & ((1 << bits) - 1)
    return np.argsort(keys, kind="stable")


def _report_ties(file: TableFile, columns: InteractionColumns, interactions: Interactions, log: ProblemLog) -> None:
    times = interactions.timestamps
    if times is None or len(times) < 2:
        return
    same = times[1:] == times[:-1]
    starts = interactions.offsets[1:-1]
    same[starts[(starts > 0) & (starts < len(times))] - 1] = False  # of another user
    if ties := int(same.sum()):
        message = f"{ties:,} of {len(times):,} interactions share the timestamp of the one before them"
        log.add("equal-timestamps", Example(file.name, None, columns.time, message))

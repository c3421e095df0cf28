"""Timestamps, a column at a time: numbers (seconds, milliseconds, or any that grow) or ISO 8601 dates."""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from adapt.data.views import Strings

TimeUnit = Literal["seconds", "milliseconds", "microseconds", "nanoseconds", "iso dates", "number"]

_ROWS = 1 << 16  # that are converted at a time
_SAMPLE = 200  # values that decide whether a column holds numbers or dates
MISSING = frozenset({"", "nan", "na", "n/a", "nat", "null", "none"})
_UNITS: tuple[tuple[float, TimeUnit, float], ...] = (
    # largest value of the column, what it then is, seconds a unit: 1e11 seconds is the year 5138
    (1e8, "number", 1.0),
    (1e11, "seconds", 1.0),
    (1e14, "milliseconds", 1e-3),
    (1e17, "microseconds", 1e-6),
    (1e20, "nanoseconds", 1e-9),
)
_FRACTION = re.compile(r"[.,](\d+)")
_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)


@dataclass(frozen=True, eq=False)
class Times:
    """A column of timestamps.

    Attributes:
        order: (rows,) int64 or float64, to sort by: as exact as given.
        missing: bool (rows,): no value.
        wrong: bool (rows,): a value that is neither a number nor an ISO date.
        unit: what the column was read as.
    """

    order: NDArray[Any]
    missing: NDArray[np.bool_]
    wrong: NDArray[np.bool_]
    unit: TimeUnit

    def seconds(self, rows: NDArray[np.integer] | slice = slice(None)) -> NDArray[np.float64]:
        """float64: unix seconds of the rows, or the numbers themselves; NaN where missing or wrong."""
        values = self.order[rows].astype(np.float64)
        values[self.missing[rows] | self.wrong[rows]] = np.nan
        if self.unit == "iso dates":
            return np.asarray(values / 1e6)
        scale = next(seconds for _, unit, seconds in _UNITS if unit == self.unit)
        return values if scale == 1.0 else np.asarray(values * scale)


def parse_times(cells: Strings) -> Times:
    """Read a column of timestamps; either all values are numbers, or all are dates.

    The first values decide which. The unit of numbers is that of the largest, so that all
    rows are scaled alike. Dates without a zone are UTC.

    Args:
        cells: as given.
    """
    import pyarrow as pa

    try:
        whole = _converted(cells, None, lambda part, _: part.cast(pa.int64()).to_numpy(), np.int64)
        none = np.zeros(len(whole), dtype=bool)
        return Times(whole, none, none, _unit(whole, none))
    except pa.ArrowInvalid:
        pass
    missing = _missing(cells)
    sample = [cells[int(row)] for row in np.flatnonzero(~missing)[:_SAMPLE]]
    as_numbers = sum(number(text) is not None for text in sample)
    if as_numbers and as_numbers >= sum(not np.isnan(_date(text)) for text in sample):
        numbers = _converted(cells, missing, _numbers, np.float64)
        wrong = np.isnan(numbers) & ~missing
        order = _exact(cells, numbers, missing | wrong)
        return Times(order, missing, wrong, _unit(numbers, missing | wrong))
    micros = _converted(cells, missing, _dates, np.float64)
    return Times(micros, missing, np.isnan(micros) & ~missing, "iso dates")


def parse_numbers(cells: Strings) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Read a column of numbers.

    Args:
        cells: as given.

    Returns:
        float64 (rows,), NaN where there is no finite number, and bool (rows,): no value.
    """
    import pyarrow as pa

    try:  # most columns hold nothing but numbers
        values = _converted(cells, None, lambda part, _: part.cast(pa.float64()).to_numpy(), np.float64)
        if np.isfinite(values).all():
            return values, np.zeros(len(values), dtype=bool)
    except pa.ArrowInvalid:
        pass
    missing = _missing(cells)
    return _converted(cells, missing, _numbers, np.float64), missing


def _converted(
    cells: Strings,
    mask: NDArray[np.bool_] | None,
    convert: Callable[[Any, NDArray[np.bool_]], NDArray[Any]],
    kind: type,
) -> NDArray[Any]:
    """A column converted part by part, so that few of its strings are Python objects at a time."""
    result: NDArray[Any] = np.empty(len(cells), dtype=kind)
    mask = np.zeros(len(cells), dtype=bool) if mask is None else mask
    start = 0
    for part in cells.arrays(_ROWS):
        stop = start + len(part)
        result[start:stop] = convert(part, mask[start:stop])
        start = stop
    return result


def _missing(cells: Strings) -> NDArray[np.bool_]:
    import pyarrow as pa
    from pyarrow import compute

    def convert(part: Any, _: NDArray[np.bool_]) -> NDArray[np.bool_]:
        found = compute.is_in(compute.utf8_lower(compute.utf8_trim_whitespace(part)), pa.array(sorted(MISSING)))
        return np.asarray(found.to_numpy(zero_copy_only=False), dtype=bool)

    return _converted(cells, None, convert, np.bool_)


def _numbers(chunk: Any, missing: NDArray[np.bool_]) -> NDArray[np.float64]:
    import pyarrow as pa
    from pyarrow import compute

    try:
        values = compute.if_else(pa.array(missing), None, chunk).cast(pa.float64()).to_numpy(zero_copy_only=False)
    except pa.ArrowInvalid:
        values = np.array([np.nan if (v := number(text)) is None else v for text in chunk.to_pylist()])
    return np.where(np.isinf(values), np.nan, values)


def _unit(numbers: NDArray[Any], left_out: NDArray[np.bool_]) -> TimeUnit:
    least, most = (f(numbers, initial=0, where=~left_out) for f in (np.min, np.max))
    largest = max(-float(least), float(most))
    return next((unit for limit, unit, _ in _UNITS if largest < limit), "number")


def _exact(cells: Strings, numbers: NDArray[np.float64], left_out: NDArray[np.bool_]) -> NDArray[Any]:
    """Whole numbers as int64, as a float64 rounds nanoseconds; the floats themselves where some are fractions."""
    import pyarrow as pa
    from pyarrow import compute

    def convert(chunk: Any, out: NDArray[np.bool_]) -> NDArray[np.int64]:
        try:
            whole = compute.if_else(pa.array(out), "0", chunk).cast(pa.int64())
            return np.asarray(whole.to_numpy(zero_copy_only=False))
        except pa.ArrowInvalid:
            return np.array([0 if o else int(v) for v, o in zip(chunk.to_pylist(), out, strict=True)], np.int64)

    try:
        return _converted(cells, left_out, convert, np.int64)
    except (ValueError, OverflowError):
        return numbers


def number(text: str) -> float | None:
    """A finite number, None when ``text`` is none.

    >>> number("1e3"), number("inf"), number("1_000")
    (1000.0, None, None)
    """
    try:
        value = float(text)
    except ValueError:
        return None
    return value if np.isfinite(value) and "_" not in text else None


def _dates(chunk: Any, missing: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Microseconds since 1970; NaN where there is no date. They are whole, and exact for the years 1700 to 2250."""
    import pyarrow as pa
    from pyarrow import compute

    for kind in (pa.timestamp("us"), pa.timestamp("us", "UTC")):
        try:
            micros = compute.if_else(pa.array(missing), None, chunk).cast(kind).cast(pa.int64())
        except pa.ArrowInvalid:
            continue
        return np.asarray(micros.to_numpy(zero_copy_only=False), dtype=np.float64)
    known: dict[str, float] = {text: _date(text) for text in chunk.unique().to_pylist()}
    return np.array([known[text] for text in chunk.to_pylist()], dtype=np.float64)


def _date(text: str) -> float:
    """One ISO 8601 date as microseconds since 1970, NaN when it is none.

    >>> _date("1970-01-01T01:00:00.5+01:00")
    500000.0
    """
    text = text.strip()
    if not re.match(r"\d{4}-\d\d-\d\d", text):
        return np.nan
    plain = _FRACTION.sub(lambda match: "." + match[1][:6].ljust(6, "0"), text)
    plain = re.sub(r"\s*(?:Z|UTC|z)$", "+00:00", plain)  # Python 3.10 reads neither
    plain = re.sub(r"([+-]\d\d)(\d\d)$", r"\1:\2", plain) if ":" in plain else plain
    plain = re.sub(r"(:\d\d(?:\.\d+)?[+-]\d\d)$", r"\1:00", plain)
    try:
        moment = datetime.datetime.fromisoformat(plain)
    except ValueError:
        return np.nan
    moment = moment if moment.tzinfo else moment.replace(tzinfo=datetime.timezone.utc)
    return float((moment - _EPOCH) // datetime.timedelta(microseconds=1))

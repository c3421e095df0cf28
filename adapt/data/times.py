"""Timestamps, a column at a time: numbers (seconds, milliseconds, or any that grow) or ISO 8601 dates."""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

TimeUnit = Literal["seconds", "milliseconds", "microseconds", "nanoseconds", "iso dates", "number"]

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
        seconds: float64 (rows,) unix seconds, or the numbers themselves; NaN where missing or wrong.
        missing: bool (rows,): no value.
        wrong: bool (rows,): a value that is neither a number nor an ISO date.
        unit: what the column was read as.
    """

    order: NDArray[Any]
    seconds: NDArray[np.float64]
    missing: NDArray[np.bool_]
    wrong: NDArray[np.bool_]
    unit: TimeUnit


def parse_times(array: Any) -> Times:
    """Read a column of timestamps; either all values are numbers, or all are dates.

    The first values decide which. The unit of numbers is that of the largest, so that all
    rows are scaled alike. Dates without a zone are UTC.

    Args:
        array: pyarrow ChunkedArray of strings.
    """
    import pyarrow as pa

    try:
        whole = array.cast(pa.int64()).to_numpy()
        none = np.zeros(len(whole), dtype=bool)
        seconds, unit = _scale(whole.astype(np.float64), none)
        return Times(whole, seconds, none, none, unit)
    except pa.ArrowInvalid:
        pass
    missing = _missing(array)
    sample = [array[int(row)].as_py() for row in np.flatnonzero(~missing)[:_SAMPLE]]
    as_numbers = sum(number(text) is not None for text in sample)
    if as_numbers and as_numbers >= sum(not np.isnan(_date(text)) for text in sample):
        numbers, _ = parse_numbers(array)
        wrong = np.isnan(numbers) & ~missing
        seconds, unit = _scale(numbers, missing | wrong)
        return Times(_exact(array, numbers, missing | wrong), seconds, missing, wrong, unit)
    micros = _by_chunk(array, missing, _dates, np.float64)
    wrong = np.isnan(micros) & ~missing
    return Times(micros, micros / 1e6, missing, wrong, "iso dates")


def parse_numbers(array: Any) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Read a column of numbers.

    Args:
        array: pyarrow ChunkedArray of strings.

    Returns:
        float64 (rows,), NaN where there is no finite number, and bool (rows,): no value.
    """
    missing = _missing(array)
    return _by_chunk(array, missing, _numbers, np.float64), missing


def _by_chunk(
    array: Any, mask: NDArray[np.bool_], convert: Callable[[Any, NDArray[np.bool_]], NDArray[Any]], kind: type
) -> NDArray[Any]:
    """The chunks of a column converted one after another, so that few strings are Python objects at a time."""
    result: NDArray[Any] = np.empty(len(array), dtype=kind)
    start = 0
    for chunk in array.chunks:
        stop = start + len(chunk)
        result[start:stop] = convert(chunk, mask[start:stop])
        start = stop
    return result


def _missing(array: Any) -> NDArray[np.bool_]:
    import pyarrow as pa
    from pyarrow import compute

    def convert(chunk: Any, _: NDArray[np.bool_]) -> NDArray[np.bool_]:
        found = compute.is_in(compute.utf8_lower(compute.utf8_trim_whitespace(chunk)), pa.array(sorted(MISSING)))
        return np.asarray(found.to_numpy(zero_copy_only=False), dtype=bool)

    return _by_chunk(array, np.zeros(len(array), dtype=bool), convert, np.bool_)


def _numbers(chunk: Any, missing: NDArray[np.bool_]) -> NDArray[np.float64]:
    import pyarrow as pa
    from pyarrow import compute

    try:
        values = compute.if_else(pa.array(missing), None, chunk).cast(pa.float64()).to_numpy(zero_copy_only=False)
    except pa.ArrowInvalid:
        values = np.array([np.nan if (v := number(text)) is None else v for text in chunk.to_pylist()])
    return np.where(np.isinf(values), np.nan, values)


def _scale(numbers: NDArray[np.float64], left_out: NDArray[np.bool_]) -> tuple[NDArray[np.float64], TimeUnit]:
    used = ~left_out
    least, most = numbers.min(initial=0.0, where=used), numbers.max(initial=0.0, where=used)
    largest = float(max(-least, most))
    for limit, unit, seconds in _UNITS:
        if largest < limit:
            return numbers * seconds if seconds != 1.0 else numbers, unit
    return numbers, "number"


def _exact(array: Any, numbers: NDArray[np.float64], left_out: NDArray[np.bool_]) -> NDArray[Any]:
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
        return _by_chunk(array, left_out, convert, np.int64)
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

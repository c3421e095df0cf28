from __future__ import annotations

import datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapt.data import check_dataset, load_dataset
from adapt.data.times import MISSING, number, parse_numbers, parse_times
from adapt.data.views import strings
from tests.data.conftest import MakeData, problem

NOON = datetime.datetime(2024, 5, 1, 12, tzinfo=datetime.timezone.utc).timestamp()


@pytest.mark.parametrize(
    ("texts", "seconds", "unit"),
    [
        (["1714564800"], [NOON], "seconds"),
        (["1714564800.0", ""], [NOON, None], "seconds"),
        (["1714564800000"], [NOON], "milliseconds"),
        (["1714564800000000"], [NOON], "microseconds"),
        (["1714564800000000000"], [NOON], "nanoseconds"),
        (["1", "20", "3"], [1, 20, 3], "number"),
        (["1", "1714564800000"], [0.001, NOON], "milliseconds"),
        (["2024-05-01T12:00:00Z"], [NOON], "iso dates"),
        (["2024-05-01 12:00:00"], [NOON], "iso dates"),
        (["2024-05-01T14:00:00+02:00", "2024-05-01T12:00:00.250Z"], [NOON, NOON + 0.25], "iso dates"),
        (["2024-05-01T14:00:00+0200", "2024-05-01"], [NOON, NOON - 43200], "iso dates"),
        (["2024-05-01 12:00:00.123456789", "2024-05-01 12:00 UTC"], [NOON + 0.123456, NOON], "iso dates"),
        (["1969-12-31"], [-86400], "iso dates"),
    ],
)
def test_numbers_and_iso_dates_become_seconds(texts: list[str], seconds: list[float | None], unit: str) -> None:
    times = parse_times(strings(texts))
    assert times.unit == unit
    assert not times.wrong.any()
    assert [
        None if out else s for s, out in zip(times.seconds().tolist(), times.missing, strict=True)
    ] == pytest.approx(seconds, abs=1e-6)


def test_a_bad_timestamp_is_an_error_and_a_missing_one_is_left_out(make_data: MakeData) -> None:
    rows = "user_id,item_id,timestamp\nu,a,5\nu,a,yesterday\nu,a,\nu,a,inf\nu,a,NaN\n"
    report = check_dataset(make_data({"items.csv": "item_id,title\na,A\n", "interactions.csv": rows}))
    assert [example.line for example in problem(report, "bad-timestamp").examples] == [3, 5]
    assert [example.line for example in problem(report, "missing-timestamp").examples] == [4, 6]
    assert not report.usable
    assert report.interactions == 1


def test_american_dates_are_refused_not_guessed(make_data: MakeData) -> None:
    rows = "user_id,item_id,date\nu,a,05/01/2024\n"
    report = check_dataset(make_data({"items.csv": "item_id,title\na,A\n", "interactions.csv": rows}))
    assert "'05/01/2024'" in problem(report, "bad-timestamp").examples[0].message


def test_histories_are_in_time_order_and_ties_in_file_order(make_data: MakeData) -> None:
    items = "item_id,title\n" + "".join(f"{item},T\n" for item in "abcdef")
    rows = "user_id,item_id,timestamp\nu,f,9\nv,a,1\nu,c,2\nu,b,2\nu,a,10\nu,e,2\n"
    data = load_dataset(make_data({"items.csv": items, "interactions.csv": rows}))
    assert data.interactions is not None
    assert [data.catalog.ids[row] for row in data.interactions.history(0)] == ["c", "b", "e", "f", "a"]
    assert data.interactions.timestamps is not None
    assert data.interactions.timestamps.tolist() == [2, 2, 2, 9, 10, 1]
    assert "2 of 6 interactions" in problem(data.report, "equal-timestamps").examples[0].message


def test_nanoseconds_that_a_float_would_merge_keep_their_order(make_data: MakeData) -> None:
    rows = "user_id,item_id,ts\nu,a,1714564800000000001\nu,b,1714564800000000000\n"
    data = load_dataset(make_data({"items.csv": "item_id,title\na,A\nb,B\n", "interactions.csv": rows}))
    assert data.interactions is not None
    assert data.interactions.items.tolist() == [1, 0]


@pytest.mark.parametrize("header", ["user_id,item_id", "user_id,item_id,timestamp"])
def test_without_timestamps_the_order_of_the_file_is_said_aloud(make_data: MakeData, header: str) -> None:
    tail = "," if "timestamp" in header else ""
    rows = f"{header}\nu,b{tail}\nu,a{tail}\n"
    report = check_dataset(make_data({"items.csv": "item_id,title\na,A\nb,B\n", "interactions.csv": rows}))
    assert report.time_order == "file order"
    assert report.time_span is None
    assert problem(report, "no-timestamp").severity == "note"


@given(st.lists(st.text("0123456789.eE+-_ naif", max_size=6) | st.sampled_from(["", "NA", "1e400", "٣"]), max_size=8))
def test_a_column_of_numbers_is_read_as_each_of_them(cells: list[str]) -> None:
    values, missing = parse_numbers(strings(cells))
    assert missing.tolist() == [cell.strip().lower() in MISSING for cell in cells]
    for cell, value, out in zip(cells, values.tolist(), missing, strict=True):
        expected = None if out else number(cell)
        assert np.isnan(value) if expected is None else value == expected

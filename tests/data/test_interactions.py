from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapt.data import check_dataset, load_dataset
from adapt.data import interactions as interactions_module
from adapt.data.arrow import ArrowFile
from adapt.data.catalog import Catalog
from adapt.data.interactions import InteractionColumns, build_interactions
from adapt.data.problems import ProblemLog
from adapt.errors import DataError
from tests.data.conftest import MakeData, kinds, problem

ITEMS = "item_id,title\n007,A\nb,B\n"


def test_unknown_items_are_counted_reported_and_ignored(make_data: MakeData) -> None:
    rows = "user_id,item_id\nu,b\nv,gone\nu,gone\nu,007\n" + "u,lost\n" * 7
    data = load_dataset(make_data({"items.csv": ITEMS, "interactions.csv": rows}))
    unknown = problem(data.report, "unknown-item")
    assert (unknown.severity, unknown.count) == ("warning", 9)
    assert [example.line for example in unknown.examples] == [3, 4, 6, 7, 8]
    assert data.interactions is not None
    assert data.interactions.user_ids == ("u", "v")
    assert data.interactions.offsets.tolist() == [0, 2, 2]
    assert data.interactions.items.tolist() == [1, 0]
    assert data.report.history_lengths is not None
    assert data.report.history_lengths.min == 2


def test_ids_that_another_program_changed_are_recognised_in_the_hint(make_data: MakeData) -> None:
    for changed in ("7", "7.0", " 007"):
        folder = make_data({"items.csv": ITEMS, "interactions.csv": f"user_id,item_id\nu,{changed}\nu,b\n"})
        hint = problem(check_dataset(folder), "unknown-item").hint
        assert f"'007' where the interactions have {changed!r}" in hint


def test_rows_without_a_user_or_an_item_are_left_out(make_data: MakeData) -> None:
    rows = "user_id,item_id\nu,b\n,b\nv,\n"
    data = load_dataset(make_data({"items.csv": ITEMS, "interactions.csv": rows}))
    assert [(e.line, e.column) for e in problem(data.report, "empty-id").examples] == [(3, "user_id"), (4, "item_id")]
    assert data.interactions is not None
    assert data.interactions.user_ids == ("u", "v")


def test_ratings_that_are_no_numbers_are_reported(make_data: MakeData) -> None:
    rows = "user_id,item_id,rating\nu,b,4.5\nu,b,\nu,b,good\nu,b,inf\n"
    data = load_dataset(make_data({"items.csv": ITEMS, "interactions.csv": rows}))
    assert data.interactions is not None
    assert data.interactions.ratings is not None
    np.testing.assert_array_equal(data.interactions.ratings, np.array([4.5, np.nan, np.nan, np.nan], np.float32))
    assert [example.line for example in problem(data.report, "bad-rating").examples] == [4, 5]


def test_an_interactions_file_without_rows_is_said_aloud(make_data: MakeData) -> None:
    data = load_dataset(make_data({"items.csv": ITEMS, "interactions.csv": "user_id,item_id,timestamp\n"}))
    assert data.interactions is not None
    assert (len(data.interactions), data.interactions.n_users) == (0, 0)
    assert "no-interactions" in kinds(data.report)
    assert data.report.history_lengths is None


def test_the_same_column_cannot_be_user_and_item(make_data: MakeData) -> None:
    from adapt.data import ColumnOptions

    folder = make_data({"items.csv": ITEMS, "interactions.csv": "user_id,item_id\nu,b\n"})
    report = check_dataset(folder, columns=ColumnOptions(user="item_id"))
    assert "different columns" in problem(report, "missing-column").examples[0].message


def test_looking_up_users(make_data: MakeData) -> None:
    interactions = load_dataset(
        make_data({"items.csv": ITEMS, "interactions.csv": "user_id,item_id\n01,b\n2,007\n01,007\n"})
    ).interactions
    assert interactions is not None
    assert interactions.history(interactions.user("01")).tolist() == [1, 0]
    with pytest.raises(DataError, match="'1'") as caught:
        interactions.user("1")
    assert "'01'" in caught.value.hint


@given(
    st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from("xyz?"), st.integers(-3, 3)), max_size=20),
    st.sampled_from([1, 1000, 10**18]),
    st.sampled_from([1, 3, 100]),
)
@settings(max_examples=60, deadline=None)
def test_histories_are_sorted_by_user_and_time_and_place(
    rows: list[tuple[str, str, int]], scale: int, block: int
) -> None:
    """Whatever number of rows is sorted at a time; `?` is no item, and 1e18 leaves no bits for the place."""
    table = pa.table(
        {
            "user_id": [user for user, _, _ in rows] or pa.array([], pa.string()),
            "item_id": [item for _, item, _ in rows] or pa.array([], pa.string()),
            "timestamp": [time * scale for _, _, time in rows] or pa.array([], pa.int64()),
            "rating": [place / 2 for place in range(len(rows))] or pa.array([], pa.float64()),
        }
    )
    log = ProblemLog()
    catalog = Catalog(tuple("xyz"), ("",) * 3, ((),) * 3, tuple("xyz"), {}, ())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(interactions_module, "_BLOCK", block)
        columns = InteractionColumns("user_id", "item_id", "timestamp", "rating")
        found, _ = build_interactions(ArrowFile(table, "x", log), columns, catalog, log)
    expected: dict[str, list[tuple[int, float, str]]] = {user: [] for user, _, _ in rows}
    for place, (user, item, time) in enumerate(rows):
        if item != "?":
            expected[user].append((time, place / 2, item))
    assert found.user_ids == tuple(expected)
    for number, history in enumerate(expected.values()):
        assert [catalog.ids[row] for row in found.history(number)] == [item for _, _, item in sorted(history)]
        part = slice(found.offsets[number], found.offsets[number + 1])
        assert found.ratings is not None
        assert found.ratings[part].tolist() == [place for _, place, _ in sorted(history)]

"""What Milvus answers to a condition is what the condition means."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as effort
from hypothesis import strategies as st

from adapt.index.engine import Identity, Rows, Wanted, connect
from adapt.index.filters import Condition, number_in, satisfying
from adapt.index.milvus_filters import expressible, expression, literal, storable

from .milvus_cases import lite, needs_lite, settings

CELLS = {
    "brand": [
        *(
            "Acme",
            "acme",
            "ACME",
            "B, Inc",
            'say "hi"',
            "it's",
            "back\\slash",
            'both\\"',
            "",
            " ",
            "NULL",
            "true",
            "c0",
        ),
        *(
            "100%",
            "a_b",
            "Straße",
            "STRASSE",
            "été",
            "ete\u0301",
            "日本語",
            "🎒",
            "and",
            ") or row > 0 or (",
            "' or 1==1",
        ),
    ],
    "price": [
        *("1", "2.5", "-3", "$1,299.00", "12 EUR", "free", "", "1e3", "inf", "-inf", "nan", "0", "-0.0", "007", "1e-7"),
        *("9007199254740993", "1e300", "-1e300", "3", "3.0", "0.1", "1_000", "½", "٣"),
    ],
}
COUNT = len(CELLS["brand"])
NAMES = tuple(CELLS)


class Shop:
    def cells(self, column):
        return np.array(CELLS[column], object)

    def numbers(self, column):
        return np.array([number_in(cell) for cell in CELLS[column]])


@pytest.fixture(scope="module")
def collection(tmp_path_factory) -> Iterator[object]:
    file = lite(tmp_path_factory.mktemp("lite"))
    asked = settings(next(file), index="FLAT")
    made = connect(asked).create(f"{asked.collection}_1", Identity("f", 4, "o", "l", 2), NAMES)
    ids = [str(number) for number in range(COUNT)]
    made.put(Rows(0, ids, np.eye(COUNT, 4, dtype=np.float32) + 0.1, CELLS))
    yield made
    next(file, None)


CHARACTERS = st.characters(codec="utf-8", exclude_categories=("Cc",))
VALUES = st.one_of(
    st.sampled_from([*CELLS["brand"], *CELLS["price"]]),
    st.text(CHARACTERS, max_size=12),
    st.text("\"'\\%_ ()=<>aA\t\n", max_size=8),
    st.floats(allow_nan=False).map(str),
)


@st.composite
def conditions(draw) -> Condition:
    operator = draw(st.sampled_from(["=", "!=", "<", "<=", ">", ">=", "~", "in"]))
    column = draw(st.sampled_from(NAMES))
    if operator in ("<", "<=", ">", ">="):
        return Condition(column, operator, (repr(draw(st.floats(allow_nan=False))),))
    if operator == "in":
        return Condition(column, operator, tuple(draw(st.lists(VALUES, min_size=1, max_size=4))))
    return Condition(column, operator, (draw(VALUES),))


@needs_lite
@effort(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(asked=st.lists(conditions(), min_size=1, max_size=3))
def test_a_pushed_down_condition_means_what_it_means_here(collection, asked) -> None:
    pushed = [condition for condition in asked if expressible(condition, NAMES)]
    expected = np.ones(COUNT, bool)
    for condition in pushed:
        expected &= satisfying(condition, Shop())
    wanted = Wanted(tuple(pushed))
    assert collection.count(wanted) == expected.sum(), expression(wanted, NAMES)
    found = collection.search(np.ones((1, 4), np.float32), COUNT, wanted, 0)
    assert sorted(found.rows[0][found.rows[0] >= 0]) == np.flatnonzero(expected).tolist()


@needs_lite
@pytest.mark.parametrize("column", NAMES)
@pytest.mark.parametrize("operator", ["=", "!=", "~"])
def test_every_cell_can_be_asked_for(collection, column, operator) -> None:
    for cell in CELLS[column]:
        condition = Condition(column, operator, (cell,))
        if expressible(condition, NAMES):
            assert collection.count(Wanted((condition,))) == satisfying(condition, Shop()).sum(), cell


@needs_lite
def test_rows_are_named_and_cut_off(collection) -> None:
    assert collection.count(Wanted(only=np.array([1, 3, 20]))) == 3
    assert collection.count(Wanted(only=np.array([1, 3, 20]), below=20)) == 2
    assert collection.count(Wanted((Condition("brand", "in", ("Acme", "acme")),), np.array([1, 3]), 5)) == 1


def test_what_is_not_pushed_down() -> None:
    assert not expressible(Condition("colour", "=", ("red",)), NAMES)
    for value in ("100%", "a_b", "back\\slash", ""):
        assert not expressible(Condition("brand", "~", (value,)), NAMES)
    for value in ("x" * 600, "half \ud800", "bell\x07", "two\nlines"):
        assert not expressible(Condition("brand", "=", (value,)), NAMES)
    assert not expressible(Condition("brand", "in", ()), NAMES)
    assert expressible(Condition("brand", "=", ("100%\\\"'",)), NAMES)


def test_a_literal_ends_where_it_should() -> None:
    assert literal('") or row >= 0 or c0 == ("') == '"\\") or row >= 0 or c0 == (\\""'


def test_a_column_with_a_long_or_broken_cell_is_not_stored() -> None:
    server = connect(settings("x.db"))
    cells = {"brand": ["a", "b"], "text": ["a", "x" * 600], "note": ["a", "two\nlines"]}
    assert server.columns_of(cells) == ("brand",)
    assert server.columns_left(("brand", "price"), {"brand": ["y" * 600]}) == ("", "price")
    assert server.columns_of({f"c{number}": ["a"] for number in range(50)}) == tuple(f"c{n}" for n in range(20))
    assert storable("Straße" * 10)

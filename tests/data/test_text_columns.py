"""Texts made a column at a time are those made a cell at a time."""

from __future__ import annotations

import sys

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapt.data import text, text_columns
from adapt.data.text_columns import cleaned, is_text, joined, texts_and_titles
from adapt.data.views import strings

CELL = st.text(
    st.sampled_from("ab &;|<>/!-\t\n\u00a0\u2003.?:é") | st.characters(exclude_categories=["Cs"]), max_size=9
)
HARD = st.sampled_from(["&amp;", "<br>", "a<b", "a|b", " x", "x ", "a  b", "&nbsp;", "<!-- x -->", "A.", "B:", "", "|"])


@given(st.lists(CELL | HARD, max_size=12), st.booleans())
@settings(deadline=None)
def test_cells_are_cleaned(cells: list[str], listed: bool) -> None:
    found = cleaned(pa.array(cells, pa.string()), listed=listed).to_pylist()
    assert found == [text.clean(cell, listed=listed) for cell in cells]


def test_all_white_space_is_known() -> None:
    spaces = [chr(code) for code in range(sys.maxunicode + 1) if chr(code).isspace()]
    cells = [f"a{space}b" for space in spaces]
    assert cleaned(pa.array(cells)).to_pylist() == ["a b"] * len(spaces)


@given(st.lists(st.tuples(CELL | HARD, CELL | HARD, CELL | HARD), max_size=8), st.sampled_from([1, 3, 100]))
@settings(deadline=None)
def test_texts_are_joined(rows: list[tuple[str, str, str]], size: int) -> None:
    names = ("t", "c", "d")
    columns = {name: strings([row[place] for row in rows]) for place, name in enumerate(names)}
    ids = strings([f"id {row}" for row in range(len(rows))])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text_columns, "_ROWS", size)
        texts, titles = texts_and_titles(ids, columns, ("c", "t"), listed="c", title="d")
    clean = [[text.clean(row[1], listed=True), text.clean(row[0]), text.clean(row[2])] for row in rows]
    assert texts == tuple(text.join(parts[:2]) for parts in clean)
    assert titles == tuple(d or c or t or f"id {row}" for row, (c, t, d) in enumerate(clean))
    assert joined([], 2).to_pylist() == ["", ""]


@given(st.lists(CELL | HARD | st.sampled_from(["12", "$3", " ", "\u2003"]), max_size=30))
@settings(deadline=None)
def test_a_column_reads_as_text_as_its_values_do(cells: list[str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text, "SAMPLE", 4)
        assert is_text("x", strings(cells)) is text.is_text("x", cells)

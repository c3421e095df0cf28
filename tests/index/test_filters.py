"""Conditions as people write them, and what satisfies them."""

from __future__ import annotations

import numpy as np
import pytest

from adapt.errors import UsageError
from adapt.index.filters import Condition, check_columns, number_in, parse_condition, satisfying

CELLS = {
    "category": ["Tents", "Tents > Family", "", "Lamps", "tents"],
    "price": ["149.00", "$1,289.00", "", "12 EUR", "free"],
    "size (cm)": ["1", "2", "3", "4", "5"],
}


class Shop:
    def cells(self, column):
        return np.array(CELLS[column], object)

    def numbers(self, column):
        return np.array([number_in(cell) for cell in CELLS[column]])


@pytest.mark.parametrize(
    ("written", "rows"),
    [
        ("category=Tents", [0]),
        ("category = Tents > Family", [1]),
        ("category!=Tents", [1, 2, 3, 4]),
        ("category~TENTS", [0, 1, 4]),
        ("category=", [2]),
        ("category in Tents,Lamps", [0, 3]),
        ('category in "Tents > Family", Lamps', [1, 3]),
        ("price<=149", [0, 3]),
        ("price<149", [3]),
        ("price>12", [0, 1]),
        ("price>=12", [0, 1, 3]),
        ("price>1e3", [1]),
        ("size (cm)>=4", [3, 4]),
    ],
)
def test_conditions(written, rows):
    assert np.flatnonzero(satisfying(parse_condition(written), Shop())).tolist() == rows


@pytest.mark.parametrize("written", ["", "category", "=Tents", "price<cheap", "price>=nan", 'category in "open'])
def test_what_is_no_condition_is_refused_with_the_form(written):
    with pytest.raises(UsageError) as caught:
        parse_condition(written)
    assert "--where" in caught.value.hint


def test_an_unknown_column_names_those_that_there_are():
    with pytest.raises(UsageError, match="colour") as caught:
        check_columns([Condition("colour", "=", ("red",))], tuple(CELLS))
    assert "category, price" in caught.value.hint

"""Which items an answer may hold: conditions on columns, lists of ids."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, get_args

import numpy as np
import numpy.typing as npt

from adapt.errors import UsageError

Operator = Literal["=", "!=", "<", "<=", ">", ">=", "~", "in"]
# Searched for and not matched as a part of the whole, so that a long row of spaces takes no long time.
_OPERATOR = re.compile(r"!=|<=|>=|=|<|>|~|\sin\s")
_FORM = 'Write it as --where "category=Tents", "price<=50", "brand!=Acme", "title~wool" (contains), or "brand in A,B".'


@dataclass(frozen=True)
class Condition:
    """What a cell must be for an item to be allowed.

    ``=``, ``!=`` and ``in`` compare text exactly, ``~`` asks whether the cell contains the text in any case, the others
    compare numbers; a cell that is no number satisfies none of those, an empty cell only ``!=`` and ``=`` with nothing.

    Attributes:
        column: of the catalog.
        operator: how to compare.
        values: one, or several for ``in``.
    """

    column: str
    operator: Operator
    values: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.operator not in get_args(Operator) or not self.column:
            raise UsageError(f"expected a column and one of {', '.join(get_args(Operator))}, found {self}", _FORM)
        if self.operator != "in" and len(self.values) != 1:
            raise UsageError(f"expected one value beside {self.operator}, found {len(self.values)}", _FORM)
        if self.operator in ("<", "<=", ">", ">="):
            self.number()

    def number(self) -> float:
        """The number to compare with.

        Raises:
            UsageError: the value is none.
        """
        try:
            value = float(self.values[0])
        except ValueError:
            value = float("nan")
        if np.isnan(value):
            raise UsageError(f"expected a number after {self.column} {self.operator}, found {self.values[0]!r}", _FORM)
        return value


@dataclass(frozen=True, eq=False)
class Selection:
    """Which rows of a snapshot an answer may hold.

    Attributes:
        where: conditions that all must hold.
        allow: int64 rows that alone may be found; None = any.
        deny: int64 rows that may not be found.
    """

    where: tuple[Condition, ...] = ()
    allow: npt.NDArray[np.int64] | None = None
    deny: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))

    def hidden(self, queries: int, exclude: Sequence[npt.ArrayLike] | None) -> Sequence[npt.NDArray[np.int64]]:
        """The rows that each query must not find: those that are denied, and its own."""
        if exclude is None:
            return [self.deny] * queries
        return [np.concatenate([np.asarray(rows, np.int64), self.deny]) for rows in exclude]


class Columns(Protocol):
    """Where the cells are."""

    def cells(self, column: str) -> npt.NDArray[np.object_]:
        """A column as text, (rows,)."""
        ...

    def numbers(self, column: str) -> npt.NDArray[np.float64]:
        """A column as numbers, (rows,), NaN = none."""
        ...


def parse_condition(written: str) -> Condition:
    """A condition as people write it.

    >>> parse_condition("price<=50")
    Condition(column='price', operator='<=', values=('50',))
    >>> parse_condition('brand in Acme, "B, Inc"').values
    ('Acme', 'B, Inc')

    Raises:
        UsageError: it is not one.
    """
    match = _OPERATOR.search(written)
    column = written[: match.start()].strip() if match is not None else ""
    if match is None or not column:
        raise UsageError(f"expected a condition on a column, found {written!r}", _FORM)
    operator, value = match[0].strip(), written[match.end() :].strip()
    if operator != "in":
        return Condition(column, operator, (value,))  # type: ignore[arg-type]
    try:
        values = [cell.strip() for row in csv.reader([value], skipinitialspace=True, strict=True) for cell in row]
    except csv.Error as error:
        raise UsageError(f"{written!r} cannot be read: {error}", _FORM) from error
    return Condition(column, "in", tuple(values))


def check_columns(conditions: Sequence[Condition], names: Sequence[str]) -> None:
    """Make sure that conditions are on columns that there are.

    Raises:
        UsageError: there is no such column.
    """
    for condition in conditions:
        if condition.column not in names:
            there = ", ".join(names) or "none"
            raise UsageError(f"expected a column of the index, found {condition.column!r}", f"There are: {there}.")


def satisfying(condition: Condition, columns: Columns) -> npt.NDArray[np.bool_]:
    """Which rows satisfy a condition: bool (rows,)."""
    if condition.operator in ("<", "<=", ">", ">="):
        numbers, wanted = columns.numbers(condition.column), condition.number()
        compare = {"<": np.less, "<=": np.less_equal, ">": np.greater, ">=": np.greater_equal}[condition.operator]
        return np.asarray(compare(numbers, wanted), bool)
    cells = columns.cells(condition.column)
    if condition.operator == "~":
        wanted_text = condition.values[0].casefold()
        return np.array([wanted_text in cell.casefold() for cell in cells], bool)
    values = set(condition.values)
    found = np.array([cell in values for cell in cells], bool)
    return ~found if condition.operator == "!=" else found


def number_in(cell: str) -> float:
    """The number in a cell, thousands separated by commas and a currency sign or code around it; NaN = none.

    >>> number_in("$1,299.00"), number_in("12 EUR"), number_in("?")
    (1299.0, 12.0, nan)
    """
    try:
        return float(cell.strip().strip("$€£¥ ABCDEFGHIJKLMNOPQRSTUVWXYZ").replace(",", ""))
    except ValueError:
        return float("nan")

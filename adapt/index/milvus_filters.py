"""Conditions on columns as expressions of Milvus, for fields that hold cells in three forms.

Column number 3 is ``c3`` (the cell), ``f3`` (the cell in one case, for ``~``) and ``n3`` (its number, null where it is
none). Whether something can be said in this way is decided here too; what cannot is evaluated where the folder is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from adapt.index.engine import Wanted
from adapt.index.filters import Condition

ROW, ITEM, VECTOR = "row", "item_id", "embedding"
LONGEST_CELL = 512
"""Bytes of a cell, or of a value that cells are compared with; columns with longer ones are no short attributes."""
LARGEST_NUMBER = float(np.finfo(np.float64).max)
_WILDCARDS = frozenset("%_\\")
_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def fields(column: int) -> tuple[str, str, str]:
    """The fields of a column: cell, cell in one case, number.

    >>> fields(3)
    ('c3', 'f3', 'n3')
    """
    return f"c{column}", f"f{column}", f"n{column}"


def storable(cell: str) -> bool:
    """Whether a cell is a short line of text, in both cases; only such cells are stored and asked for."""
    short = all(len(form.encode("utf-8", "replace")) <= LONGEST_CELL for form in (cell, cell.casefold()))
    return short and not any(ord(character) < 32 or character == "\x7f" for character in cell)


def number(value: float) -> float | None:
    """A number as a field holds it: null for none, the largest there is for infinity."""
    return None if math.isnan(value) else max(-LARGEST_NUMBER, min(LARGEST_NUMBER, value))


def expressible(condition: Condition, columns: Sequence[str]) -> bool:
    """Whether a condition can be said as an expression over fields for these columns."""
    if condition.column not in columns or not condition.values:
        return False
    if condition.operator == "~":
        wanted = condition.values[0].casefold()
        return bool(wanted) and not _WILDCARDS & set(wanted) and _sayable(wanted)
    return all(map(_sayable, condition.values))


def expression(wanted: Wanted, columns: Sequence[str]) -> str:
    """What a search may find, as an expression; empty = everything.

    >>> expression(Wanted(where=(Condition("brand", "in", ("A", 'B"')),), below=9), ("price", "brand"))
    '(c1 in ["A", "B\\\\""]) and row < 9'
    """
    parts = [f"({_said(condition, columns.index(condition.column))})" for condition in wanted.where]
    if wanted.only is not None:
        parts.append(f"{ROW} in [{', '.join(map(str, wanted.only.tolist()))}]")
    if wanted.below is not None:
        parts.append(f"{ROW} < {wanted.below}")
    return " and ".join(parts)


def literal(text: str) -> str:
    r"""A string between quotes.

    >>> print(literal('say "hi"\\'))
    "say \"hi\"\\"
    """
    return '"' + "".join(_ESCAPES.get(character, character) for character in text) + '"'


def _said(condition: Condition, column: int) -> str:
    cell, folded, numeric = fields(column)
    if condition.operator in ("<", "<=", ">", ">="):
        return _compared(numeric, condition.operator, condition.number())
    if condition.operator == "~":
        return f"{folded} like {literal(f'%{condition.values[0].casefold()}%')}"
    if condition.operator == "in":
        return f"{cell} in [{', '.join(map(literal, condition.values))}]"
    return f"{cell} {'==' if condition.operator == '=' else '!='} {literal(condition.values[0])}"


def _compared(field: str, operator: str, value: float) -> str:
    """A comparison of numbers; infinity is stored as the largest number, so a finite value never reaches it."""
    return f"{field} {operator} {number(value)!r}"


def _sayable(value: str) -> bool:
    """Whether a value can stand in a literal."""
    try:
        value.encode()
    except UnicodeEncodeError:  # half a character
        return False
    return storable(value)

"""The texts of a catalog, a batch of items at a time: what :mod:`adapt.data.text` says of one cell, on Arrow arrays.

Most cells are clean as they stand. Those that are not go through :func:`adapt.data.text.clean`, each distinct one once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import reduce
from typing import Any

import numpy as np

from adapt.data import text
from adapt.data.spool import store
from adapt.data.tables import BATCH_BYTES, text_batch, text_schema
from adapt.data.views import Strings, columns_of

_ROWS = 1 << 14  # items at a time; fewer where their texts are long
_SCHEMA = ("text", "title")
# What `clean` may change: an entity, a tag, white space that is no single space, a space at an end. These are all
# characters for which str.isspace() holds; RE2 knows only some of them as \\s.
_SPACES = r"\t-\r\x1c-\x1f\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000}"
_UNCLEAN = rf"[&<{_SPACES}]|  |^ | $"


def is_text(name: str, values: Strings) -> bool:
    """Whether a column reads as text; see :func:`adapt.data.text.is_text`."""
    from pyarrow import compute

    spaces = [compute.utf8_is_space(array).to_numpy(zero_copy_only=False) for array in values.arrays(_ROWS)]
    rows = np.flatnonzero(values.filled() & ~np.concatenate(spaces)) if spaces else np.zeros(0, dtype=np.int64)
    return text.is_text(name, values.at(rows[:: max(1, len(rows) // text.SAMPLE)]))


def texts_and_titles(
    ids: Strings, columns: Mapping[str, Strings], template: Sequence[str], *, listed: str | None, title: str | None
) -> tuple[Strings, Strings]:
    """The text and the title of each item.

    Args:
        ids: of the items.
        columns: name -> a cell for each item.
        template: the columns that make up a text, in order.
        listed: the column whose ``|`` separates values.
        title: the column of titles; None: there is none.

    Returns:
        Texts, "" = none, and titles: the title, else the first text in the order of the template, else the id.
    """
    used = dict.fromkeys([*([] if title is None else [title]), *template])
    size = sum(columns[name].nbytes for name in used)
    rows = min(_ROWS, max(1, int(BATCH_BYTES * len(ids) / max(size, 1))))

    def batches() -> Iterator[Any]:
        for start in range(0, len(ids), rows):
            stop = min(start + rows, len(ids))
            cells = {name: cleaned(columns[name].span(start, stop), listed=name == listed) for name in used}
            texts = joined([cells[name] for name in template], stop - start)
            yield text_batch(_SCHEMA, [texts, _first([*cells.values(), ids.span(start, stop)])])

    stored = store(text_schema(_SCHEMA), batches())
    found = columns_of(stored)
    return found["text"], found["title"]


def cleaned(cells: Any, *, listed: bool = False) -> Any:
    """Each cell of a pyarrow Array as :func:`adapt.data.text.clean` leaves it."""
    import pyarrow as pa
    from pyarrow import compute

    unclean = compute.match_substring_regex(cells, rf"{_UNCLEAN}|\|" if listed else _UNCLEAN)
    rows = np.flatnonzero(unclean.to_numpy(zero_copy_only=False))
    if not len(rows):
        return cells
    distinct = cells.take(pa.array(rows)).dictionary_encode()
    values = [text.clean(value, listed=listed) for value in distinct.dictionary.to_pylist()]
    where = np.arange(len(cells))
    where[rows] = len(cells) + distinct.indices.to_numpy(zero_copy_only=False)
    return pa.concat_arrays([cells, pa.array(values, pa.string())]).take(pa.array(where))


def joined(parts: Sequence[Any], count: int) -> Any:
    """The texts of ``count`` items from the pyarrow Arrays of their parts; see :func:`adapt.data.text.join`."""
    import pyarrow as pa
    from pyarrow import compute

    if not parts:
        return pa.array([""] * count, pa.string())
    texts = parts[0]
    for part in parts[1:]:
        ended = reduce(compute.or_, (compute.ends_with(texts, end) for end in text.SENTENCE_END))
        alone = compute.or_(compute.equal(texts, ""), compute.equal(part, ""))
        between = compute.if_else(alone, "", compute.if_else(ended, " ", ". "))
        texts = compute.binary_join_element_wise(texts, part, between)
    return texts


def _first(choices: Sequence[Any]) -> Any:
    """For each row the first of the values that is not empty."""
    from pyarrow import compute

    return reduce(lambda found, other: compute.if_else(compute.equal(found, ""), other, found), choices)

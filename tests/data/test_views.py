"""Columns behave as tuples of their values, in memory and on disk."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapt.data import ids as encoding
from adapt.data import lookup
from adapt.data.ids import IdEncoder
from adapt.data.lookup import IdLookup
from adapt.data.spool import store
from adapt.data.views import Strings, columns_of, filled, image_files, no_image_files, strings, taken

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
PARTS = st.lists(st.lists(TEXT, max_size=4), max_size=4)


def column(parts: list[list[str]], memory: int | None) -> Strings:
    schema = pa.schema([("x", pa.string())])
    batches = (pa.record_batch([pa.array(part, pa.string())], schema=schema) for part in parts)
    return columns_of(store(schema, batches, memory))["x"]


@given(PARTS, st.sampled_from([None, 0]), st.slices(12), st.data())
@settings(deadline=None)
def test_a_column_is_a_tuple_of_its_values(parts: list[list[str]], memory: int | None, part: slice, data) -> None:
    found, expected = column(parts, memory), tuple(text for texts in parts for text in texts)
    assert found == expected
    assert expected == found
    assert len(found) == len(expected)
    assert tuple(found) == expected
    assert tuple(reversed(found)) == expected[::-1]
    assert found[part] == expected[part]
    assert found != (*expected, "more")
    assert found != (*expected[:-1], "no")
    assert found == strings(expected)
    assert found != list(expected)  # as a tuple is not
    assert pickle.loads(pickle.dumps(found)) == expected
    assert filled(found).tolist() == [bool(text) for text in expected]
    for row in range(-len(expected), len(expected)):
        assert found[row] == found[np.int64(row)] == expected[row]
        assert expected[row] in found
        assert found.index(expected[row]) == expected.index(expected[row])
    assert "no such text" not in found
    assert None not in found
    rows = np.array(data.draw(st.lists(st.integers(0, len(expected) - 1), max_size=9)) if expected else [], np.int64)
    assert found.take(rows).to_pylist() == found.at(rows) == [expected[row] for row in rows]
    assert taken({"x": found}, rows)["x"] == tuple(expected[row] for row in rows)


@pytest.mark.parametrize("row", [3, -4])
def test_a_row_that_is_not_there(row: int) -> None:
    with pytest.raises(IndexError, match=f"below 3, found {row}"):
        strings(("a", "b", "c"))[row]


def test_images_are_paths_of_any_bytes() -> None:
    rows = ((), (Path("/a/b.png"), Path("/a/\udcff.png")), (Path("/c"),))
    found = image_files(rows)
    assert found == rows
    assert filled(found).tolist() == [False, True, True]
    assert found.total() == 3
    assert no_image_files(2) == ((), ())
    assert len(no_image_files(0)) == 0


def test_half_a_surrogate_pair_is_no_text() -> None:
    assert strings(("a\ud800", "b")) == ("a?", "b")


@given(st.lists(TEXT, unique=True, max_size=30), st.lists(TEXT, max_size=10), st.booleans())
@settings(deadline=None)
def test_a_lookup_is_a_dict(known: list[str], others: list[str], collide: bool) -> None:
    """Whatever the hashes are: with factors of 0 all are equal."""
    with pytest.MonkeyPatch.context() as patch:
        if collide:
            patch.setattr(lookup, "_FACTORS", np.zeros_like(lookup._FACTORS))
            patch.setattr(lookup, "_PLAIN", [0] * len(lookup._PLAIN))
        found, expected = IdLookup(known), {text: row for row, text in enumerate(known)}
        asked = [*others, *known[::-1]]
        assert dict(found) == expected
        assert found.rows(asked).tolist() == [expected.get(text, -1) for text in asked]
        assert [found.get(text) for text in asked] == [expected.get(text) for text in asked]
        assert [text in found for text in asked] == [text in expected for text in asked]
        assert 7 not in found


@given(PARTS, st.sampled_from([1, 3, 100]), st.lists(TEXT, max_size=4, unique=True))
@settings(deadline=None)
def test_ids_are_numbered_in_order_of_first_appearance(parts: list[list[str]], pending: int, known: list[str]) -> None:
    """After those that were known before."""
    encoder = IdEncoder(known)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encoding, "_PENDING", pending)
        for part in parts:
            encoder.add(pa.array(part, pa.string()))
        found = encoder.finish()
    values = [text for part in parts for text in part]
    assert [found.at(row) for row in range(len(found))] == values
    assert found.values == tuple(dict.fromkeys([*known, *values]))
    assert found.empty == (found.values.index("") if "" in found.values else -1)

"""Records of a run give back what was written, to the bit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapt.errors import CheckpointError
from adapt.train.records import pack, read_record, unpack, write_record

numbers = st.floats(allow_nan=False)
keys = st.one_of(st.text(max_size=5), st.integers(), numbers, st.tuples(st.integers(), numbers))
values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), numbers, st.text(max_size=5)),
    lambda part: st.one_of(
        st.lists(part, max_size=3), st.dictionaries(keys, part, max_size=3), st.lists(part, max_size=3).map(tuple)
    ),
    max_leaves=8,
)


@given(values)
def test_nested_values_come_back(value: object) -> None:
    assert unpack(pack(value)) == value


def test_arrays_and_the_order_of_keys_come_back_from_disk(tmp_path: Path) -> None:
    measured = {(2, 0.5): {"text": np.random.default_rng(0).random(50)}, (1, 1.0): {"image": np.zeros(0)}}
    write_record(tmp_path / "fold.json", measured)
    found = read_record(tmp_path / "fold.json")
    assert list(found) == list(measured)
    assert np.array_equal(found[2, 0.5]["text"], measured[2, 0.5]["text"])
    assert found[1, 1.0]["image"].shape == (0,)


@pytest.mark.parametrize("content", ["", "{", '{"map": 3}', '{"colour": []}', '{"a": 1, "b": 2}'])
def test_what_is_no_record_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "fold.json").write_text(content)
    with pytest.raises(CheckpointError, match=r"fold\.json"):
        read_record(tmp_path / "fold.json")

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapt.data import load_dataset
from adapt.data.catalog import Interactions
from adapt.data.clean import dedupe_consecutive, k_core
from adapt.data.split import drop_last, leave_one_out
from adapt.errors import DataError
from tests.data.conftest import MakeData

HISTORIES = st.lists(st.lists(st.integers(0, 5), max_size=6), max_size=6)


def interactions(histories: list[list[int]]) -> Interactions:
    offsets = np.cumsum([0, *map(len, histories)]).astype(np.int64)
    items = np.array([item for history in histories for item in history], dtype=np.int32)
    times = np.arange(len(items), dtype=np.float64)
    return Interactions(tuple(f"u{user}" for user in range(len(histories))), offsets, items, times)


def lists(given_: Interactions) -> list[list[int]]:
    return [given_.history(user).tolist() for user in range(given_.n_users)]


@given(HISTORIES)
def test_leave_one_out_is_the_history_in_three_parts(histories: list[list[int]]) -> None:
    split = leave_one_out(interactions(histories))
    for history, train, valid, test in zip(
        histories, lists(split.train), split.valid_items.tolist(), split.test_items.tolist(), strict=True
    ):
        assert train + [item for item in (valid, test) if item >= 0] == history
        assert (test >= 0) == (len(history) >= 2)
        assert (valid >= 0) == (len(history) >= 3)


@given(HISTORIES, st.integers(0, 4))
def test_drop_last_drops_at_most_n(histories: list[list[int]], n: int) -> None:
    dropped = drop_last(interactions(histories), n)
    assert lists(dropped) == [history[: max(len(history) - n, 0)] for history in histories]
    assert dropped.timestamps is not None
    assert len(dropped.timestamps) == len(dropped)


@given(HISTORIES)
def test_dedupe_leaves_no_repeats_side_by_side(histories: list[list[int]]) -> None:
    for before, after in zip(histories, lists(dedupe_consecutive(interactions(histories))), strict=True):
        assert after == [item for place, item in enumerate(before) if place == 0 or before[place - 1] != item]


def test_k_core_keeps_users_and_items_with_enough_interactions(make_data: MakeData) -> None:
    items = "item_id,title\n" + "".join(f"{item},T{item}\n" for item in "abcd")
    pairs = ["u a", "u b", "v a", "v b", "w a", "w d", "x c"]
    rows = "user_id,item_id\n" + "".join(pair.replace(" ", ",") + "\n" for pair in pairs)
    data = load_dataset(make_data({"items.csv": items, "interactions.csv": rows}))
    core = k_core(data, 2)
    assert core.interactions is not None
    assert core.interactions.user_ids == ("u", "v")
    assert core.catalog.ids == ("a", "b")
    assert core.catalog.texts == ("Ta", "Tb")
    assert lists(core.interactions) == [[0, 1], [0, 1]]
    with pytest.raises(DataError, match="5-core"):
        k_core(data, 5)

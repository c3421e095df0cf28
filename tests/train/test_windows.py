"""Windows of histories: in order, within one user, and drawn by events."""

from __future__ import annotations

import numpy as np
import pytest

from adapt.data.batches import SequenceSource
from adapt.seeds import generator
from adapt.train.windows import Windows

HISTORIES = [[0, 1, 2, 3, 4, 5], [6, 7], [8]]
USABLE = np.array([True] * 9 + [False])


def make(histories: list[list[int]], ordered: bool = True) -> Windows:
    offsets = np.cumsum([0, *(len(history) for history in histories)]).astype(np.int64)
    items = np.array([item for history in histories for item in history], dtype=np.int32)
    return Windows(SequenceSource("s", 10, offsets, items, USABLE, ordered))


def test_a_window_is_a_run_of_one_users_history() -> None:
    drawn = make(HISTORIES).draw(generator(0), 200, 4)
    for window in drawn:
        known = window[window >= 0].tolist()
        assert len(known) > 1
        assert any(known == history[end - len(known) : end] for history in HISTORIES for end in range(len(history) + 1))
        assert (window[: 4 - len(known)] == -1).all()
        assert len(known) == 4 or known[0] in (0, 6)  # short only where the history begins


def test_every_event_with_one_before_it_ends_windows_equally_often() -> None:
    windows = make(HISTORIES)
    assert len(windows) == 6
    ends = windows.draw(generator(1), 6000, 3)[:, -1]
    assert set(ends) == {1, 2, 3, 4, 5, 7}
    assert np.bincount(ends)[[1, 2, 3, 4, 5, 7]].min() > 850


def test_items_that_cannot_be_read_are_skipped() -> None:
    windows = make([[0, 9, 1], [9, 2]])
    drawn = windows.draw(generator(2), 50, 3)
    assert {tuple(window) for window in drawn} == {(-1, 0, 1)}
    assert 9 not in windows.usable
    assert windows.frequency[9] == 0


@pytest.mark.parametrize("length", [2, 4, 8])
def test_without_an_order_a_window_holds_other_items_of_the_user(length: int) -> None:
    drawn = make(HISTORIES, ordered=False).draw(generator(3), 100, length)
    seen = set()
    for window in drawn:
        known = window[window >= 0].tolist()
        owner = next(history for history in HISTORIES if known[0] in history)
        assert set(known) <= set(owner)
        assert len(known) == len(set(known)) == min(length, len(owner))
        seen.add(tuple(known))
    assert any(list(known) != sorted(known) for known in seen)

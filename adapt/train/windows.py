"""Windows of histories: a few items in a row, of which each after the first is predicted from those before it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from adapt.data.batches import SequenceSource


class Windows:
    """Draws windows from the histories of one source.

    A window ends at an event drawn from all events that have one before them. Where the order of events means nothing,
    it holds other items of the same user in random order.

    Args:
        histories: of the source.

    Attributes:
        frequency: float64 (items,), each item's share of the events.
        usable: int64, the rows of items that can be drawn as negatives.
    """

    def __init__(self, histories: SequenceSource) -> None:
        keep = histories.usable[histories.items]
        owner = np.repeat(np.arange(len(histories.offsets) - 1), np.diff(histories.offsets))[keep]
        self._items = histories.items[keep].astype(np.int64)
        self._start = np.searchsorted(owner, owner, side="left")
        self._end = np.searchsorted(owner, owner, side="right")
        self._ordered = histories.ordered
        self._last = np.flatnonzero(np.arange(len(owner)) > self._start)
        self.frequency = np.bincount(self._items, minlength=histories.n_items) / max(1, len(self._items))
        self.usable = np.flatnonzero(histories.usable)

    def __len__(self) -> int:
        """Events that a window can end at."""
        return len(self._last)

    def draw(self, random: np.random.Generator, count: int, length: int) -> NDArray[np.int64]:
        """Windows of catalog rows, oldest first: int64 (count, length), padded on the left with -1."""
        events = random.choice(self._last, count)
        if not self._ordered:
            return np.stack([self._shuffled(random, event, length) for event in events])
        places = events[:, None] - np.arange(length - 1, -1, -1)
        known = places >= self._start[events][:, None]
        return np.where(known, self._items[np.maximum(places, 0)], -1)

    def _shuffled(self, random: np.random.Generator, event: int, length: int) -> NDArray[np.int64]:
        history = self._items[self._start[event] : self._end[event]]
        chosen = random.choice(history, min(length, len(history)), replace=False)
        window = np.full(length, -1, dtype=np.int64)
        window[length - len(chosen) :] = chosen
        return window

"""Events of a source, and windows of them: a few items in a row, each after the first predicted from those before."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from adapt.data.batches import SequenceSource


class Events:
    """The events of one source, flat.

    Args:
        histories: of the source.

    Attributes:
        items: int64 (events,), user after user, without items that cannot be read.
        start, end: int64 (events,), where the history of each event's user starts and ends.
        last: int64, the events that have one before them.
        ordered: whether the order of events means anything.
        frequency: float64 (items,), each item's share of the events.
        usable: int64, the rows of items that can be drawn as negatives.
    """

    def __init__(self, histories: SequenceSource) -> None:
        keep = histories.usable[histories.items]
        owner = np.repeat(np.arange(len(histories.offsets) - 1), np.diff(histories.offsets))[keep]
        self.items = histories.items[keep].astype(np.int64)
        self.start = np.searchsorted(owner, owner, side="left")
        self.end = np.searchsorted(owner, owner, side="right")
        self.ordered = histories.ordered
        self.last = np.flatnonzero(np.arange(len(owner)) > self.start)
        self.frequency = np.bincount(self.items, minlength=histories.n_items) / max(1, len(self.items))
        self.usable = np.flatnonzero(histories.usable)

    def __len__(self) -> int:
        """Events that a window can end at."""
        return len(self.last)


class Windows(Events):
    """Draws windows from the histories of one source.

    A window ends at an event drawn from all events that have one before them. Where the order of events means nothing,
    it holds other items of the same user in random order.
    """

    def draw(self, random: np.random.Generator, count: int, length: int) -> NDArray[np.int64]:
        """Windows of catalog rows, oldest first: int64 (count, length), padded on the left with -1."""
        events = random.choice(self.last, count)
        if not self.ordered:
            return np.stack([self._shuffled(random, event, length) for event in events])
        places = events[:, None] - np.arange(length - 1, -1, -1)
        known = places >= self.start[events][:, None]
        return np.where(known, self.items[np.maximum(places, 0)], -1)

    def _shuffled(self, random: np.random.Generator, event: int, length: int) -> NDArray[np.int64]:
        history = self.items[self.start[event] : self.end[event]]
        chosen = random.choice(history, min(length, len(history)), replace=False)
        window = np.full(length, -1, dtype=np.int64)
        window[length - len(chosen) :] = chosen
        return window

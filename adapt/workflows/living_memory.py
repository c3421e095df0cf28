"""A memory of other users that grows event by event over an index that changes."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adapt.data.catalog import Dataset
from adapt.evaluate.histories import HistoryLists, from_lists
from adapt.memory.cooccurrence import Cooccurrence
from adapt.memory.fusion import Channels, Fusion, fuse
from adapt.memory.memory import STATES, Memory, prefixes_of
from adapt.memory.store import EventStore, StoredEvent, users_of
from adapt.memory.tuning import FEWEST_EVENTS, Tuned
from adapt.progress import SILENT, Progress
from adapt.workflows.item_numbers import ItemNumbers, NumberedContent
from adapt.workflows.living_index import LivingIndex
from adapt.workflows.weighing import channels_of, weigh

_IMPORTED, _FUSION = "imported", "fusion"
_LATEST = 50
"""Events of a user that are read before a new one; counts of pairs and user states reach no further back."""
_GROWN = 2
"""Weights are chosen anew, at the next start, when there are this many times more events than they were chosen on."""


class LivingMemory:
    """What other users did, over the items of an index; every method may be called from several threads.

    The events are in the store; what is counted of them here follows it, also when other processes write.

    Args:
        store: of the events.
        index: of the items.
        progress: told what takes long.
    """

    def __init__(self, store: EventStore, index: LivingIndex, progress: Progress = SILENT) -> None:
        self.store = store
        self.index = index
        self._lock = threading.RLock()
        self._numbers = ItemNumbers()
        self._numbers.follow(index.snapshot)
        self._applied = 0
        self._elsewhere = store.changed_elsewhere()
        histories = self._histories()
        self._memory = Memory(Cooccurrence(histories, self._numbers.room()))
        self._content = self._content_now()
        self._weigh(histories, progress)
        self._remember_states(histories)

    @property
    def fusion(self) -> Fusion:
        """The weights in use."""
        return self._fusion

    @contextlib.contextmanager
    def now(self) -> Iterator[tuple[NumberedContent, ItemNumbers]]:
        """Content and numbers that fit each other and the counts, which nobody changes inside the block."""
        with self._lock:
            yield self._content, self._numbers

    def channels(self, histories: Sequence[NDArray[np.integer]]) -> Channels:
        """What speaks for each item after each history, by number; call it inside :meth:`now`."""
        return channels_of(self._content, self._memory, histories, list(self._fusion.weights))

    def scores(self, channels: Channels) -> NDArray[np.float32]:
        """The fused scores float32 (histories, numbers), ``-inf`` where an item cannot be found."""
        return fuse(channels, self._fusion, self._content.usable)

    def evidence(self, items: Sequence[int], channel: str) -> Any:
        """What each of some items alone says in a channel: float32 CSR array (items, numbers)."""
        return self._memory.evidence(from_lists([[item] for item in items]), None, [channel])[channel]

    def follow(self) -> bool:
        """Take in what was stored, and what became of the index, since the last time.

        Returns:
            Whether another process has written to the store.
        """
        with self._lock:
            elsewhere = self.store.changed_elsewhere()
            written = elsewhere != self._elsewhere
            if written:
                self._elsewhere = elsewhere
                self.recorded()
            if self.index.snapshot.generation != self._content.now.generation:
                before = self._content
                self._content = self._content_now(before)
                if self._memory.states is not None and not _same_space(before, self._content):
                    self._remember_states(self._histories())
            return written

    def recorded(self) -> None:
        """Take in what this process has stored."""
        with self._lock:
            self._apply(self.store.after(self._applied))

    def facts(self) -> dict[str, Any]:
        """Sizes and weights, ready for JSON."""
        return {**self.store.counts(), "weights": {"content": self._fusion.content, **self._fusion.weights}}

    def _apply(self, events: Sequence[StoredEvent]) -> None:
        for event in events:
            if event.number <= self._applied:
                continue
            before = self._numbers.of_all(self.store.history(event.user, event, _LATEST))
            item = self._numbers.of(event.item)
            self._make_room()
            state = self._content.states([before])[0] if self._memory.states is not None and len(before) else None
            self._memory.add(before, item, state)
            self._applied = event.number

    def _make_room(self) -> None:
        if len(self._numbers) > len(self._content.rows):
            self._content = self._content_now(self._content)

    def _content_now(self, before: NumberedContent | None = None) -> NumberedContent:
        now = self.index.snapshot
        self._numbers.follow(now)
        if len(self._numbers) > self._memory.cooccurrence.items:
            self._memory.grow(self._numbers.room())
        rows = self._numbers.rows(now, self._memory.cooccurrence.items)
        return NumberedContent(self.index, now, rows, before)

    def _histories(self) -> HistoryLists:
        """Of all events that are stored by now."""
        with self.store.reading():
            self._applied = self.store.last()
            return from_lists([self._numbers.of_all(items) for _, items in users_of(self.store.histories())])

    def _weigh(self, histories: HistoryLists, progress: Progress) -> None:
        """Use the weights that were chosen for this model, or choose them where there are events to choose by."""
        events, model = len(histories.items), self.index.snapshot.description.model.fingerprint
        with self.store.alone():
            known = self.store.fact(_FUSION)
            if known is None or known["model"] != model or events >= _GROWN * known["events"]:
                known = {"model": model, "events": events, **asdict(Fusion())}
                if events >= FEWEST_EVENTS:
                    progress.note("Weighing the evidence of the memory.")
                    tuned: Tuned = weigh(
                        self._content, histories, prefixes_of(histories, self._content.states), progress=progress
                    )
                    known |= asdict(tuned.fusion)
                if events:
                    self.store.set_fact(_FUSION, known)
        self._fusion = Fusion(weights=known["weights"], content=known["content"])

    def _remember_states(self, histories: HistoryLists) -> None:
        self._memory.states = None
        if self._fusion.weights.get(STATES):
            prefixes = prefixes_of(histories, self._content.states)
            self._memory.states = prefixes.memory(self._memory.cooccurrence.items)


def _same_space(before: NumberedContent, after: NumberedContent) -> bool:
    """Whether the states of one are also those of the other."""
    first, second = before.now.model_part, after.now.model_part
    same_maps = first is not None and second is not None and first.sha256 == second.sha256
    return same_maps and np.array_equal(before.used, after.used)


def begin_with(store: EventStore, dataset: Dataset, progress: Progress = SILENT) -> int:
    """Store the interactions of a data set, where none were stored before; returns how many were."""
    known = dataset.interactions
    if known is None or store.fact(_IMPORTED) is not None:
        return 0
    progress.note(f"Storing {len(known):,} interactions of {dataset.name} in the memory.")
    ids = dataset.catalog.ids
    times = [None] * len(known) if known.timestamps is None else known.timestamps.tolist()
    users = known.users().tolist()
    events = zip(
        (known.user_ids[user] for user in users), (ids[row] for row in known.items.tolist()), times, strict=True
    )
    with store.alone(), store.writing():
        if store.fact(_IMPORTED) is not None:
            return 0
        count = store.append(events)
        store.set_fact(_IMPORTED, {"name": dataset.name, "events": count})
    return count

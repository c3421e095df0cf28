"""All that is remembered of other users' interactions, as channels of evidence."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from adapt.evaluate.histories import Histories
from adapt.memory.cooccurrence import Cooccurrence
from adapt.memory.states import StateMemory

COOCCURRENCE, SUCCESSORS, ITEM_KNN, STATES = "cooccurrence", "successors", "item_knn", "states"
EVIDENCE = (COOCCURRENCE, SUCCESSORS, ITEM_KNN, STATES)
"""The sparse channels: items that nothing speaks for are zero in them."""

StatesOf = Callable[[Sequence[npt.NDArray[np.integer]]], npt.NDArray[np.float32]]
"""Histories of catalog rows to user-tower states (n, dim), unit rows; zero for a history that says nothing."""

MOST_STATES = 20_000
"""States that are remembered at most, half as many again while events come: beyond it a search would cost more than
the rest of a recommendation."""

_SMOOTHING = 10.0
_LONGEST = 30


@dataclass(eq=False)
class Memory:
    """Other users' interactions, ready to be asked.

    Attributes:
        cooccurrence: counts of items near each other.
        states: user states and what followed; None where they are not used.
    """

    cooccurrence: Cooccurrence
    states: StateMemory | None = None
    _popularity: tuple[npt.NDArray[np.bool_], npt.NDArray[np.float32]] | None = None

    def evidence(
        self, histories: Histories, states: npt.NDArray[np.float32] | None, channels: Collection[str]
    ) -> dict[str, Any]:
        """What the memory says on the next item of each history, by channel.

        ``cooccurrence`` is the square root of the smoothed cosine of co-occurrence, ``successors`` the same of pairs
        in their order, ``item_knn`` that of the tuned item-kNN with a longer window, ``states`` that of the
        similarity-weighted vote. A root makes one strong witness and several weak ones weigh about the same.

        Args:
            histories: (n).
            states: float32 (n, dim), for the channel of states.
            channels: names out of :data:`EVIDENCE`.

        Returns:
            channel -> float32 CSR array (n, items).
        """
        found: dict[str, Any] = {}
        if COOCCURRENCE in channels or SUCCESSORS in channels:
            smoothed = self.cooccurrence.votes(histories, decay=0.4, power=0.5, smoothing=_SMOOTHING)
            if COOCCURRENCE in channels:
                found[COOCCURRENCE] = smoothed.both
            if SUCCESSORS in channels:
                found[SUCCESSORS] = smoothed.following
        if ITEM_KNN in channels:
            found[ITEM_KNN] = self.cooccurrence.votes(histories, decay=0.2, power=0.25, smoothing=0.0).both
        if STATES in channels and self.states is not None and states is not None:
            found[STATES] = self.states.votes(states)
        for votes in found.values():
            votes.data = np.sqrt(np.maximum(votes.data, 0))
        return found

    def popularity(self, candidates: npt.NDArray[np.bool_]) -> npt.NDArray[np.float32]:
        """``n / (n + 2) z(log(1 + n))`` with ``n`` the events of an item: float32 (items,), zero where there are none.

        An item without events is neither praised nor blamed, so that new items stay where their content puts them.

        Args:
            candidates: bool (items,), over which the z-score is taken; not to be changed afterwards, since the answer
                is kept for the same array.
        """
        known = self._popularity
        if known is None or known[0] is not candidates:
            known = self._popularity = (candidates, _popularity(self.cooccurrence.events, candidates))
        return known[1]

    def grow(self, items: int) -> None:
        """Make room for a catalog of more items, of which nothing is known yet."""
        self.cooccurrence.grow(items)
        self._popularity = None
        if self.states is not None:
            self.states.grow(items)

    def add(self, history: npt.NDArray[np.integer], item: int, state: npt.NDArray[np.float32] | None = None) -> None:
        """Remember that ``item`` followed ``history``; ``state`` (dim,) is the user's before it, if states are used."""
        self.cooccurrence.add(history, item)
        self._popularity = None
        if self.states is not None and state is not None and state.any():
            self.states.add(state, item)


def _popularity(events: npt.NDArray[np.float64], candidates: npt.NDArray[np.bool_]) -> npt.NDArray[np.float32]:
    logs = np.log1p(events)
    spread = float(logs[candidates].std()) if candidates.any() else 0.0
    if spread == 0:
        return np.zeros(len(events), np.float32)
    scaled = events / (events + 2) * (logs - logs[candidates].mean()) / spread
    return np.asarray(scaled, np.float32)


@dataclass(frozen=True, eq=False)
class Prefixes:
    """Events with the state of their user before them.

    Attributes:
        users: int64 (n,), user numbers, ascending.
        places: int64 (n,), place of the event in the history of its user, from 0.
        keys: float32 (n, dim), unit rows.
        values: int64 (n,), catalog rows of the events.
    """

    users: npt.NDArray[np.int64]
    places: npt.NDArray[np.int64]
    keys: npt.NDArray[np.float32]
    values: npt.NDArray[np.int64]

    def memory(self, items: int, without: npt.NDArray[np.bool_] | None = None, seed: int = 0) -> StateMemory | None:
        """The states as a memory, if there are any; ``without`` (bool (users,)) leaves users out."""
        keep = np.ones(len(self.users), bool) if without is None else ~without[self.users]
        if not keep.any():
            return None
        return StateMemory(self.keys[keep], self.values[keep], items, seed=seed, most=MOST_STATES)

    def within(self, known: Histories) -> Prefixes:
        """Those that remain when the histories are cut short to ``known``, of the same users."""
        keep = self.places < np.diff(known.offsets)[self.users]
        return Prefixes(self.users[keep], self.places[keep], self.keys[keep], self.values[keep])


def prefixes_of(histories: Histories, states_of: StatesOf) -> Prefixes:
    """The states of all users before each of their events but the first, the latest 30 of a user.

    Of more than :data:`MOST_STATES` an even sample is kept, every user's latest events before earlier ones.
    """
    offsets, items = histories.offsets, histories.items
    lengths = np.diff(offsets)
    users = np.repeat(np.arange(len(lengths)), lengths)
    place = np.arange(len(items)) - np.repeat(offsets[:-1], lengths)
    age = lengths[users] - 1 - place
    events = np.flatnonzero((place > 0) & (age < _LONGEST))
    if len(events) > MOST_STATES:
        events = np.sort(events[np.argsort(age[events], kind="stable")][:MOST_STATES])
    before = [items[offsets[users[event]] : event] for event in events]
    keys = states_of(before)
    there = np.flatnonzero(keys.any(axis=1)) if before else np.zeros(0, np.int64)
    events = events[there]
    return Prefixes(users[events], place[events], keys[there], np.asarray(items[events], np.int64))

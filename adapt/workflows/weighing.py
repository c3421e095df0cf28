"""How much each kind of evidence should weigh: asked of the events themselves, some of which are held back."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from adapt.data.catalog import Interactions
from adapt.evaluate.histories import HistoryLists, from_lists
from adapt.memory.cooccurrence import Cooccurrence
from adapt.memory.fusion import Channels, Fusion
from adapt.memory.memory import EVIDENCE, Memory, Prefixes
from adapt.memory.tuning import CandidateTable, Tuned, candidate_table, tune
from adapt.progress import SILENT, Progress
from adapt.seeds import generator

FOLDS = 3
MOST_EVENTS = 3_000
_MOST_SCORES = 40_000_000
_BLOCK_SCORES = 3_000_000
_LATEST = 15
_STREAM = 0xFE3

ScoresOf = Callable[[Sequence[NDArray[np.integer]]], NDArray[np.float32]]
"""Histories of item numbers to scores (n, items), ``-inf`` where an item is no candidate."""


class Content(Protocol):
    """What content alone says of the next item; :class:`~adapt.workflows.recommender.ZeroShotRecommender` is one."""

    @property
    def usable(self) -> NDArray[np.bool_]:
        """bool (items,): the candidates."""
        ...

    def states(self, histories: Sequence[NDArray[np.integer]]) -> NDArray[np.float32]:
        """User states (histories, dim), unit rows; zero for a history that says nothing."""
        ...

    def score_states(self, states: NDArray[np.float32]) -> NDArray[np.float32]:
        """The score of every item with each state: float32 (states, items), ``-inf`` where it is no candidate."""
        ...


def weigh(
    content: Content,
    known: HistoryLists | Interactions,
    prefixes: Prefixes,
    seed: int = 0,
    progress: Progress = SILENT,
) -> Tuned:
    """The weights of the channels that rank held-back events best.

    Users are dealt into three parts, and the memory of two parts answers for the third, as it will for users to come.

    Args:
        content: one of the channels.
        known: the events.
        prefixes: their states.
        seed: of the events that are held back.
        progress: told the events weighed.
    """
    return tune(list(_held_back(content, known, prefixes, seed, progress)), EVIDENCE)


def channels_of(
    content: Content,
    memory: Memory,
    histories: Sequence[NDArray[np.integer]],
    wanted: Collection[str],
    further: Mapping[str, ScoresOf] = MappingProxyType({}),
) -> Channels:
    """The channels of some histories: content, popularity, and of the memory and the further those ``wanted``."""
    states = content.states(histories)
    return Channels(
        content.score_states(states),
        memory.evidence(from_lists(histories), states, wanted),
        memory.popularity(content.usable),
        {name: scores_of(histories) for name, scores_of in further.items() if name in wanted},
    )


def candidate_tables(
    content: Content,
    memory: Memory,
    before: Sequence[NDArray[np.integer]],
    targets: NDArray[np.integer],
    further: Mapping[str, ScoresOf] = MappingProxyType({}),
) -> Iterator[CandidateTable]:
    """The channels of events that the memory does not know, in tables of bounded size, for :func:`adapt.memory.tune`.

    Args:
        content: one of the channels.
        memory: without the events.
        before: the histories before the events, as item numbers.
        targets: int (events,), item numbers of what was chosen.
        further: channel -> scores of another recommender.
    """
    usable = content.usable
    block = max(1, _BLOCK_SCORES // len(usable))
    for start in range(0, len(targets), block):
        some = before[start : start + block]
        channels = channels_of(content, memory, some, (*EVIDENCE, *further), further)
        yield candidate_table(channels, targets[start : start + block], some, usable, Fusion())


@dataclass(frozen=True, eq=False)
class _HeldBack:
    """Events of some users: what each user met before, and what then."""

    before: Sequence[NDArray[np.integer]]
    targets: NDArray[np.int64]


def _held_back(
    content: Content, known: HistoryLists | Interactions, prefixes: Prefixes, seed: int, progress: Progress
) -> list[CandidateTable]:
    """The channels of held-back events, in tables of bounded size."""
    usable = content.usable
    items, users = len(usable), len(known.offsets) - 1
    random = generator(seed, _STREAM)
    fold = random.integers(FOLDS, size=users)
    most = min(MOST_EVENTS, _MOST_SCORES // items) // FOLDS
    tables = []
    with progress.task("weighing the evidence", FOLDS * most, "events") as advance:
        for part in range(FOLDS):
            inside = fold == part
            events = _events(known, usable, np.flatnonzero(inside), most, random)
            rest = from_lists([() if inside[user] else known.history(user) for user in range(users)])
            memory = Memory(Cooccurrence(rest, items), prefixes.memory(items, inside, seed))
            for table in candidate_tables(content, memory, events.before, events.targets):
                tables.append(table)
                advance(len(table.misses))
            advance(most - len(events.targets))
    return tables


def _events(
    known: HistoryLists | Interactions,
    usable: NDArray[np.bool_],
    users: NDArray[np.integer],
    most: int,
    random: np.random.Generator,
) -> _HeldBack:
    """At most ``most`` events of the given users: last ones first, then others among the latest of each user.

    An event can be held back when its item is a candidate that the user had not met before.
    """
    last: list[tuple[int, int]] = []
    earlier: list[tuple[int, int]] = []
    for user in users:
        history = known.history(int(user))
        for place in range(max(1, len(history) - _LATEST), len(history)):
            if usable[history[place]] and history[place] not in history[:place]:
                (last if place == len(history) - 1 else earlier).append((int(user), place))
    chosen: list[tuple[int, int]] = []
    for events in (last, earlier):
        room = min(most - len(chosen), len(events))
        chosen += [events[number] for number in np.sort(random.choice(len(events), room, replace=False))]
    before = [known.history(user)[:place] for user, place in chosen]
    return _HeldBack(before, np.array([known.history(user)[place] for user, place in chosen], np.int64))

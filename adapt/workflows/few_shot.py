"""Recommendations from other users' interactions and content together, with nothing trained."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from adapt.data.catalog import Dataset, Interactions
from adapt.errors import DataError
from adapt.evaluate.histories import from_lists
from adapt.hub.format import Checkpoint
from adapt.memory.cooccurrence import Cooccurrence
from adapt.memory.fusion import Channels, Fusion, fuse
from adapt.memory.memory import EVIDENCE, STATES, Memory, Prefixes, prefixes_of
from adapt.memory.tuning import FEWEST_EVENTS, CandidateTable, Tuned, candidate_table, tune
from adapt.progress import SILENT, Progress
from adapt.seeds import generator
from adapt.workflows.recommender import Recommender, ZeroShotRecommender, zero_shot

ScoresOf = Callable[[Sequence[NDArray[np.integer]]], NDArray[np.float32]]
"""Histories of catalog rows to scores (n, items), ``-inf`` where an item is no candidate."""

FOLDS = 3
MOST_EVENTS = 3_000
_MOST_SCORES = 40_000_000
_BLOCK_SCORES = 3_000_000
_LATEST = 15
_STREAM = 0xFE3
_NAMES = {
    "cooccurrence": "what is chosen together",
    "successors": "what is chosen next",
    "item_knn": "frequent companions",
    "states": "what similar users went on to",
    "popularity": "popularity",
    "tower": "the fine-tuned tower",
}


class FewShotRecommender(Recommender):
    """Recommends from content and the memory of other users; made by :func:`few_shot`.

    Scores are in standard deviations of the content score over the candidates.

    Attributes:
        zero_shot: whose content score is one of the channels.
        memory: of the interactions.
        tuned: the weights of the channels and how they were found.
        prefixes: the states of the events that are known, whether or not the memory uses them.
        further: channel -> scores of another recommender, such as a fine-tuned tower, that are fused as well.
    """

    needs_history = False

    def __init__(
        self,
        zero: ZeroShotRecommender,
        memory: Memory,
        tuned: Tuned,
        prefixes: Prefixes,
        further: Mapping[str, ScoresOf] = MappingProxyType({}),
    ) -> None:
        super().__init__(zero.checkpoint, zero.dataset, zero.embedded, zero.index)
        self.method = "fused" if further else "few-shot"
        self.zero_shot = zero
        self.memory = memory
        self.tuned = tuned
        self.further = further
        self.prefixes = prefixes
        self._later: dict[str, list[int]] = {}

    def score_histories(self, histories: Sequence[NDArray[np.integer]]) -> NDArray[np.float32]:
        fusion = self.tuned.fusion
        channels = channels_of(self.zero_shot, self.memory, histories, list(fusion.weights), self.further)
        return fuse(channels, fusion, self.embedded.usable)

    def forgetting(self, known: Interactions) -> FewShotRecommender:
        """The same weights over a memory of ``known`` alone, whose histories are those of the data set cut short."""
        prefixes = self.prefixes.within(known)
        memory = memory_for(known, len(self.embedded.usable), prefixes, self.tuned, seed=0)
        return FewShotRecommender(self.zero_shot, memory, self.tuned, prefixes, self.further)

    def explained(self) -> tuple[str, ...]:
        tuned = self.tuned
        if tuned.events < FEWEST_EVENTS:
            return (
                f"Only {tuned.events} events could be held back, too few to weigh the evidence by: the weights are the "
                "ones to start from, under which little evidence says little.",
            )
        used = [f"{_NAMES[gain.channel]} (weight {gain.weight:.2g})" for gain in tuned.gains if gain.weight]
        unused = [_NAMES[gain.channel] for gain in tuned.gains if not gain.weight]
        sentences = [
            f"Beside content, whose weight is 1, the score adds {', '.join(used)}: the weights that ranked "
            f"{tuned.events:,} held-back events best."
        ]
        if unused:
            sentences.append(f"Left out, for not earning a place here: {', '.join(unused)}.")
        return tuple(sentences)

    def facts(self) -> dict[str, Any]:
        tuned = self.tuned
        return {
            "fusion": {
                "weights": {"content": tuned.fusion.content, **tuned.fusion.weights},
                "held_back_events": tuned.events,
                "objective": {"content": tuned.content, "fused": tuned.fused, "error_of_difference": tuned.error},
                "gains": {gain.channel: {"gain": gain.gain, "error": gain.error} for gain in tuned.gains},
            }
        }

    def history_of(self, user: str) -> NDArray[np.integer]:
        """Catalog rows of a user's items: those of the data set, and what was added since."""
        later = np.array(self._later.get(user, []), np.int64)
        known = self.dataset.interactions
        if known is None or user not in known.index:
            if user in self._later:
                return later
            if known is None:
                raise DataError("expected a data set with interactions, found items only", "Pass a history instead.")
        return np.concatenate([known.history(known.user(user)), later])

    def add(self, user: str, item_id: str) -> None:
        """A user met an item: the next recommendation of this user and of others knows it.

        Takes a millisecond or so; nothing is rebuilt. A user who is not in the data set begins a history.

        Raises:
            DataError: the item is not in the catalog.
        """
        item = self.dataset.catalog.row(item_id)
        known = self.dataset.interactions
        there = user in self._later or (known is not None and user in known.index)
        before = self.history_of(user) if there else np.zeros(0, np.int64)
        state = self.zero_shot.states([before])[0] if self.memory.states is not None and len(before) else None
        self.memory.add(before, item, state)
        self._later.setdefault(user, []).append(item)


def few_shot(
    checkpoint: Checkpoint,
    dataset: Dataset,
    *,
    index: Literal["auto", "exact", "hnsw"] = "auto",
    allow_download: bool = False,
    device: str = "cpu",
    seed: int = 0,
    progress: Progress = SILENT,
) -> FewShotRecommender:
    """A recommender for a data set from a checkpoint and the data set's own interactions, without a gradient step.

    Args:
        checkpoint: pretrained towers.
        dataset: with interactions.
        index: how items are searched, as for zero-shot.
        allow_download: whether an encoder may be fetched from the Hub.
        device: where encoders and towers run.
        seed: of the events that are held back to choose the weights.
        progress: told each stage.

    Raises:
        DataError: there are no interactions, or no item is usable.
        CheckpointError: an encoder does not fit the checkpoint or cannot be had.
    """
    known = interactions_of(dataset)
    zero = zero_shot(
        checkpoint,
        dataset,
        index=index,
        allow_download=allow_download,
        device=device,
        seed=seed,
        progress=progress,
    )
    return remember(zero, known, seed=seed, progress=progress)


def interactions_of(dataset: Dataset) -> Interactions:
    """The interactions that a memory is made of.

    Raises:
        DataError: the data set has none.
    """
    if dataset.interactions is None or not len(dataset.interactions):
        raise DataError(
            f"expected interactions in {dataset.name} for few-shot recommendations, found items only",
            "Add interactions, or use `adapt zero-shot`, which needs none.",
        )
    return dataset.interactions


def remember(
    zero: ZeroShotRecommender, known: Interactions, *, seed: int = 0, progress: Progress = SILENT
) -> FewShotRecommender:
    """The few-shot recommender over a zero-shot one that knows the given interactions and no others.

    The weights of the channels are chosen on events of ``known``: users are dealt into three parts, and the memory of
    two parts answers for the third, as it will for users to come.
    """
    items = len(zero.embedded.usable)
    prefixes = prefixes_of(known, zero.states)
    tables = list(_held_back(zero, known, prefixes, seed, progress))
    tuned = tune(tables, EVIDENCE)
    return FewShotRecommender(zero, memory_for(known, items, prefixes, tuned, seed), tuned, prefixes)


def memory_for(known: Interactions, items: int, prefixes: Prefixes, tuned: Tuned, seed: int) -> Memory:
    """The memory that the chosen weights need."""
    used = tuned.fusion.weights.get(STATES)
    return Memory(Cooccurrence(known, items), prefixes.memory(items, seed=seed) if used else None)


def channels_of(
    zero: ZeroShotRecommender,
    memory: Memory,
    histories: Sequence[NDArray[np.integer]],
    wanted: Collection[str],
    further: Mapping[str, ScoresOf] = MappingProxyType({}),
) -> Channels:
    """The channels of some histories: content, popularity, and of the memory and the further those ``wanted``."""
    states = zero.states(histories)
    return Channels(
        zero.score_states(states),
        memory.evidence(from_lists(histories), states, wanted),
        memory.popularity(zero.embedded.usable),
        {name: scores_of(histories) for name, scores_of in further.items() if name in wanted},
    )


def candidate_tables(
    zero: ZeroShotRecommender,
    memory: Memory,
    before: Sequence[NDArray[np.integer]],
    targets: NDArray[np.integer],
    further: Mapping[str, ScoresOf] = MappingProxyType({}),
) -> Iterator[CandidateTable]:
    """The channels of events that the memory does not know, in tables of bounded size, for :func:`adapt.memory.tune`.

    Args:
        zero: whose content score is one of the channels.
        memory: without the events.
        before: the histories before the events, as catalog rows.
        targets: int (events,), catalog rows of what was chosen.
        further: channel -> scores of another recommender.
    """
    usable = zero.embedded.usable
    block = max(1, _BLOCK_SCORES // len(usable))
    for start in range(0, len(targets), block):
        some = before[start : start + block]
        channels = channels_of(zero, memory, some, (*EVIDENCE, *further), further)
        yield candidate_table(channels, targets[start : start + block], some, usable, Fusion())


@dataclass(frozen=True, eq=False)
class _HeldBack:
    """Events of some users: what each user met before, and what then."""

    before: Sequence[NDArray[np.integer]]
    targets: NDArray[np.int64]


def _held_back(
    zero: ZeroShotRecommender, known: Interactions, prefixes: Prefixes, seed: int, progress: Progress
) -> list[CandidateTable]:
    """The channels of held-back events, in tables of bounded size."""
    usable = zero.embedded.usable
    items = len(usable)
    random = generator(seed, _STREAM)
    fold = random.integers(FOLDS, size=known.n_users)
    most = min(MOST_EVENTS, _MOST_SCORES // items) // FOLDS
    tables = []
    with progress.task("weighing the evidence", FOLDS * most, "events") as advance:
        for part in range(FOLDS):
            inside = fold == part
            events = _events(known, usable, np.flatnonzero(inside), most, random)
            rest = from_lists([() if inside[user] else known.history(user) for user in range(known.n_users)])
            memory = Memory(Cooccurrence(rest, items), prefixes.memory(items, inside, seed))
            for table in candidate_tables(zero, memory, events.before, events.targets):
                tables.append(table)
                advance(len(table.misses))
            advance(most - len(events.targets))
    return tables


def _events(
    known: Interactions,
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

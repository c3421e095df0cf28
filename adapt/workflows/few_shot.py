"""Recommendations from other users' interactions and content together, with nothing trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adapt.data.catalog import Dataset, Interactions
from adapt.errors import DataError
from adapt.hub.format import Checkpoint
from adapt.index.calibrate import Choice
from adapt.index.engine import RemoteSettings
from adapt.memory.cooccurrence import Cooccurrence
from adapt.memory.fusion import fuse
from adapt.memory.memory import STATES, Memory, Prefixes, prefixes_of
from adapt.memory.tuning import FEWEST_EVENTS, Tuned
from adapt.progress import SILENT, Progress
from adapt.workflows.recommender import Recommender, ZeroShotRecommender, zero_shot
from adapt.workflows.weighing import ScoresOf, channels_of, weigh

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
        memory = memory_for(known, len(self.zero_shot.usable), prefixes, self.tuned, seed=0)
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
    index: Choice | RemoteSettings = "auto",
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

    The weights of the channels are chosen on events of ``known``; see :func:`adapt.workflows.weighing.weigh`.
    """
    prefixes = prefixes_of(known, zero.states)
    tuned = weigh(zero, known, prefixes, seed, progress)
    return FewShotRecommender(zero, memory_for(known, len(zero.usable), prefixes, tuned, seed), tuned, prefixes)


def memory_for(known: Interactions, items: int, prefixes: Prefixes, tuned: Tuned, seed: int) -> Memory:
    """The memory that the chosen weights need."""
    used = tuned.fusion.weights.get(STATES)
    return Memory(Cooccurrence(known, items), prefixes.memory(items, seed=seed) if used else None)

"""Which method to recommend with: all of them are measured on held-back events that none of them has seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adapt.data.catalog import Interactions
from adapt.data.clean import select
from adapt.errors import DataError
from adapt.evaluate.histories import HistoryLists, from_lists
from adapt.evaluate.metrics import gains_at_k, hits_at_k
from adapt.evaluate.ranking import rank_cases
from adapt.evaluate.significance import bootstrap_interval, paired_bootstrap
from adapt.machine import return_memory
from adapt.memory.cooccurrence import Cooccurrence
from adapt.memory.fusion import Fusion
from adapt.memory.memory import EVIDENCE, Memory
from adapt.memory.tuning import Tuned, tune
from adapt.progress import SILENT, Progress
from adapt.ranges import ranges
from adapt.seeds import generator
from adapt.train.finetuning import HeldBackEvents
from adapt.workflows.few_shot import FewShotRecommender
from adapt.workflows.finetuned import REMEMBERING, TOWER, FineTunedRecommender, Weighing, recommender_of
from adapt.workflows.recommender import Recommender, ZeroShotRecommender
from adapt.workflows.weighing import candidate_tables

K = 10
ZERO_SHOT, ALONE = "zero-shot", "fine-tuned"
FEWEST = 3
"""Interactions of a user that gives a validation event: one to know, one to train on, one to ask for."""
ENOUGH = 500
"""Validation events up to which users with long histories give more than their last one."""
SHARE = 0.2
"""Of a user's events, how many may be held back; the last one may be of a short history too."""
_STREAM = 0xF17


@dataclass(frozen=True, eq=False)
class ValidationSplit:
    """The last events of users, held back.

    Attributes:
        train: all other events; the same users.
        histories: of the cases: what each user met before the held-back event.
        targets: int64 (cases,), catalog rows.
        users: int64 (cases,), whose event it is.
        usable: bool (items,), the candidates.
    """

    train: Interactions
    histories: HistoryLists
    targets: NDArray[np.int64]
    users: NDArray[np.int64]
    usable: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.targets)

    @property
    def warm(self) -> NDArray[np.bool_]:
        """bool (items,): the item has a training event."""
        return np.bincount(self.train.items, minlength=len(self.usable)) > 0

    def held_back(self) -> HeldBackEvents:
        """The cases as the loop reads them: histories without the items that cannot be read."""
        kept = [history[self.usable[history]] for history in self.lists()]
        return HeldBackEvents(from_lists(kept), self.targets)

    def lists(self) -> list[NDArray[np.integer]]:
        """The histories one by one."""
        return np.split(self.histories.items, self.histories.offsets[1:-1])

    def part(self, cases: NDArray[np.integer]) -> ValidationSplit:
        """Some of the cases."""
        lists = self.lists()
        return ValidationSplit(
            self.train, from_lists([lists[case] for case in cases]), self.targets[cases], self.users[cases], self.usable
        )


def hold_back(interactions: Interactions, usable: NDArray[np.bool_], most: int, seed: int) -> ValidationSplit:
    """Hold back the last event of every user with three or more; ask for ``most`` of them at most, drawn at random.

    A user with fewer events only trains. Where users are so few that their last events decide nothing (below
    :data:`ENOUGH`), those with long histories give several, a fifth of their events at most. An event can be asked for
    when its item is a candidate and something usable comes before it.

    Raises:
        DataError: nobody has three interactions, or fewer than two users can be asked, or all events are on one item.
    """
    lengths = interactions.lengths()
    if not len(interactions) or lengths.max() < FEWEST:
        raise DataError(
            f"expected users with {FEWEST} interactions or more, found at most {lengths.max(initial=0)}",
            "`adapt few-shot` uses whatever there is, without training.",
        )
    if (interactions.items == interactions.items[0]).all():
        raise DataError(
            "expected interactions with two or more items, found all of them on one",
            "There is nothing to rank; `adapt zero-shot` needs no interactions.",
        )
    held = _number_held_back(lengths)
    events = ranges(interactions.offsets[1:] - held, held)
    kept = np.ones(len(interactions), bool)
    kept[events] = False
    items, users = interactions.items, np.repeat(np.arange(len(held)), held)
    before = [items[begin:event] for begin, event in zip(interactions.offsets[users], events, strict=True)]
    asked = np.flatnonzero(usable[items[events]] & np.array([usable[history].any() for history in before], bool))
    found = len(np.unique(users[asked]))
    if found < 2:
        raise DataError(
            f"expected two or more users with {FEWEST} interactions and usable items, found {found}",
            "Training needs other users to be judged by; `adapt few-shot` uses whatever there is.",
        )
    if len(asked) > most:
        asked = np.sort(generator(seed, _STREAM).choice(asked, most, replace=False))
    return ValidationSplit(
        train=select(interactions, kept),
        histories=from_lists([before[case] for case in asked]),
        targets=items[events[asked]].astype(np.int64),
        users=users[asked],
        usable=usable,
    )


def _number_held_back(lengths: NDArray[np.integer]) -> NDArray[np.int64]:
    """How many events of each user are held back: int64 (users,).

    >>> _number_held_back(np.array([2, 5, 100]))  # users are few: a fifth of a history
    array([ 0,  1, 20])
    >>> _number_held_back(np.full(400, 100))[:3]  # two of each are enough
    array([2, 2, 2])
    >>> _number_held_back(np.full(600, 100))[:3]
    array([1, 1, 1])
    """
    room = np.where(lengths >= FEWEST, np.maximum(1, (SHARE * lengths).astype(np.int64)), 0)
    most = 1
    while most < room.max(initial=0) and np.minimum(room, most).sum() < ENOUGH:
        most += 1
    return np.minimum(room, most)


@dataclass(frozen=True, eq=False)
class Figures:
    """How a method ranked the held-back events.

    Attributes:
        ranks: float64 (cases,), from 0.
        top: int64 (cases, 10), its lists.
    """

    ranks: NDArray[np.float64]
    top: NDArray[np.int64]

    @property
    def ndcg(self) -> float:
        """Mean NDCG@10."""
        return float(gains_at_k(self.ranks, K).mean())

    def to_dict(self, split: ValidationSplit) -> dict[str, Any]:
        """Recall@10 and NDCG@10 with 95 % intervals: overall, of warm and of cold items; and who is in the lists."""
        warm = split.warm
        listed = self.top[self.top >= 0]
        asked_warm = warm[split.targets]
        return {
            **_figures(self.ranks),
            "warm": _figures(self.ranks[asked_warm]),
            "cold": _figures(self.ranks[~asked_warm]),
            "cold_share_of_lists": float((~warm[listed]).mean()) if len(listed) else 0.0,
        }


def _figures(ranks: NDArray[np.float64]) -> dict[str, Any]:
    if not len(ranks):
        return {"events": 0}
    found: dict[str, Any] = {"events": len(ranks)}
    for name, values in (("recall@10", hits_at_k(ranks, K)), ("ndcg@10", gains_at_k(ranks, K))):
        found[name] = bootstrap_interval(values).to_dict()
    return found


def measure(recommender: Recommender, split: ValidationSplit, progress: Progress = SILENT) -> Figures:
    """Rank every held-back event: full ranking, seen items excluded."""
    lists = split.lists()
    found = rank_cases(
        lambda cases: recommender.score_histories([lists[case] for case in cases]),
        split.histories,
        split.targets,
        split.usable,
        k=K,
        ks=(K,),
        progress=progress,
    )
    return_memory()
    return Figures(found.ranks, found.top)


@dataclass(frozen=True, eq=False)
class Comparison:
    """All methods on the same held-back events.

    Attributes:
        figures: method -> its figures, the simplest first.
        weighings: of few-shot and fused.
        users: int64 (cases,), whose event each is.
        chosen: few-shot or fused, by NDCG@10. The fine-tuned towers alone are chosen only where they beat the better of
            these by more than the 95 % interval of the difference: how long they were trained was chosen on the same
            events, so that their figure flatters them. So is zero-shot, which few-shot falls back to by itself: a
            handful of events says little against that.
    """

    figures: Mapping[str, Figures]
    weighings: Mapping[str, Weighing]
    users: NDArray[np.int64]

    @property
    def chosen(self) -> str:
        best = max(REMEMBERING, key=lambda method: self.figures[method].ndcg)  # of equals the simpler
        for method in (ZERO_SHOT, ALONE):
            if paired_bootstrap(self._gains(method), self._gains(best)).low > 0:
                best = method
        return best

    def _gains(self, method: str) -> NDArray[np.float64]:
        """The NDCG@10 of each user, who may have more than one event: those are alike, and users are what is drawn."""
        _, user, events = np.unique(self.users, return_inverse=True, return_counts=True)
        return np.asarray(np.bincount(user, gains_at_k(self.figures[method].ranks, K)) / events)


def compare(
    zero: ZeroShotRecommender,
    few: FewShotRecommender,
    tower: FineTunedRecommender,
    split: ValidationSplit,
    *,
    seed: int = 0,
    progress: Progress = SILENT,
) -> Comparison:
    """Measure zero-shot, few-shot, the fine-tuned towers, and all that fused.

    The towers know the training events, so the weights of the fusion are chosen on the held-back ones. Its own figures
    are from weights that were chosen on the other half of the events than the one they are measured on.

    Args:
        zero: of the base.
        few: remembers ``split.train`` and nothing else.
        tower: trained on ``split.train`` and nothing else.
        split: the events.
        seed: of which half an event is in.
        progress: told the events ranked.
    """
    figures = {
        ZERO_SHOT: measure(zero, split, progress),
        "few-shot": measure(few, split, progress),
        ALONE: measure(tower, split, progress),
    }
    _, user = np.unique(split.users, return_inverse=True)  # all events of a user are in one half
    half = generator(seed, _STREAM, 1).permutation(int(user.max()) + 1)[user] % 2
    prefixes = few.prefixes
    parts = [split.part(np.flatnonzero(half == number)) for number in (0, 1)]
    memory = Memory(Cooccurrence(split.train, len(split.usable)), prefixes.memory(len(split.usable), seed=seed))
    further = {TOWER: tower.score_histories}
    tables = [list(candidate_tables(zero, memory, part.lists(), part.targets, further)) for part in parts]
    fused = [weigh(tables[number], few.tuned.fusion) for number in (0, 1)]
    ranks = np.empty(len(split))
    top = np.empty((len(split), K), np.int64)
    for number, part in enumerate(parts):
        other = {"fused": Weighing(fused[1 - number].fusion, len(parts[1 - number]))}
        found = measure(recommender_of("fused", zero, tower, split.train, other, prefixes=prefixes), part, progress)
        ranks[half == number], top[half == number] = found.ranks, found.top
    figures["fused"] = Figures(ranks, top)
    final = weigh([*tables[0], *tables[1]], few.tuned.fusion)
    return Comparison(
        figures,
        {
            "few-shot": Weighing(few.tuned.fusion, few.tuned.events),
            "fused": Weighing(final.fusion, len(split)),
        },
        split.users,
    )


def weigh(tables: Sequence[Any], start: Fusion) -> Tuned:
    """The best weights from two starts: those of few-shot, and those beside twice the towers."""
    found = [
        tune(tables, (*EVIDENCE, TOWER), begin)
        for begin in (start, Fusion(weights={**start.weights, TOWER: 2.0}, content=start.content))
    ]
    return max(found, key=lambda tuned: tuned.fused)

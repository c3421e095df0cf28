"""Training and testing on one data set: the last events of each user are held out, as papers report it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from adapt.data.batches import SequenceSource
from adapt.data.catalog import Interactions
from adapt.data.split import Split, drop_last
from adapt.data.split import leave_one_out as hold_out
from adapt.errors import DataError, UsageError
from adapt.evaluate.baselines import Scorer, content_knn, item_knn, popularity, tuned_item_knn
from adapt.evaluate.histories import Histories, from_lists
from adapt.evaluate.metrics import values_of
from adapt.evaluate.ranking import rank_cases
from adapt.model.inference import embed_items, embed_users
from adapt.model.items import ItemFeatures
from adapt.model.towers import DualTower
from adapt.seeds import generator
from adapt.train.pretraining import Pretraining
from adapt.train.sources import PretrainingSource, RawFeatures, measure

_STREAM = 9

POLICIES = {"seen items kept": False, "seen items excluded": True}
"""Whether what a user has met may be recommended again: papers keep it, live systems mostly do not."""

METRICS = ("recall@10", "ndcg@10", "recall@50", "ndcg@50")


@dataclass(eq=False)
class InDomain(Pretraining):
    """Training on the events of a data set that are not held out; validation is the event before the tested ones."""

    def validate(self) -> float | None:
        """NDCG@10 of the validation events, full ranking, seen items excluded, all modalities shown."""
        if self.left_out is None:
            return None
        values = measure(self.module.towers, *self.left_out)
        return float(values.mean()) if len(values) else None


@dataclass(frozen=True, eq=False)
class HeldOutRanks:
    """How the tested events of each user were ranked.

    Attributes:
        users: (cases,) user numbers; a user has as many cases as tested events.
        ranks: policy -> (cases,) rank of the event's item from 0, ``inf`` = a miss.
        skipped: users with a held-out event that nothing usable comes before; they are in no figure.
    """

    users: NDArray[np.int64]
    ranks: Mapping[str, NDArray[np.float64]]
    skipped: int

    def values(self, policy: str, metric: str) -> NDArray[np.float64]:
        """(users,) one metric of :data:`METRICS`: for each user the mean over the tested events."""
        of_case = values_of(self.ranks[policy], metric)
        _, number, count = np.unique(self.users, return_inverse=True, return_counts=True)
        means: NDArray[np.float64] = np.bincount(number.reshape(-1), weights=of_case) / count
        return means


def split_of(interactions: Interactions, test_events: int) -> Split:
    """Training histories and the validation event of each user; ``test_events`` later ones are held out as well.

    Raises:
        UsageError: ``test_events`` is below 1.
    """
    if test_events < 1:
        raise UsageError(f"expected test_events of at least 1, found {test_events}")
    return hold_out(drop_last(interactions, test_events - 1))


def training_source(
    name: str,
    features: Mapping[str, RawFeatures],
    interactions: Interactions,
    test_events: int,
    cases: int,
    seed: int,
) -> PretrainingSource:
    """A data set without its tested events; its cases are the validation events of users drawn at random.

    Args:
        name: of the data set.
        features: modality -> raw features of its catalog.
        interactions: all of them.
        test_events: see :func:`split_of`.
        cases: how many validation events at most.
        seed: of that draw.

    Raises:
        DataError: nobody has a history that is long enough.
    """
    usable = np.any([part.present for part in features.values()], axis=0)
    split = split_of(interactions, test_events)
    if not (split.valid_items >= 0).any():
        raise DataError(
            f"expected users with {test_events + 2} interactions or more in {name}, found none",
            "Lower test_events, or take a data set with longer histories.",
        )
    users = generator(seed, _STREAM).permutation(np.flatnonzero(split.valid_items >= 0))[:cases]
    source = SequenceSource(name, len(usable), split.train.offsets, split.train.items, usable)
    known = tuple(split.train.history(int(user)) for user in users)
    return PretrainingSource(name, features, source, known, split.valid_items[users].astype(np.int64))


def rank_held_out(towers: DualTower, items: ItemFeatures, interactions: Interactions, test_events: int) -> HeldOutRanks:
    """Rank each of the last ``test_events`` events of every user by towers, given all that came before it.

    Args:
        towers: in eval mode.
        items: what they read of the catalog.
        interactions: all of them.
        test_events: see :func:`split_of`. A user with fewer events is tested on all but the first.

    Raises:
        UsageError: nobody has two events.
    """
    usable = items.any_present.numpy()
    embeddings = embed_items(towers, items, usable)

    def scorer(histories: Histories) -> Scorer:
        known = np.split(histories.items, histories.offsets[1:-1])
        states = embed_users(towers, [history[usable[history]] for history in known], items, embeddings)
        return lambda users: states[users] @ embeddings.T

    return rank_events(scorer, usable, interactions, test_events)


def rank_events(
    scorer: Callable[[Histories], Scorer], usable: NDArray[np.bool_], interactions: Interactions, test_events: int
) -> HeldOutRanks:
    """The same by any scorer, which is made from what each user met before the event.

    Args:
        scorer: gets histories that hold at least one usable item each.
        usable: bool (items,), the candidates.
        interactions, test_events: see :func:`rank_held_out`.

    Raises:
        UsageError: nobody has two events.
    """
    users: list[NDArray[np.int64]] = []
    ranks: dict[str, list[NDArray[np.float64]]] = {policy: [] for policy in POLICIES}
    skipped = 0
    for later in range(test_events):
        until = drop_last(interactions, later)
        targets, before = hold_out(until).test_items.astype(np.int64), drop_last(until, 1)
        known = np.array([usable[before.history(user)].any() for user in range(before.n_users)], dtype=bool)
        chosen = np.flatnonzero((targets >= 0) & known)
        skipped += int((targets >= 0).sum()) - len(chosen)
        if not len(chosen):
            continue
        histories = from_lists([before.history(int(user)) for user in chosen])
        score = scorer(histories)
        users.append(chosen)
        for policy, exclude in POLICIES.items():
            ranks[policy].append(rank_cases(score, histories, targets[chosen], usable, exclude_seen=exclude).ranks)
    if not users:
        raise UsageError("expected users with two interactions or more, found none")
    return HeldOutRanks(
        np.concatenate(users), {policy: np.concatenate(parts) for policy, parts in ranks.items()}, skipped
    )


def rank_baselines(items: ItemFeatures, interactions: Interactions, test_events: int) -> dict[str, HeldOutRanks]:
    """The same by scorers that nobody trained: name -> ranks.

    Popularity and co-occurrence are counted on the events that training reads, so that no scorer knows more.

    Args:
        items: normalised features; content-kNN adds the cosines of the modalities.
        interactions, test_events: see :func:`rank_held_out`.
    """
    usable = items.any_present.numpy()
    train = split_of(interactions, test_events).train
    parts = [items.values[name] * items.present[name][:, None] for name in items.values]
    features = torch.cat(parts, dim=1).numpy()
    scorers: dict[str, Callable[[Histories], Scorer]] = {
        "popularity": lambda _: popularity(train, len(usable)),
        "content-kNN": lambda histories: content_knn(features, histories, present=usable),
        "item-kNN": lambda histories: item_knn(train, histories, len(usable)),
        "tuned item-kNN": lambda histories: tuned_item_knn(train, histories, len(usable)),
    }
    return {name: rank_events(scorer, usable, interactions, test_events) for name, scorer in scorers.items()}


def mean_over_runs(runs: Sequence[HeldOutRanks], policy: str, metric: str) -> NDArray[np.float64]:
    """(users,) a metric of each user, averaged over runs that differ by their seed."""
    return np.asarray(np.mean([run.values(policy, metric) for run in runs], axis=0))

"""How sure to be on this very data set: each user's last item is hidden and asked for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from adapt.data.clean import select
from adapt.evaluate.metrics import rank_of_target
from adapt.evaluate.significance import bootstrap_interval
from adapt.progress import SILENT, Progress
from adapt.seeds import generator
from adapt.workflows.recommender import Recommender

_MOST_USERS = 2000
_MOST_SCORES = 40_000_000
_FEWEST_USERS = 10
_BLOCK_BYTES = 16 << 20
_STREAM = 1


@dataclass(frozen=True)
class SelfCheck:
    """What the recommender reaches when each user's last item is hidden, from its own history and from others' memory.

    Attributes:
        users: number of users that were asked for, drawn at random where there are many.
        k: length of the lists.
        recall: share of users whose hidden item is in the list.
        ndcg: NDCG@k with the hidden item as the one relevant item.
        recall_low, recall_high: 95 % bootstrap interval of the recall.
        popularity_recall: recall of the most popular items, counted without the hidden events.
        chance_recall: recall of a random list.
    """

    users: int
    k: int
    recall: float
    ndcg: float
    recall_low: float
    recall_high: float
    popularity_recall: float
    chance_recall: float


def self_check(recommender: Recommender, k: int, seed: int, progress: Progress = SILENT) -> SelfCheck | None:
    """Hide the last item of up to 2,000 users and rank the whole catalog for it; items seen before are left out.

    Returns:
        None when fewer than ten users have two different usable items, or the recommender cannot forget what it
        learned from them.
    """
    interactions, embedded = recommender.dataset.interactions, recommender.embedded
    if interactions is None or not len(interactions):
        return None
    eligible = []
    for user in range(interactions.n_users):
        history = interactions.history(user)
        history = history[embedded.usable[history]]
        if len(history) >= 2 and history[-1] not in history[:-1]:
            eligible.append(user)
    if len(eligible) < _FEWEST_USERS:
        return None
    items = len(embedded.usable)
    wanted = max(_FEWEST_USERS, min(_MOST_USERS, _MOST_SCORES // items, len(eligible)))
    users = np.sort(generator(seed, _STREAM).choice(eligible, wanted, replace=False))
    known, targets = [], []
    for user in users:
        history = interactions.history(int(user))
        history = history[embedded.usable[history]]
        known.append(history[:-1])
        targets.append(history[-1])
    hidden = np.array(targets)
    keep = np.ones(len(interactions), dtype=bool)
    for user in users:
        own = np.arange(interactions.offsets[user], interactions.offsets[user + 1])
        keep[own[embedded.usable[interactions.items[own]]][-1] : own[-1] + 1] = False
    forgetful = recommender.forgetting(select(interactions, keep))
    if forgetful is None:
        return None
    counts = np.bincount(interactions.items, minlength=items).astype(np.float32)
    counts -= np.bincount(hidden, minlength=items)
    ranks: list[NDArray[np.float64]] = []
    popular: list[NDArray[np.float64]] = []
    with progress.task("self-check", len(users), "users") as advance:
        for block in np.array_split(np.arange(len(users)), max(1, len(users) * items * 4 // _BLOCK_BYTES)):
            seen = [known[number] for number in block]
            scores = forgetful.score_histories(seen)
            for found, values in ((ranks, scores), (popular, np.tile(counts, (len(block), 1)))):
                found.append(rank_of_target(values, hidden[block], excluded=seen, candidates=embedded.usable))
            advance(len(block))
    rank, popular_rank = np.concatenate(ranks), np.concatenate(popular)
    hits = rank < k
    interval = bootstrap_interval(hits.astype(np.float64), seed=seed)
    return SelfCheck(
        users=len(users),
        k=k,
        recall=float(hits.mean()),
        ndcg=float(np.where(hits, 1 / np.log2(rank + 2), 0.0).mean()),
        recall_low=interval.low,
        recall_high=interval.high,
        popularity_recall=float((popular_rank < k).mean()),
        chance_recall=min(1.0, k / max(1, int(embedded.usable.sum()) - 1)),
    )

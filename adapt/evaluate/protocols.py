"""Leave-one-out with full ranking, for any scorer, in blocks of bounded memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from adapt.errors import UsageError
from adapt.evaluate import metrics
from adapt.evaluate.baselines import Scorer
from adapt.evaluate.histories import Histories
from adapt.progress import SILENT, Progress

BLOCK_BYTES = 64 << 20


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The outcome of one evaluation.

    Attributes:
        users: (n,) numbers of the users that were evaluated.
        ranks: (n,) rank of each user's target from 0, ``inf`` = miss.
        metrics: by name, ``recall@10`` and so on.
        seen_excluded: whether the items of a user's history were no candidates.
        candidates: number of items that were candidates (before a user's own are excluded).
        misses: users whose target was not a candidate; they count as 0.
    """

    users: npt.NDArray[np.int64]
    ranks: npt.NDArray[np.float64]
    metrics: Mapping[str, float]
    seen_excluded: bool
    candidates: int
    misses: int

    @property
    def policy(self) -> str:
        """How the ranking was made, in words, to be printed beside every figure."""
        seen = "seen items excluded" if self.seen_excluded else "seen items kept"
        return f"leave-one-out, full ranking over {self.candidates:,} candidates, {seen}, {len(self.users):,} users"

    def subset(self, chosen: npt.NDArray[np.bool_]) -> Evaluation:
        """The same evaluation for some of its users, for example those with a cold target.

        Args:
            chosen: (n,) True for the users to keep, aligned with ``users``.

        Raises:
            UsageError: the shape does not fit or nobody is chosen.
        """
        if chosen.shape != self.users.shape or chosen.dtype != np.bool_:
            raise UsageError(f"expected {len(self.users)} booleans, found {chosen.dtype} of shape {chosen.shape}")
        ks = [int(name.removeprefix("recall@")) for name in self.metrics if name.startswith("recall@")]
        ranks = self.ranks[chosen]
        return Evaluation(
            users=self.users[chosen],
            ranks=ranks,
            metrics=metrics.summarise(ranks, ks),
            seen_excluded=self.seen_excluded,
            candidates=self.candidates,
            misses=int(np.isinf(ranks).sum()),
        )


def leave_one_out(
    scorer: Scorer,
    histories: Histories,
    targets: npt.NDArray[np.integer],
    items: int,
    *,
    candidates: npt.NDArray[np.bool_] | None = None,
    exclude_seen: bool = True,
    ks: Sequence[int] = (10, 50),
    progress: Progress = SILENT,
) -> Evaluation:
    """Rank every user's held-out item among the whole catalog.

    Args:
        scorer: user numbers to scores (users, items); it must not know the targets.
        histories: what each user met before the target; with ``exclude_seen`` these items are no candidates.
        targets: (users,) catalog row of the held-out item, -1 = the user is not evaluated.
        items: number of items in the catalog.
        candidates: (items,) False where an item can be recommended to nobody; a target there is a miss.
        exclude_seen: whether the items of a user's history are left out of that user's ranking.
        ks: lengths of list for Recall@K and NDCG@K.
        progress: told the number of users done.

    Returns:
        The ranks of all users with a target, and the metrics.

    Raises:
        UsageError: nobody has a target, or the shapes do not fit.
        DataError: the scorer gave NaN.

    >>> from adapt.evaluate.baselines import popularity
    >>> from adapt.evaluate.histories import from_lists
    >>> known = from_lists([[0, 1], [1, 2]])
    >>> leave_one_out(popularity(known, 4), known, np.array([2, 3]), 4, ks=[1]).metrics
    {'recall@1': 0.5, 'ndcg@1': 0.5, 'mrr': 0.75}
    """
    users = _evaluated(histories, targets)
    block = max(1, BLOCK_BYTES // (4 * max(1, items)))
    ranks = np.empty(len(users), np.float64)
    with progress.task("ranking", len(users), "users") as advance:
        for start in range(0, len(users), block):
            batch = users[start : start + block]
            scores = scorer(batch)
            if scores.shape != (len(batch), items):
                raise UsageError(f"expected scores of shape {(len(batch), items)}, found {scores.shape}")
            seen = _seen(histories, batch) if exclude_seen else None
            ranks[start : start + block] = metrics.rank_of_target(
                scores, targets[batch], excluded=seen, candidates=candidates
            )
            advance(len(batch))
    return Evaluation(
        users=users,
        ranks=ranks,
        metrics=metrics.summarise(ranks, ks),
        seen_excluded=exclude_seen,
        candidates=items if candidates is None else int(candidates.sum()),
        misses=int(np.isinf(ranks).sum()),
    )


def _seen(histories: Histories, users: npt.NDArray[np.int64]) -> list[npt.NDArray[np.integer]]:
    return [histories.items[histories.offsets[user] : histories.offsets[user + 1]] for user in users]


def _evaluated(histories: Histories, targets: npt.NDArray[np.integer]) -> npt.NDArray[np.int64]:
    """The numbers of the users who have a target."""
    if targets.shape != (len(histories.offsets) - 1,):
        raise UsageError(
            f"expected one target for each of {len(histories.offsets) - 1} users, found shape {targets.shape}"
        )
    users = np.flatnonzero(targets >= 0).astype(np.int64)
    if not len(users):
        raise UsageError(
            "expected at least one user with a held-out item, found none",
            "Leave-one-out needs users with two interactions or more.",
        )
    return users

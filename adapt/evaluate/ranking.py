"""Full ranking of hidden events by any scorer, in blocks of bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from adapt.data.catalog import Interactions
from adapt.errors import UsageError
from adapt.evaluate import metrics
from adapt.evaluate.baselines import Scorer
from adapt.evaluate.histories import Histories, HistoryLists
from adapt.evaluate.tasks import Task
from adapt.progress import SILENT, Progress
from adapt.top import top_k

BLOCK_BYTES = 16 << 20

Method: TypeAlias = Callable[[Interactions], Callable[[HistoryLists], Scorer]]
"""Training events to a function from the histories of cases to their scorer; that is all a method gets to see."""


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The outcome of one evaluation.

    Attributes:
        ranks: float64 (cases,) rank of each case's target from 0, ``inf`` = miss.
        top: int64 (cases, k) catalog rows, best first, padded with -1; equal scores in the order of rows.
        metrics: by name, ``recall@10`` and so on.
        seen_excluded: whether the items of a history were no candidates.
        candidates: number of items that were candidates (before a user's own are excluded).
        misses: cases whose target was not a candidate; they count as 0.
    """

    ranks: npt.NDArray[np.float64]
    top: npt.NDArray[np.int64]
    metrics: Mapping[str, float]
    seen_excluded: bool
    candidates: int
    misses: int

    @property
    def policy(self) -> str:
        """How the ranking was made, in words, to be printed beside every figure."""
        seen = "seen items excluded" if self.seen_excluded else "seen items kept"
        return f"full ranking over {self.candidates:,} candidates, {seen}, {len(self.ranks):,} cases"


def evaluate(
    method: Method,
    task: Task,
    *,
    k: int = 10,
    exclude_seen: bool = True,
    ks: Sequence[int] = (10, 50),
    progress: Progress = SILENT,
) -> Evaluation:
    """Fit a method on a task's training events and rank the target of each case among the whole catalog.

    Args:
        method: see :data:`Method`.
        task: what is hidden and what is known.
        k: length of the lists that are kept.
        exclude_seen: whether the items of a history are left out of its ranking.
        ks: lengths of list for the metrics.
        progress: told the number of cases done.

    Raises:
        DataError: the scorer gave NaN.
        UsageError: it gave scores of another shape.
    """
    scorer = method(task.train)(task.histories)
    return rank_cases(
        scorer, task.histories, task.targets, task.candidates, k=k, exclude_seen=exclude_seen, ks=ks, progress=progress
    )


def rank_cases(
    scorer: Scorer,
    histories: Histories,
    targets: npt.NDArray[np.integer],
    candidates: npt.NDArray[np.bool_],
    *,
    k: int = 0,
    exclude_seen: bool = True,
    ks: Sequence[int] = (10, 50),
    progress: Progress = SILENT,
) -> Evaluation:
    """Rank the target of each case among the whole catalog.

    Args:
        scorer: case numbers to scores (cases, items); it must not know the targets.
        histories: what was met before the target; with ``exclude_seen`` these items are no candidates.
        targets: (cases,) catalog rows.
        candidates: (items,) False where an item can be recommended to nobody; a target there is a miss.
        k: length of the lists that are kept; 0 = none.
        exclude_seen: whether the items of a history are left out of its ranking.
        ks: lengths of list for the metrics.
        progress: told the number of cases done.

    Raises:
        UsageError: there is no case, or the shapes do not fit.
        DataError: the scorer gave NaN.

    >>> from adapt.evaluate.baselines import popularity
    >>> from adapt.evaluate.histories import from_lists
    >>> known = from_lists([[0, 1], [1, 2]])
    >>> found = rank_cases(popularity(known, 4), known, np.array([2, 3]), np.ones(4, bool), k=1)
    >>> found.ranks, found.top
    (array([0., 1.]), array([[2],
           [0]]))
    """
    cases, items = len(histories.offsets) - 1, len(candidates)
    if targets.shape != (cases,) or not cases:
        raise UsageError(f"expected one target for each of one or more histories, found {targets.shape} for {cases}")
    block = max(1, BLOCK_BYTES // (4 * max(1, items)))
    ranks, top = np.empty(cases, np.float64), np.full((cases, k), -1, np.int64)
    with progress.task("ranking", cases, "cases") as advance:
        for start in range(0, cases, block):
            batch = np.arange(start, min(cases, start + block))
            scores = scorer(batch)
            if scores.shape != (len(batch), items):
                raise UsageError(f"expected scores of shape {(len(batch), items)}, found {scores.shape}")
            seen = _seen(histories, batch) if exclude_seen else None
            ranks[batch] = metrics.rank_of_target(scores, targets[batch], excluded=seen, candidates=candidates)
            if k:
                top[batch], _ = top_k(_masked(scores, seen, candidates), k)
            advance(len(batch))
    return Evaluation(
        ranks=ranks,
        top=top,
        metrics=metrics.summarise(ranks, ks),
        seen_excluded=exclude_seen,
        candidates=int(candidates.sum()),
        misses=int(np.isinf(ranks).sum()),
    )


def _masked(
    scores: npt.NDArray[np.float32],
    seen: Sequence[npt.NDArray[np.integer]] | None,
    candidates: npt.NDArray[np.bool_],
) -> npt.NDArray[np.float32]:
    """A copy of the scores with ``-inf`` where there is no candidate."""
    masked = np.where(candidates, scores, np.float32(-np.inf))
    for values, rows in zip(masked, seen or (), strict=False):
        values[rows] = -np.inf
    return masked


def _seen(histories: Histories, cases: npt.NDArray[np.int64]) -> list[npt.NDArray[np.integer]]:
    return [histories.items[histories.offsets[case] : histories.offsets[case + 1]] for case in cases]

"""From methods and a task to figures with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from adapt.errors import AdaptError
from adapt.evaluate import lists
from adapt.evaluate.metrics import gains_at_k, values_of
from adapt.evaluate.ranking import rank_cases
from adapt.evaluate.significance import bootstrap_interval
from adapt.evaluate.slices import by_history_length, by_warmth
from adapt.evaluate.tasks import Task
from adapt.profile import Stages
from adapt.progress import SILENT, Progress
from adapt.seeds import seed_everything
from adapt.workflows.evaluate_methods import Bench, Method
from adapt.workflows.evaluate_results import CurvePoint, MethodResult, Slice
from adapt.workflows.evaluate_verdict import Scores, Transfer, compare

_PRETRAINING = (("zero-shot", "training-free"), ("few-shot", "training-free-few-shot"), ("fine-tuned", "scratch"))
_FURTHER = (("fine-tuned", "training-free"),)
"""Pairs in which more than pretraining differs: shown, but no reason to say that pretraining does not help."""


@dataclass(frozen=True, eq=False)
class Ranked:
    """One method on one task.

    Attributes:
        method: which.
        ranks: float64 (cases,) from 0, ``inf`` = a miss.
        top: int64 (cases, k) catalog rows, best first, padded with -1.
    """

    method: Method
    ranks: NDArray[np.float64]
    top: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Bout:
    """What stays the same over all methods and shares of the histories.

    Attributes:
        bench: what methods are made from.
        methods: the simplest first.
        k: length of the lists.
        stages: told the time of each method.
        progress: told the methods done.
    """

    bench: Bench
    methods: Sequence[Method]
    k: int
    stages: Stages
    progress: Progress = SILENT

    @property
    def metric(self) -> str:
        """The deciding one."""
        return f"ndcg@{self.k}"


def rank_methods(
    bout: Bout, task: Task, methods: Sequence[Method], named: frozenset[str] = frozenset()
) -> tuple[dict[str, Ranked], dict[str, str]]:
    """Fit and rank methods, each from the same seed, so that none depends on those before it.

    Args:
        bout: what stays the same.
        task: what is hidden and what is known.
        methods: the simplest first.
        named: names of methods whose failure is an error.

    Returns:
        By name what was ranked, and the reason for each other method that cannot be fitted here.

    Raises:
        AdaptError: a named method cannot be fitted.
    """
    found: dict[str, Ranked] = {}
    left_out: dict[str, str] = {}
    with bout.progress.task("methods", len(methods), "methods") as advance:
        for method in methods:
            try:
                with bout.stages.stage(method.name):
                    found[method.name] = _rank(bout, method, task)
            except AdaptError as failure:
                if method.name in named:
                    raise
                left_out[method.name] = failure.message
            advance(1)
    return found, left_out


def method_results(bout: Bout, task: Task, ranked: Mapping[str, Ranked]) -> tuple[MethodResult, ...]:
    """The figures of every method, and how it stands against the best baseline and the best method."""
    scores = {name: scores_of(bout, one) for name, one in ranked.items()}
    best = max(scores.values(), key=lambda one: one.mean)
    baselines = [one for one in scores.values() if one.group == "baseline"]
    rival = max(baselines, key=lambda one: one.mean) if baselines else None
    warmth, lengths = by_warmth(task), by_history_length(task)
    results = []
    for name, one in ranked.items():
        own = scores[name]
        results.append(
            MethodResult(
                name=name,
                group=one.method.group,
                summary=one.method.summary,
                slices={label: _slice(bout, one.ranks[inside]) for label, inside in warmth.items()},
                lengths={label: _slice(bout, one.ranks[inside]) for label, inside in lengths.items()},
                lists=_lists(bout, task, one.top),
                against_baseline=None if rival is None or own is rival else compare(own, rival, bout.bench.seed),
                against_best=None if own is best else compare(own, best, bout.bench.seed),
                ranks=one.ranks,
                top=one.top,
            )
        )
    return tuple(results)


def scores_of(bout: Bout, ranked: Ranked) -> Scores:
    """The deciding metric of each user."""
    return Scores(ranked.method.name, ranked.method.group, gains_at_k(ranked.ranks, bout.k))


def learning_curve(
    bout: Bout, tasks: Mapping[float, Task], whole: Mapping[str, Ranked]
) -> tuple[tuple[CurvePoint, ...], dict[float, dict[str, Scores]]]:
    """Every method with the histories of some of the users.

    Args:
        bout: methods that learn nothing are not fitted again.
        tasks: share of the users, ascending, to the task that knows them; all with the same cases.
        whole: the methods with all histories.

    Returns:
        The points, and the deciding metric of each user by share and method.
    """
    points, found = [], {}
    for fraction, task in tasks.items():
        again = [method for method in bout.methods if method.learns and method.name in whole and fraction < 1]
        ranked, left_out = rank_methods(bout, task, again)
        kept = {name: one for name, one in whole.items() if fraction >= 1 or not one.method.learns}
        found[fraction] = {name: scores_of(bout, (ranked | kept)[name]) for name in whole if name in ranked | kept}
        intervals = {
            name: bootstrap_interval(one.values, seed=bout.bench.seed) for name, one in found[fraction].items()
        }
        points.append(CurvePoint(fraction, len(task.train), intervals, left_out))
    return tuple(points), found


def transfers_of(
    bout: Bout, whole: Mapping[str, Scores], curve: Mapping[float, Mapping[str, Scores]]
) -> tuple[Transfer, ...]:
    """What pretraining changes, with all histories and at each share of the learning curve."""
    learns = {method.name: method.learns for method in bout.methods}
    shares = {**curve, 1.0: whole}
    found = []
    for ours, theirs in (*_PRETRAINING, *_FURTHER):
        for fraction in sorted(shares):
            scores = shares[fraction]
            if ours not in scores or theirs not in scores:
                continue
            if fraction < 1 and not learns[ours] and not learns[theirs]:
                continue  # nothing changes with the histories that are known
            difference = compare(scores[ours], scores[theirs], bout.bench.seed)
            found.append(Transfer(fraction, difference, isolated=(ours, theirs) in _PRETRAINING))
    return tuple(found)


def _rank(bout: Bout, method: Method, task: Task) -> Ranked:
    seed_everything(bout.bench.seed)
    scorer = method.fit(bout.bench, task.train)(task.histories)
    found = rank_cases(
        scorer, task.histories, task.targets, task.candidates, k=bout.k, ks=(bout.k,), progress=bout.progress
    )
    return Ranked(method, found.ranks, found.top)


def _slice(bout: Bout, ranks: NDArray[np.float64]) -> Slice:
    if not len(ranks):
        return Slice(0, {})
    names = [f"{kind}@{bout.k}" for kind in ("recall", "ndcg", "mrr", "hit_rate")]
    intervals = {name: bootstrap_interval(values_of(ranks, name), seed=bout.bench.seed) for name in names}
    return Slice(len(ranks), intervals)


def _lists(bout: Bout, task: Task, top: NDArray[np.int64]) -> dict[str, float | None]:
    """What the lists are like; None where that cannot be said, for example with no known event."""
    embedded = bout.bench.embedded
    found = {
        "coverage": lists.coverage(top, task.candidates),
        "gini": lists.gini(top, task.candidates),
        "mean popularity": lists.mean_popularity(top, task.train),
        "diversity": lists.intra_list_diversity(top, embedded.embeddings, embedded.usable),
        "novelty": lists.novelty(top, task.train),
    }
    return {name: value if np.isfinite(value) else None for name, value in found.items()}

"""What an evaluation found: figures with intervals, for the screen, the report and JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adapt.data import Dataset
from adapt.evaluate.histories import HistoryLists
from adapt.evaluate.significance import Interval
from adapt.workflows.evaluate_verdict import Difference, Group, Transfer, Verdict

_TITLES = {"recall": "Recall", "ndcg": "NDCG", "mrr": "MRR", "hit_rate": "Hit rate"}


def metric_title(name: str) -> str:
    """A metric as a person reads it.

    >>> metric_title("ndcg@10")
    'NDCG@10'
    """
    kind, at, k = name.partition("@")
    return _TITLES[kind] + at + k


@dataclass(frozen=True)
class Slice:
    """One method on some of the cases.

    Attributes:
        cases: how many there are.
        metrics: by name (``"ndcg@10"``), the mean over users with its 95 % interval; empty where there is no case.
    """

    cases: int
    metrics: Mapping[str, Interval]


@dataclass(frozen=True, eq=False)
class MethodResult:
    """One method on the task.

    Attributes:
        name, group: as in the registry of methods.
        summary: what it does, in one line.
        slices: ``"overall"``, ``"warm"`` and ``"cold"`` (is the hidden item one with training events) to figures.
        lengths: range of history lengths (``"3–5"``) to figures.
        lists: coverage, Gini index, mean popularity, diversity and novelty of the lists; None where nobody can say.
        against_baseline: the difference to the best baseline on the deciding metric; None for that baseline itself.
        against_best: the same to the best method.
        ranks: float64 (cases,) from 0, ``inf`` = a miss.
        top: int64 (cases, k) catalog rows, best first, padded with -1.
    """

    name: str
    group: Group
    summary: str
    slices: Mapping[str, Slice]
    lengths: Mapping[str, Slice]
    lists: Mapping[str, float | None]
    against_baseline: Difference | None
    against_best: Difference | None
    ranks: NDArray[np.float64]
    top: NDArray[np.int64]


@dataclass(frozen=True)
class CurvePoint:
    """Every method with the histories of some of the users.

    Attributes:
        fraction: of the training users whose histories are known, from 0 to 1.
        events: training events that are known.
        methods: name to the deciding metric with its interval.
        left_out: name of a method that could not be fitted here to the reason.
    """

    fraction: float
    events: int
    methods: Mapping[str, Interval]
    left_out: Mapping[str, str]


@dataclass(frozen=True)
class CheckpointFacts:
    """Which checkpoint was evaluated, and on what it was pretrained."""

    name: str
    sha256: str
    trained_on: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Setting:
    """What was asked of the methods.

    Attributes:
        protocol: its name.
        description: in words, what is hidden and what is known.
        metric: the deciding one, ``"ndcg@10"``.
        k: length of the lists.
        cases, users: how many hidden events there are, and of how many users.
        candidates: items that can be recommended.
        cold_candidates: those without a training event.
        train_events: events that methods may learn from.
        histories: of the cases: what the user met before the hidden event.
        case_users: int64 (cases,) user numbers.
        targets: int64 (cases,) catalog rows of the hidden items.
    """

    protocol: str
    description: str
    metric: str
    k: int
    cases: int
    users: int
    candidates: int
    cold_candidates: int
    train_events: int
    histories: HistoryLists
    case_users: NDArray[np.int64]
    targets: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class EvaluationResult:
    """All that `adapt evaluate` found out.

    Attributes:
        dataset, checkpoint, setting, verdict: see their classes.
        methods: the simplest first.
        left_out: name of a method that was not evaluated to the reason.
        curve: by share of known histories, ascending; empty where it was not asked for.
        transfers: pretrained methods against the same without pretraining.
        guards: what was done so that nothing leaks, and what was found.
        caveats: what the reader should bear in mind.
        seed: of everything that is drawn.
        timings: seconds by stage.
        run: what ``run.json`` holds.
    """

    dataset: Dataset
    checkpoint: CheckpointFacts
    setting: Setting
    verdict: Verdict
    methods: tuple[MethodResult, ...]
    left_out: Mapping[str, str]
    curve: tuple[CurvePoint, ...]
    transfers: tuple[Transfer, ...]
    guards: tuple[str, ...]
    caveats: tuple[str, ...]
    seed: int
    timings: Mapping[str, float]
    run: Mapping[str, Any]

    def method(self, name: str) -> MethodResult:
        """The result of one method.

        Raises:
            KeyError: it was not evaluated.
        """
        for found in self.methods:
            if found.name == name:
                return found
        raise KeyError(name)

    def to_dict(self) -> dict[str, Any]:
        """Plain values without timings: two runs with the same seed give the same."""
        setting = self.setting
        return {
            "verdict": {
                "tone": self.verdict.tone,
                "ship": self.verdict.ship,
                "headline": self.verdict.headline,
                "sentences": list(self.verdict.sentences),
            },
            "dataset": self.dataset.name,
            "checkpoint": {
                "name": self.checkpoint.name,
                "sha256": self.checkpoint.sha256,
                "trained_on": list(self.checkpoint.trained_on),
            },
            "setting": {
                name: getattr(setting, name)
                for name in (
                    "protocol", "description", "metric", "k", "cases", "users", "candidates", "cold_candidates",
                    "train_events",
                )
            },
            "methods": [_method(found) for found in self.methods],
            "left_out": dict(self.left_out),
            "learning_curve": [
                {
                    "fraction": point.fraction,
                    "events": point.events,
                    "methods": {name: found.to_dict() for name, found in point.methods.items()},
                    "left_out": dict(point.left_out),
                }
                for point in self.curve
            ],
            "transfer": [
                {"fraction": part.fraction, "outcome": part.outcome, **_difference(part.difference)}
                for part in self.transfers
            ],
            "guards": list(self.guards),
            "caveats": list(self.caveats),
            "seed": self.seed,
        }  # fmt: skip


def _method(found: MethodResult) -> dict[str, Any]:
    return {
        "name": found.name,
        "group": found.group,
        "summary": found.summary,
        **{name: _slice(part) for name, part in found.slices.items()},
        "by_history_length": {label: _slice(part) for label, part in found.lengths.items()},
        "lists": dict(found.lists),
        "against_best_baseline": None if found.against_baseline is None else _difference(found.against_baseline),
        "against_best": None if found.against_best is None else _difference(found.against_best),
    }


def _slice(part: Slice) -> dict[str, Any]:
    return {"cases": part.cases, "metrics": {name: found.to_dict() for name, found in part.metrics.items()}}


def _difference(found: Difference) -> dict[str, Any]:
    relative = None if found.base <= 0 else found.interval.mean / found.base
    return {
        "ours": found.ours,
        "theirs": found.theirs,
        "difference": found.interval.to_dict(),
        "relative": relative,
        "significant": found.significant,
    }

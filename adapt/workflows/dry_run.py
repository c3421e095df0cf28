"""`adapt pretrain --dry-run`: what a run would take, from a few steps of the real task on the real data."""

from __future__ import annotations

import itertools
import json
import math
import statistics
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import torch
import yaml

from adapt.config import to_dict
from adapt.errors import UsageError
from adapt.machine import peak_memory
from adapt.train.log import read_log
from adapt.train.loop import LoopOptions
from adapt.train.reports import LOOP_FILE
from adapt.train.structure import Choice, StructureGrid
from adapt.workflows.output_folder import FOLDS
from adapt.workflows.recipe import Recipe

_STEPS = 6
"""Steps that are taken: the first is slower than the rest, the last one is validated."""


class Rehearsed(Protocol):
    """What a run of either stage returns."""

    @property
    def run(self) -> Mapping[str, Any]:
        """What its ``run.json`` holds."""
        ...


@dataclass(frozen=True)
class DryRun:
    """What a run would take.

    Attributes:
        parameters, trainable: numbers of weights.
        folds: times that a domain is left out.
        steps_a_fold, final_steps: optimiser steps; the final training may be shorter, as the left-out domains say.
        seconds_a_step, sequences_per_second: of the last measured steps.
        seconds: by stage; what encoding took now is in the cache for the run.
        peak_memory_bytes: of this process so far, which has encoded, stepped and validated as the run would.
        optimiser_bytes: of which the optimiser's state.
        device_memory_bytes: most that was allocated on the GPU; 0 on a CPU.
        device: that computed.
    """

    parameters: int
    trainable: int
    folds: int
    steps_a_fold: int
    final_steps: int
    seconds_a_step: float
    sequences_per_second: float
    seconds: Mapping[str, float]
    peak_memory_bytes: int
    optimiser_bytes: int
    device_memory_bytes: int
    device: str

    @property
    def total_seconds(self) -> float:
        """Of the whole run."""
        return sum(self.seconds.values())

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {**asdict(self), "total_seconds": round(self.total_seconds, 1)}


def dry_run(recipe: Recipe, rehearse: Callable[[Path, Path], Rehearsed]) -> DryRun:
    """Estimate a run.

    Args:
        recipe: of the run, of the stage ``towers`` or ``encoder``.
        rehearse: runs the stage with the recipe file and the output folder that it is given; both are temporary.

    Raises:
        UsageError: no domain is left out, so that nothing would be trained.
    """
    with tempfile.TemporaryDirectory(prefix="adapt-dry-run-") as name:
        folder = Path(name)
        (folder / "recipe.yaml").write_text(yaml.safe_dump(to_dict(shortened(recipe))), encoding="utf-8")
        result = rehearse(folder / "recipe.yaml", folder / "run")
        return _estimate(recipe, result, folder / "run")


def shortened(recipe: Recipe) -> Recipe:
    """The recipe with a few steps, one setting of the structure, and one left-out domain or group of domains."""
    loop = replace(
        recipe.loop, steps=_STEPS, stop_after=0, evaluate_every=_STEPS, patience=0, checkpoint_every=0, tracker=""
    )
    grid = {name: [values[len(values) // 2]] for name, values in to_dict(recipe.structure).items()}
    return replace(
        recipe,
        loop=loop,
        structure=StructureGrid(**grid),
        leave_out=recipe.leave_out[:1],
        mixtures=[max(recipe.mixtures)],
    )


def _estimate(recipe: Recipe, result: Rehearsed, folder: Path) -> DryRun:
    measured = [_Loop.read(path.parent) for path in sorted((folder / FOLDS).glob(f"*/{LOOP_FILE}"))]
    if not measured:
        raise UsageError(
            "expected a recipe and data sets that leave a domain out, found none: nothing would be trained",
            "Name at least one data set with ordered histories in leave_out.",
        )
    final = _Loop.read(folder) if (folder / LOOP_FILE).is_file() else measured[0]
    step = statistics.median([loop.step for loop in [*measured, final]])
    steps = min(recipe.loop.steps, recipe.loop.stop_after or recipe.loop.steps)
    spent, folds = result.run["seconds"], len(recipe.leave_out) or len(measured)
    seconds = {"encode": spent["encode"]}
    if choices := getattr(result, "structure", ()):
        seconds["structure"] = spent["structure"] * _settings(recipe.structure, choices) / len(choices)
    around = spent["left-out domains"] - sum(loop.seconds for loop in measured)
    validation = statistics.fmean(loop.validation for loop in measured)
    scale = _size(recipe.leave_out, result) / _size(recipe.leave_out[:1], result)
    a_fold = max(around, 0.0) / len(measured) + validations(recipe.loop) * len(recipe.mixtures) * validation
    seconds["left-out domains"] = folds * (steps * step + scale * a_fold)
    seconds["final training"] = steps * step
    facts = final.facts
    return DryRun(
        parameters=facts["parameters"],
        trainable=facts["trainable"],
        folds=folds,
        steps_a_fold=steps,
        final_steps=steps,
        seconds_a_step=round(step, 4),
        sequences_per_second=round(final.sequences / step, 1),
        seconds={name: round(value, 1) for name, value in seconds.items()},
        peak_memory_bytes=peak_memory(),
        optimiser_bytes=2 * 4 * facts["trainable"],  # AdamW keeps two float32 moments of each weight
        device_memory_bytes=torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0,
        device=facts["device"],
    )


@dataclass(frozen=True)
class _Loop:
    """A rehearsed training: seconds of a step, of its validation and in all, sequences a step, and ``loop.json``."""

    step: float
    validation: float
    seconds: float
    sequences: float
    facts: Mapping[str, Any]

    @classmethod
    def read(cls, folder: Path) -> _Loop:
        log = read_log(folder / "log.jsonl")
        times = [record["seconds"] for record in log]
        gaps = [after - before for before, after in itertools.pairwise(times)]
        step = statistics.median(gaps[:-1] or gaps or times)
        sequences = log[-1]["sequences_per_second"] * log[-1]["seconds"] / log[-1]["step"]
        facts = json.loads((folder / LOOP_FILE).read_text(encoding="utf-8"))
        return cls(step, max(gaps[-1] - step, 0.0) if gaps else 0.0, facts["seconds"], sequences, facts)


def validations(loop: LoopOptions) -> int:
    """How often a loop validates: every so many steps, and at its end.

    >>> validations(LoopOptions(steps=10, evaluate_every=4)), validations(LoopOptions(steps=8, evaluate_every=4))
    (3, 2)
    """
    end = min(loop.steps, loop.stop_after or loop.steps)
    return math.ceil(end / loop.evaluate_every) if loop.evaluate_every else 0


def _settings(grid: StructureGrid, choices: Sequence[Choice]) -> int:
    """Settings that the choices try in all; recency is chosen once, with the first modality."""
    values: dict[str, int] = {name: len(tried) for name, tried in to_dict(grid).items()}
    counts = [math.prod(values[name] for name in choice.names) for choice in choices]
    later = [number for number, choice in enumerate(choices) if choice.names == ("power", "recency")][1:]
    return sum(values["power"] if number in later else count for number, count in enumerate(counts))


def _size(groups: Sequence[str], result: Rehearsed) -> float:
    """Mean number of items that a fold measures; 1 where the recipe names no data set, and every one was left out."""
    data = result.run["identity"]["data"]
    sizes = [sum(data[name]["items"] for name in group.split("+")) for group in groups]
    return statistics.fmean(sizes) if sizes else 1.0

"""The encoder stage of `adapt pretrain`: a text encoder tuned on next items as far as left-out domains agree."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from adapt import ranks
from adapt.errors import CheckpointError, UsageError
from adapt.files import atomic_folder, write_sums
from adapt.hub.card import markdown_table
from adapt.model.inference import check_device
from adapt.progress import SILENT, Progress
from adapt.seeds import seed_everything
from adapt.train.loop import run_loop
from adapt.train.pretraining import FoldResult, agreed, points
from adapt.workflows.pretrain_metrics import describe_fold, fold_table
from adapt.workflows.pretrain_sources import identified, read_datasets
from adapt.workflows.recipe import Recipe
from adapt.workflows.run_folder import RunFolder, identity_of, read_folds
from adapt.workflows.tuners import Tuner, TuningTask, make_tuner


@dataclass(frozen=True, eq=False)
class TuneResult:
    """A tuned encoder.

    Attributes:
        folder: what was written.
        folds: how tuning did on each left-out domain.
        step, mixture: how far the encoder moved: the step and the share of the way.
        metrics: what ``metrics.json`` holds.
        seconds: of the whole run, with what was interrupted.
        run: what ``run.json`` holds.
    """

    folder: Path
    folds: tuple[FoldResult, ...]
    step: int
    mixture: float
    metrics: dict[str, Any]
    seconds: float
    run: Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class TuneRequest:
    """What the stage was asked: data sets, run folder, the command for the card, whether to resume, and the device."""

    datasets: tuple[str, ...]
    output: Path
    command: str
    resume: bool = False
    device: str = "cpu"


def tune_encoder(recipe: Recipe, request: TuneRequest, progress: Progress = SILENT) -> TuneResult:
    """Tune the text encoder of a recipe on several data sets and write what tuning added.

    Args:
        recipe: with the stage ``"encoder"`` and a text encoder that can be tuned.
        request: what was asked.
        progress: told every stage.

    Raises:
        UsageError: the recipe has no such encoder, or a left-out data set is not among the data sets.
        DataError: a data set is unusable.
    """
    check_device(request.device)
    seed_everything(recipe.seed)
    datasets = read_datasets(request.datasets, progress)
    names = [data.name for data in datasets]
    groups = [group.split("+") for group in recipe.leave_out]
    if unknown := [name for group in groups for name in group if name not in names]:
        raise UsageError(f"expected leave_out to name data sets of the run, found {', '.join(unknown)}")
    encoders = identified({"text": recipe.encoders["text"]}, request.device) if "text" in recipe.encoders else {}
    identity = identity_of(recipe, datasets, {name: spec.id for name, spec in encoders.items()})
    run = RunFolder.start(request.output, recipe, identity, _asked(request))
    folder = request.output / recipe.name
    if run.resumed and run.finished:
        return _finished(folder, run)
    with run.stage("encode"):
        tuner = make_tuner(recipe, datasets, progress)
    folds: list[FoldResult] = []
    for group in groups:
        with run.stage("left-out domains"):
            found = run.folds(group, lambda folder, resume: _folds(recipe, tuner, group, folder, resume, progress))  # noqa: B023
        for fold in found:
            progress.note(describe_fold(fold))
        folds += found
    step, mixture = agreed(folds)
    with run.stage("final training"):
        task = _finish(recipe, tuner, step, request, resume=run.resumed, progress=progress)
    metrics = {
        "pretraining": {
            "trained_on": [names[number] for number in _trained_on(tuner, [])],
            "steps": step,
            "share_of_the_way_from_the_untuned_encoder": mixture,
            "licences": recipe.licences,
            "notes": recipe.notes,
        },
        "run": {"command": request.command, **run.facts()},
        "left_out": [fold_table(folds, (step, mixture))] if folds else [],
    }
    if ranks.is_main():
        _write(folder, recipe, tuner, task, metrics)
    ranks.barrier()
    run.finish({"encoder": recipe.name, "step": step, "mixture": mixture})
    return TuneResult(folder, tuple(folds), step, mixture, metrics, run.seconds, run.record)


def _finished(folder: Path, run: RunFolder) -> TuneResult:
    """What a run that ended before has written."""
    try:
        metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
        result = run.record["result"]
        folds = tuple(read_folds(run.path))
        return TuneResult(folder, folds, result["step"], result["mixture"], metrics, run.seconds, run.record)
    except (OSError, ValueError, KeyError) as failure:
        raise CheckpointError(
            f"expected the tuned encoder of the finished run in {folder}, found: {failure!r}",
            "Start again without --resume.",
        ) from failure


def _asked(request: TuneRequest) -> dict[str, Any]:
    """The request as it goes into ``run.json``."""
    return {
        "datasets": list(request.datasets),
        "output": str(request.output),
        "resume": request.resume,
        "device": request.device,
    }


def _folds(
    recipe: Recipe, tuner: Tuner, group: Sequence[str], folder: Path, resume: bool, progress: Progress
) -> list[FoldResult]:
    """Tune without the domains of one group and measure it there."""
    places = {source.name: number for number, source in enumerate(tuner.sources)}
    left_out = [places[name] for name in group]
    start = {name: {"text": tuner.start(places[name])} for name in group}
    task = tuner.task(_trained_on(tuner, left_out), left_out)
    progress.note(f"Tuning without {' and '.join(group)}, to see what it does there.")
    run_loop(task, recipe.loop, folder, resume=resume, device="cpu", progress=progress)
    return [
        FoldResult(name, start[name], points(recipe.loop, [found[name] for found in task.measured])) for name in group
    ]


def _trained_on(tuner: Tuner, left_out: Sequence[int]) -> list[int]:
    """The sources that have interactions and are not left out."""
    return [n for n, source in enumerate(tuner.sources) if n not in left_out and len(source.histories.items)]


def _finish(
    recipe: Recipe, tuner: Tuner, step: int, request: TuneRequest, *, resume: bool, progress: Progress
) -> TuningTask | None:
    """Tune on all data sets for as many steps as the left-out domains agreed to."""
    if not step:
        return None
    task = tuner.task(_trained_on(tuner, []), [])
    loop = replace(recipe.loop, stop_after=step, evaluate_every=0)
    run_loop(task, loop, request.output, resume=resume, device=request.device, progress=progress)
    return task


def _write(folder: Path, recipe: Recipe, tuner: Tuner, task: TuningTask | None, metrics: dict[str, Any]) -> None:
    """The encoder's folder: what was added to which base, metrics, card and hashes."""
    share = metrics["pretraining"]["share_of_the_way_from_the_untuned_encoder"]
    with atomic_folder(folder, replace=True) as temporary:
        tuner.write(temporary, task, share)
        text = json.dumps(metrics, indent=2, ensure_ascii=False, allow_nan=False)
        (temporary / "metrics.json").write_text(text + "\n", encoding="utf-8")
        (temporary / "README.md").write_text(encoder_card(recipe.name, recipe.summary, tuner.base, metrics), "utf-8")
        write_sums(temporary)


def encoder_card(name: str, summary: str, base: str, metrics: Mapping[str, Any]) -> str:
    """The card of a tuned encoder, from its metrics."""
    pretraining, run = metrics["pretraining"], metrics["run"]
    share = pretraining["share_of_the_way_from_the_untuned_encoder"]
    facts = [
        ["Base", f"`{base}`"],
        ["Tuned on", ", ".join(pretraining["trained_on"])],
        ["Moved", f"{share:g} of the way of {pretraining['steps']} steps"],
        ["Licence", "Apache-2.0"],
        ["Made by", f"`{run['command']}`, {run['date']}, {run['seconds']:,} s on {run['machine']}"],
    ]
    parts = [f"# {name}", summary, markdown_table(["", ""], facts)]
    for table in metrics["left_out"]:
        parts += [table["caption"], markdown_table(table["columns"], table["rows"])]
    front = "---\nlicense: apache-2.0\nlibrary_name: adapt\nlanguage: en\n---\n\n"
    return front + "\n\n".join([*parts, *pretraining["licences"], *pretraining["notes"]]) + "\n"

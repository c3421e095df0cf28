"""`adapt pretrain`: the stage that a recipe names, run or only estimated."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

from adapt.errors import UsageError
from adapt.model.inference import check_device
from adapt.progress import SILENT, Advance, Progress
from adapt.workflows.dry_run import DryRun, dry_run
from adapt.workflows.in_domain import InDomainResult, train_in_domain
from adapt.workflows.pretrain import PretrainOptions, PretrainResult, command_of, pretrain
from adapt.workflows.pretrain_sources import identified
from adapt.workflows.recipe import load_recipe
from adapt.workflows.tune_encoder import TuneRequest, TuneResult, tune_encoder


def run_stage(options: PretrainOptions, progress: Progress = SILENT) -> PretrainResult | TuneResult | InDomainResult:
    """Run the stage of a recipe.

    Raises:
        UsageError: the recipe does not fit the data sets.
        DataError: a data set is unusable.
        MissingExtraError: the tracker is not installed.
    """
    check_device(options.device)
    recipe = load_recipe(options.recipe)
    if options.allow_download:  # from here on, what was fetched is found on this machine
        identified({**recipe.encoders, **recipe.structure_encoders}, options.device, allow_download=True)
    if recipe.stage == "leave-one-out":
        if options.tracker:
            raise UsageError(
                "expected a recipe of the stage towers or encoder for --tracker, found leave-one-out",
                f"Write `tracker: {options.tracker}` under `loop` in the recipe.",
            )
        return train_in_domain(options, progress)
    if recipe.stage == "encoder":
        if options.tracker:
            recipe = replace(recipe, loop=replace(recipe.loop, tracker=options.tracker))
        request = TuneRequest(
            options.datasets, Path(options.output), command_of(options), options.resume, options.device
        )
        return tune_encoder(recipe, request, progress)
    return pretrain(options, progress)


def estimate(options: PretrainOptions, progress: Progress = SILENT) -> DryRun:
    """What :func:`run_stage` would take; writes nothing but features into the cache.

    Raises:
        UsageError: the recipe is of the stage ``leave-one-out``, or leaves no domain out.
        DataError: a data set is unusable.
    """
    recipe = load_recipe(options.recipe)
    if recipe.stage == "leave-one-out":
        raise UsageError(
            "expected a recipe of the stage towers or encoder for --dry-run, found leave-one-out",
            "Such a run shows its speed from the first steps on.",
        )

    def rehearse(path: Path, folder: Path) -> PretrainResult | TuneResult:
        asked = replace(options, recipe=str(path), output=str(folder), resume=False, tracker="")
        result = run_stage(asked, _Rehearsal(progress))
        assert not isinstance(result, InDomainResult)
        return result

    towers = dry_run(replace(recipe, encoder_recipe=""), rehearse)
    if not recipe.encoder_recipe:
        return towers
    encoder = estimate(replace(options, recipe=recipe.encoder_recipe), progress)
    before = {f"encoder, {name}": value for name, value in encoder.seconds.items()}
    return replace(towers, seconds={**before, **towers.seconds})


class _Rehearsal:
    """Shows what takes time, and says nothing: what a few steps find means nothing."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def task(self, name: str, total: int | None, unit: str) -> AbstractContextManager[Advance]:
        return self._progress.task(name, total, unit)

    def note(self, message: str) -> None:
        SILENT.note(message)

    def status(self, line: str) -> None:
        self._progress.status(line)

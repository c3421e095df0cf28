"""`adapt pretrain`: a checkpoint whose towers move from their training-free start as far as left-out domains agree."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from adapt.config import config
from adapt.data import load_dataset
from adapt.data.batches import SequenceSampler
from adapt.errors import DataError, UsageError
from adapt.features.base import EncoderSpec
from adapt.features.load import load_encoder
from adapt.features.normalise import Normalisation, SourceStatistics
from adapt.files import write_json
from adapt.hub.format import FORMAT_VERSION, Checkpoint, CheckpointConfig, FeatureSpec, build_towers
from adapt.model.content import ContentTowers
from adapt.model.items import ItemFeatures
from adapt.model.towers import DualTower
from adapt.progress import SILENT, Progress
from adapt.seeds import seed_everything
from adapt.train.loop import run_loop
from adapt.train.pretraining import FoldResult, Pretraining, TowersWithLoss, agreed, interpolate, measure_views, points
from adapt.train.sources import PretrainingSource, RawFeatures, normalised, prepare_source, statistics_of
from adapt.train.structure import Choice, StructureSearch
from adapt.workflows.embedding import encode_catalog, events_of
from adapt.workflows.objectives import build_objectives
from adapt.workflows.pretrain_metrics import pretraining_metrics
from adapt.workflows.recipe import Recipe, load_recipe


@config
class PretrainOptions:
    """What `adapt pretrain` was asked; see its help."""

    recipe: str
    datasets: tuple[str, ...]
    output: str
    resume: bool = False
    device: str = "cpu"


@dataclass(frozen=True, eq=False)
class PretrainResult:
    """A finished run.

    Attributes:
        checkpoint: what was written to ``folder``.
        folder: the checkpoint folder inside the output folder.
        structure: how the structure parameters were chosen, step by step.
        folds: how training did on each left-out domain.
        step, mixture: how far the shipped towers moved from their start: the step and the share of the way.
        seconds: of the whole run.
    """

    checkpoint: Checkpoint
    folder: Path
    structure: tuple[Choice, ...]
    folds: tuple[FoldResult, ...]
    step: int
    mixture: float
    seconds: float

    @property
    def metrics(self) -> Mapping[str, Any]:
        """What ``metrics.json`` holds."""
        return self.checkpoint.metrics


@dataclass(frozen=True, eq=False)
class _Run:
    """What every stage of one run shares."""

    recipe: Recipe
    options: PretrainOptions
    progress: Progress
    sources: Sequence[PretrainingSource]
    statistics: Mapping[str, SourceStatistics]

    def build(self) -> DualTower:
        """Untrained towers, the same on every call."""
        torch.manual_seed(self.recipe.seed)
        return build_towers(self.recipe.architecture, self.arguments(), f"recipe {self.recipe.name}")

    def arguments(self) -> dict[str, Any]:
        return {**self.recipe.towers, "features": {name: part.dim for name, part in self.statistics.items()}}

    def towers(self, weights: Mapping[str, Tensor]) -> DualTower:
        towers = self.build()
        towers.load_state_dict(dict(weights))
        return towers


def pretrain(options: PretrainOptions, progress: Progress = SILENT) -> PretrainResult:
    """Pretrain a checkpoint on several data sets.

    The structure parameters are chosen on the sources; the towers start as the training-free scorer with those, are
    trained once without each left-out domain in turn, and then on all sources for as many steps, and moved as large a
    share of the way, as the left-out domains agree to (possibly none).

    Args:
        options: recipe, data sets and output folder.
        progress: told every stage.

    Raises:
        UsageError: the recipe does not fit the data sets.
        DataError: a data set is unusable.
    """
    started = time.monotonic()
    recipe = load_recipe(options.recipe)
    seed_everything(recipe.seed)
    sources, encoders = _read_sources(recipe, options, progress)
    run = _Run(recipe, options, progress, sources, statistics_of(sources, recipe.dims))
    judge = run
    if recipe.structure_encoders:
        untuned = replace(recipe, encoders={**recipe.encoders, **recipe.structure_encoders})
        judges, _ = _read_sources(untuned, options, progress)
        judge = replace(run, sources=judges, statistics=statistics_of(judges, recipe.dims))
    start, items, normalisation, choices = _start(run, judge)
    folds = tuple(_run_fold(run, start, items, left_out) for left_out in _left_out_names(run))
    step, mixture = agreed(folds)
    towers = run.towers(start)
    if step:
        task = _task(run, towers, list(range(len(sources))), items)
        loop = replace(recipe.loop, stop_after=step, evaluate_every=0)
        run_loop(task, loop, Path(options.output), resume=options.resume, device=options.device, progress=progress)
        towers.load_state_dict(interpolate(start, towers.state_dict(), mixture))
    checkpoint = Checkpoint(
        CheckpointConfig(
            format_version=FORMAT_VERSION,
            name=recipe.name,
            summary=recipe.summary,
            architecture=recipe.architecture,
            towers=run.arguments(),
        ),
        FeatureSpec(format_version=FORMAT_VERSION, encoders=encoders, normalisation=normalisation),
        towers.eval(),
        run.statistics,
        pretraining_metrics(
            recipe, [source.name for source in sources], choices, folds, (step, mixture), command_of(options)
        ),
    )
    folder = Path(options.output) / recipe.name
    checkpoint.save_pretrained(folder, replace=True)
    return PretrainResult(checkpoint, folder, tuple(choices), folds, step, mixture, time.monotonic() - started)


def command_of(options: PretrainOptions) -> str:
    """The command of a run, with names instead of paths."""
    names = " ".join(f"--dataset {Path(path).name}" for path in options.datasets)
    return f"adapt pretrain --recipe {Path(options.recipe).stem} {names}"


def _read_sources(
    recipe: Recipe, options: PretrainOptions, progress: Progress
) -> tuple[list[PretrainingSource], dict[str, EncoderSpec]]:
    """Every data set with its features, and the encoders with their identities filled in."""
    if not options.datasets:
        raise UsageError("expected at least one --dataset, found none")
    encoders = {}
    for name, spec in recipe.encoders.items():
        encoder = load_encoder(spec, device=options.device)
        encoders[name] = replace(spec, id=encoder.id, dim=encoder.dim)
    whole = FeatureSpec(format_version=FORMAT_VERSION, encoders=encoders, normalisation={})
    sources = []
    for path in options.datasets:
        data = load_dataset(path, progress=progress)
        features, _ = encode_catalog(whole, data.catalog, device=options.device, progress=progress)
        if not features:
            raise DataError(f"expected items with {' or '.join(encoders)} in {path}, found none")
        raw = {name: RawFeatures(np.asarray(part.values), np.asarray(part.present)) for name, part in features.items()}
        offsets, items = events_of(data)
        ordered = data.name not in recipe.unordered
        sources.append(
            prepare_source(data.name, raw, offsets, items, ordered=ordered, cases=recipe.cases, seed=recipe.seed)
        )
    return sources, encoders


def _start(
    run: _Run, judge: _Run
) -> tuple[dict[str, Tensor], list[ItemFeatures], dict[str, Normalisation], list[Choice]]:
    """Weights of the training-free towers, what they read of each source, the normalisation, and how it was chosen.

    The structure is chosen on the sources of ``judge``.
    """
    recipe = run.recipe
    choices: list[Choice] = []
    if isinstance(run.build(), ContentTowers):
        structure, choices = _search(judge).run(recipe.structure, run.progress)
        search = _search(run)
        items, normalisation = search.items(structure), search.normalisation(structure)
        towers: DualTower = search.towers(structure, items)
    else:  # the paper's towers learn their own projections
        settings = Normalisation(power=recipe.whitening, prior_count=recipe.prior_count)
        normalisation = dict.fromkeys(run.statistics, settings)
        items = [normalised(source, run.statistics, normalisation) for source in run.sources]
        towers = run.build()
    return {name: value.clone() for name, value in towers.state_dict().items()}, items, normalisation, choices


def _search(run: _Run) -> StructureSearch:
    def build() -> ContentTowers:
        towers = run.build()
        assert isinstance(towers, ContentTowers)
        return towers

    return StructureSearch(run.sources, run.statistics, build, run.recipe.prior_count)


def _left_out_names(run: _Run) -> list[str]:
    measurable = [source.name for source in run.sources if source.known]
    unknown = [name for name in run.recipe.leave_out if name not in measurable]
    if unknown:
        raise UsageError(f"expected leave_out to name data sets with ordered histories, found {', '.join(unknown)}")
    return run.recipe.leave_out or (measurable if len(measurable) > 1 else [])


def _task(run: _Run, towers: DualTower, numbers: Sequence[int], items: Sequence[ItemFeatures]) -> Pretraining:
    """Training on the sources of ``numbers``."""
    settings = run.recipe.objectives
    sampler = SequenceSampler(
        [run.sources[number].histories for number in numbers],
        settings.batch_size,
        towers.max_length,
        settings.negatives,
        seed=run.recipe.seed,
    )
    widths = {name: part.dim for name, part in run.statistics.items()}
    module = TowersWithLoss(towers, build_objectives(settings, widths), settings.temperature)
    if run.recipe.trainable:
        for name, parameter in towers.named_parameters():
            parameter.requires_grad_(re.match(run.recipe.trainable, name) is not None)
    return Pretraining(
        module=module,
        sampler=sampler,
        items=[items[number] for number in numbers],
        catalog_batch=settings.catalog_batch,
        modality_dropout=settings.modality_dropout,
        seed=run.recipe.seed,
    )


def _run_fold(run: _Run, start: Mapping[str, Tensor], items: Sequence[ItemFeatures], left_out: str) -> FoldResult:
    """Train without one domain and measure it there, at several steps and mixtures."""
    number = next(index for index, source in enumerate(run.sources) if source.name == left_out)
    kept = [index for index in range(len(run.sources)) if index != number]
    towers = run.towers(start)
    at_start = measure_views(towers.eval(), run.sources[number], items[number])
    task = _task(run, towers, kept, items)
    task.left_out, task.start, task.mixtures = (run.sources[number], items[number]), start, run.recipe.mixtures
    run.progress.note(f"Training without {left_out}, to see what it does there.")
    loop, folder = run.recipe.loop, Path(run.options.output) / "folds" / left_out
    run_loop(task, loop, folder, device=run.options.device, progress=run.progress)
    means = [
        {str(share): {k: float(v.mean()) for k, v in views.items()} for share, views in m.items()}
        for m in task.measured
    ]
    write_json(folder / "measured.json", {"start": {k: float(v.mean()) for k, v in at_start.items()}, "trained": means})
    return FoldResult(left_out, at_start, points(loop, task.measured))

"""`adapt pretrain`: a checkpoint whose towers move from their training-free start as far as left-out domains agree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from adapt import ranks
from adapt.config import config, to_dict
from adapt.data import Dataset
from adapt.errors import UsageError
from adapt.features.base import EncoderSpec
from adapt.features.normalise import Normalisation, SourceStatistics
from adapt.hub.format import FORMAT_VERSION, Checkpoint, CheckpointConfig, FeatureSpec, build_towers
from adapt.model.content import ContentTowers
from adapt.model.inference import check_device
from adapt.model.items import ItemFeatures
from adapt.model.towers import DualTower
from adapt.progress import SILENT, Progress
from adapt.seeds import seed_everything
from adapt.train.loop import run_loop
from adapt.train.pretraining import FoldResult, Pretraining, TowersWithLoss, agreed, interpolate, measure_views, points
from adapt.train.sources import PretrainingSource, normalised, statistics_of
from adapt.train.structure import Choice, StructureSearch, pack_structure, unpack_structure
from adapt.train.trackers import Tracker, check_tracker
from adapt.workflows.objectives import build_objectives, build_sampler, train_only
from adapt.workflows.pretrain_metrics import describe_fold, pretraining_metrics, with_encoder
from adapt.workflows.pretrain_sources import encode_sources, identified, read_datasets
from adapt.workflows.recipe import Recipe, load_recipe
from adapt.workflows.run_folder import ENCODER, STRUCTURE, RunFolder, identity_of
from adapt.workflows.tune_encoder import TuneRequest, TuneResult, tune_encoder


@config
class PretrainOptions:
    """What `adapt pretrain` was asked; see its help."""

    recipe: str
    datasets: tuple[str, ...]
    output: str
    resume: bool = False
    device: str = "cpu"
    tracker: Tracker = ""
    allow_download: bool = False


@dataclass(frozen=True, eq=False)
class PretrainResult:
    """A finished run.

    Attributes:
        checkpoint: what was written to ``folder``.
        folder: the checkpoint folder inside the output folder.
        structure: how the structure parameters were chosen, step by step.
        folds: how training did on each left-out domain.
        step, mixture: how far the shipped towers moved from their start: the step and the share of the way.
        seconds: of the whole run, with what was interrupted.
        run: what ``run.json`` holds.
    """

    checkpoint: Checkpoint
    folder: Path
    structure: tuple[Choice, ...]
    folds: tuple[FoldResult, ...]
    step: int
    mixture: float
    seconds: float
    run: Mapping[str, Any]

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
    folder: RunFolder
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
    check_device(options.device)
    recipe = load_recipe(options.recipe)
    if options.tracker:
        recipe = replace(recipe, loop=replace(recipe.loop, tracker=options.tracker))
    check_tracker(recipe.loop.tracker)
    seed_everything(recipe.seed)
    tuned = _tune(recipe, options, progress)
    datasets = read_datasets(options.datasets, progress)
    encoders = identified(_with_adapter(recipe.encoders, tuned), options.device)
    identity = identity_of(recipe, datasets, {name: spec.id for name, spec in encoders.items()})
    folder = RunFolder.start(Path(options.output), recipe, identity, to_dict(options))
    with folder.stage("encode"):
        sources = encode_sources(datasets, recipe, encoders, options.device, progress)
        run = _Run(recipe, options, progress, folder, sources, statistics_of(sources, recipe.dims))
        judge = _judge(run, datasets)
    encoders = {name: encoders[name] for name in run.statistics}  # a modality that no source has is not the towers'
    with folder.stage("structure"):
        start, items, normalisation, choices = _start(run, judge)
    names = _left_out_names(run)
    folds = tuple(_fold(run, start, items, name) for name in names)
    step, mixture = agreed(folds)
    with folder.stage("final training"):
        towers = _finish(run, start, items, (step, mixture))
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
        with_encoder(
            pretraining_metrics(
                recipe,
                [source.name for source in sources],
                choices,
                folds,
                (step, mixture),
                {"command": command_of(options), **folder.facts()},
            ),
            tuned.metrics if tuned else None,
        ),
    )
    if ranks.is_main():
        checkpoint.save_pretrained(folder.path / recipe.name, replace=True)
    folder.finish({"checkpoint": recipe.name, "step": step, "mixture": mixture})
    return PretrainResult(
        checkpoint, folder.path / recipe.name, tuple(choices), folds, step, mixture, folder.seconds, folder.record
    )


def _tune(recipe: Recipe, options: PretrainOptions, progress: Progress) -> TuneResult | None:
    """Run the encoder stage that the recipe names, in a folder of its own inside the run's."""
    if not recipe.encoder_recipe:
        return None
    request = TuneRequest(
        options.datasets, Path(options.output) / ENCODER, command_of(options), options.resume, options.device
    )
    return tune_encoder(load_recipe(recipe.encoder_recipe), request, progress)


def _with_adapter(encoders: Mapping[str, EncoderSpec], tuned: TuneResult | None) -> dict[str, EncoderSpec]:
    """The encoders, the text encoder with what the encoder stage added to it."""
    if tuned is None:
        return dict(encoders)
    return {**encoders, "text": replace(encoders["text"], adapter=str(tuned.folder.resolve()))}


def command_of(options: PretrainOptions) -> str:
    """The command of a run, with names instead of paths."""
    names = " ".join(f"--dataset {Path(path).name}" for path in options.datasets)
    return f"adapt pretrain --recipe {Path(options.recipe).stem} {names}"


def _judge(run: _Run, datasets: Sequence[Dataset]) -> _Run:
    """The run whose sources choose the structure: this one, or the same data sets under untuned encoders."""
    recipe = run.recipe
    if not recipe.structure_encoders:
        return run
    encoders = identified({**recipe.encoders, **recipe.structure_encoders}, run.options.device)
    sources = encode_sources(datasets, recipe, encoders, run.options.device, run.progress)
    return replace(run, sources=sources, statistics=statistics_of(sources, recipe.dims))


def _start(
    run: _Run, judge: _Run
) -> tuple[dict[str, Tensor], list[ItemFeatures], dict[str, Normalisation], list[Choice]]:
    """Weights of the training-free towers, what they read of each source, the normalisation, and how it was chosen.

    The structure is chosen on the sources of ``judge``.
    """
    recipe = run.recipe
    choices: list[Choice] = []
    if isinstance(run.build(), ContentTowers):
        structure, choices = run.folder.kept(
            run.folder.path / STRUCTURE,
            lambda: _search(judge).run(recipe.structure, run.progress),
            pack_structure,
            unpack_structure,
        )
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

    sketches = {name: spec.sketch for name, spec in run.recipe.encoders.items() if spec.sketch}
    return StructureSearch(run.sources, run.statistics, build, run.recipe.prior_count, sketches)


def _left_out_names(run: _Run) -> list[str]:
    measurable = [source.name for source in run.sources if source.known]
    unknown = [name for name in run.recipe.leave_out if name not in measurable]
    if unknown:
        raise UsageError(f"expected leave_out to name data sets with ordered histories, found {', '.join(unknown)}")
    return run.recipe.leave_out or (measurable if len(measurable) > 1 else [])


def _task(run: _Run, towers: DualTower, numbers: Sequence[int], items: Sequence[ItemFeatures]) -> Pretraining:
    """Training on the sources of ``numbers``."""
    settings = run.recipe.objectives
    histories = [run.sources[number].histories for number in numbers]
    sampler = build_sampler(histories, settings, towers.max_length, run.recipe.seed)
    widths = {name: part.dim for name, part in run.statistics.items()}
    module = TowersWithLoss(towers, build_objectives(settings, widths), settings.temperature)
    train_only(towers, run.recipe.trainable)
    return Pretraining(
        module=module,
        sampler=sampler,
        items=[items[number] for number in numbers],
        catalog_batch=settings.catalog_batch,
        modality_dropout=settings.modality_dropout,
        seed=run.recipe.seed,
    )


def _fold(run: _Run, start: Mapping[str, Tensor], items: Sequence[ItemFeatures], left_out: str) -> FoldResult:
    """What training without one domain does to it, as an interrupted run has kept it or as it turns out now."""
    with run.folder.stage("left-out domains"):
        done = run.folder.fold(left_out, lambda folder, resume: _run_fold(run, start, items, left_out, folder, resume))
    run.progress.note(describe_fold(done))
    return done


def _run_fold(
    run: _Run,
    start: Mapping[str, Tensor],
    items: Sequence[ItemFeatures],
    left_out: str,
    folder: Path,
    resume: bool,
) -> FoldResult:
    """Train without one domain and measure it there, at several steps and mixtures."""
    number = next(index for index, source in enumerate(run.sources) if source.name == left_out)
    kept = [index for index in range(len(run.sources)) if index != number]
    towers = run.towers(start)
    at_start = measure_views(towers.eval(), run.sources[number], items[number])
    task = _task(run, towers, kept, items)
    task.left_out, task.start, task.mixtures = (run.sources[number], items[number]), start, run.recipe.mixtures
    run.progress.note(f"Training without {left_out}, to see what it does there.")
    run_loop(task, run.recipe.loop, folder, resume=resume, device=run.options.device, progress=run.progress)
    return FoldResult(left_out, at_start, points(run.recipe.loop, task.measured))


def _finish(
    run: _Run, start: Mapping[str, Tensor], items: Sequence[ItemFeatures], moved: tuple[int, float]
) -> DualTower:
    """Train on all sources as far as the left-out domains agree to; of a run that had ended, what it had written."""
    towers, (step, mixture) = run.towers(start), moved
    if run.folder.finished:
        return Checkpoint.from_pretrained(str(run.folder.path / run.recipe.name)).towers
    if step:
        task = _task(run, towers, list(range(len(run.sources))), items)
        loop = replace(run.recipe.loop, stop_after=step, evaluate_every=0)
        resume = run.folder.resumed
        run_loop(task, loop, run.folder.path, resume=resume, device=run.options.device, progress=run.progress)
        towers.load_state_dict(interpolate(start, towers.state_dict(), mixture))
    return towers

"""Towers trained and tested on one data set, leave-one-out: what papers report as fine-tuning."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import numpy as numpy_tensors
from safetensors.torch import load_file, save

from adapt.config import to_dict
from adapt.data import Dataset, load_dataset
from adapt.data.catalog import Interactions
from adapt.errors import DataError, UsageError
from adapt.evaluate.significance import bootstrap_interval
from adapt.features.base import EncoderSpec
from adapt.features.normalise import Normalisation, SourceStatistics
from adapt.files import atomic_write, write_json
from adapt.hub.format import FORMAT_VERSION, Checkpoint, CheckpointConfig, FeatureSpec, build_towers
from adapt.model.items import ItemFeatures
from adapt.model.mmsrec import MMSRec
from adapt.progress import SILENT, Progress
from adapt.ranks import is_main
from adapt.seeds import seed_everything
from adapt.train.in_domain import (
    METRICS,
    POLICIES,
    HeldOutRanks,
    InDomain,
    rank_baselines,
    rank_held_out,
    training_source,
)
from adapt.train.loop import LoopResult, run_loop
from adapt.train.objectives.base import WeightedSum
from adapt.train.pretraining import TowersWithLoss
from adapt.train.sources import PretrainingSource, RawFeatures, normalised, statistics_of
from adapt.workflows.embedding import encode_catalog
from adapt.workflows.objectives import build_alignment, build_objectives, build_sampler, train_only
from adapt.workflows.pretrain import PretrainOptions, command_of
from adapt.workflows.recipe import Recipe, load_recipe
from adapt.workflows.run_folder import RunFolder, identity_of

_ALIGNED, _RANKS = "aligned.safetensors", "ranks.safetensors"


@dataclass(frozen=True, eq=False)
class Domain:
    """A data set with its raw features.

    Attributes:
        dataset: as it was read.
        interactions: all of them.
        features: modality -> raw features of its catalog.
        encoders: modality -> encoder with its identity, those that the data set has something for.
    """

    dataset: Dataset
    interactions: Interactions
    features: Mapping[str, RawFeatures]
    encoders: Mapping[str, EncoderSpec]

    @property
    def name(self) -> str:
        """Of the data set."""
        return self.dataset.name


@dataclass(frozen=True, eq=False)
class InDomainResult:
    """A finished run.

    Attributes:
        checkpoint: what was written to ``folder``.
        folder: the checkpoint folder inside the output folder.
        ranks: of the tested events.
        step: whose weights were kept, by validation.
        steps: that were taken.
        seconds: of the whole run, with what was interrupted.
    """

    checkpoint: Checkpoint
    folder: Path
    ranks: HeldOutRanks
    step: int
    steps: int
    seconds: float

    @property
    def metrics(self) -> Mapping[str, Any]:
        """What ``metrics.json`` holds."""
        return self.checkpoint.metrics


def read_domain(recipe: Recipe, dataset: str, *, device: str = "cpu", progress: Progress = SILENT) -> Domain:
    """Read a data set, and encode what the recipe has encoders for.

    Raises:
        DataError: it has no interactions, or none of the recipe's modalities.
    """
    data = load_dataset(dataset, progress=progress)
    if data.interactions is None:
        raise DataError(f"expected interactions in {dataset}, found a catalog alone")
    spec = FeatureSpec(format_version=FORMAT_VERSION, encoders=recipe.encoders, normalisation={})
    features, encoders = encode_catalog(spec, data.catalog, device=device, progress=progress)
    if not features:
        raise DataError(f"expected items with {' or '.join(recipe.encoders)} in {dataset}, found none")
    raw = {name: RawFeatures(np.asarray(part.values), np.asarray(part.present)) for name, part in features.items()}
    known = {name: replace(recipe.encoders[name], id=encoder.id, dim=encoder.dim) for name, encoder in encoders.items()}
    return Domain(data, data.interactions, raw, known)


def train_in_domain(options: PretrainOptions, progress: Progress = SILENT) -> InDomainResult:
    """Train on all but the last events of each user of one data set, and test on the last ones.

    Alignment comes first where the recipe says so; then the recipe's objectives, stopped by the validation event.

    Args:
        options: a recipe of the stage ``leave-one-out``, one data set, and the output folder.
        progress: told every stage.

    Raises:
        UsageError: the recipe does not fit the data set, or there is not exactly one.
        DataError: the data set is unusable.
    """
    if len(options.datasets) != 1:
        raise UsageError(
            f"expected one --dataset for a recipe of the stage leave-one-out, found {len(options.datasets)}"
        )
    recipe = load_recipe(options.recipe)
    domain = read_domain(recipe, options.datasets[0], device=options.device, progress=progress)
    return fit_domain(recipe, domain, options, progress)


def fit_domain(
    recipe: Recipe,
    domain: Domain,
    options: PretrainOptions,
    progress: Progress = SILENT,
    *,
    baselines: bool = True,
) -> InDomainResult:
    """The same on a data set that was read before, with a recipe that may not be a file; ``baselines`` beside it.

    A run that had ended and is resumed is read from its folder.
    """
    if options.tracker:
        recipe = replace(recipe, loop=replace(recipe.loop, tracker=options.tracker))
    identity = identity_of(recipe, [domain.dataset], {name: spec.id for name, spec in domain.encoders.items()})
    folder = RunFolder.start(Path(options.output), recipe, identity, to_dict(options))
    if folder.finished:
        return _finished(folder, recipe)
    seed_everything(recipe.seed)
    fit = _prepare(recipe, domain)
    with folder.stage("alignment"):
        fit.align(folder, options.device, progress)
    with folder.stage("training"):
        loop = fit.train(folder, options.device, progress)
    with folder.stage("test"):
        ranks = rank_held_out(fit.towers.eval(), fit.items, domain.interactions, recipe.test_events)
    compared = {"these towers": ranks}
    if baselines:
        with folder.stage("baselines"):
            compared |= rank_baselines(fit.whitened(), domain.interactions, recipe.test_events)
    made = {"command": command_of(options), **folder.facts()}
    checkpoint = fit.checkpoint(domain, in_domain_metrics(recipe, domain.name, compared, loop.best_step, made))
    written = folder.path / recipe.name
    if is_main():
        checkpoint.save_pretrained(written, replace=True)
        write_json(folder.path / "metrics.json", dict(checkpoint.metrics))
        with atomic_write(folder.path / _RANKS, "wb") as handle:
            handle.write(numpy_tensors.save({"users": ranks.users, **ranks.ranks}))
    folder.finish({"checkpoint": recipe.name, "step": loop.best_step, "steps": loop.steps, "skipped": ranks.skipped})
    return InDomainResult(checkpoint, written, ranks, loop.best_step, loop.steps, folder.seconds)


def _finished(folder: RunFolder, recipe: Recipe) -> InDomainResult:
    """What a run that had ended left in its folder."""
    found, result = numpy_tensors.load_file(folder.path / _RANKS), folder.record["result"]
    ranks = HeldOutRanks(found["users"], {policy: found[policy] for policy in POLICIES}, result["skipped"])
    checkpoint = Checkpoint.from_pretrained(str(folder.path / recipe.name))
    return InDomainResult(checkpoint, folder.path / recipe.name, ranks, result["step"], result["steps"], folder.seconds)


def _prepare(recipe: Recipe, domain: Domain) -> _Fit:
    """Untrained towers and what they read."""
    source = training_source(
        domain.name, domain.features, domain.interactions, recipe.test_events, recipe.cases, recipe.seed
    )
    statistics = statistics_of([source], recipe.dims)
    settings = Normalisation(power=recipe.whitening, prior_count=recipe.prior_count)
    normalisation = dict.fromkeys(statistics, settings)
    arguments = {**recipe.towers, "features": {name: part.dim for name, part in statistics.items()}}
    torch.manual_seed(recipe.seed)
    towers = build_towers(recipe.architecture, arguments, f"recipe {recipe.name}")
    if not isinstance(towers, MMSRec):
        raise UsageError(
            "expected architecture mmsrec for the stage leave-one-out, found content",
            "Towers that start as the training-free scorer are fitted to a domain by `adapt finetune`.",
        )
    train_only(towers, recipe.trainable)
    items = normalised(source, statistics, normalisation)
    return _Fit(recipe, towers, source, items, statistics, normalisation)


@dataclass(frozen=True, eq=False)
class _Fit:
    """What the two parts of a training share."""

    recipe: Recipe
    towers: MMSRec
    source: PretrainingSource
    items: ItemFeatures
    statistics: Mapping[str, SourceStatistics]
    normalisation: Mapping[str, Normalisation]

    @property
    def widths(self) -> dict[str, int]:
        return {name: part.dim for name, part in self.statistics.items()}

    def align(self, run: RunFolder, device: str, progress: Progress) -> None:
        """Train alignment alone; a resumed run that had finished it takes the weights from there."""
        first = self.recipe.alignment_first
        if first is None:
            return
        if self.towers.item_tower == "features":
            raise UsageError(
                "expected an item tower with weights to align, found item_tower features",
                "Leave alignment_first out, or choose another item_tower.",
            )
        folder = run.path / "alignment"
        if run.resumed and (folder / _ALIGNED).exists():
            self.towers.load_state_dict(load_file(folder / _ALIGNED))
            return
        task = self._task(WeightedSum([(1.0, build_alignment(self.recipe.objectives, self.widths))]))
        run_loop(task, first, folder, resume=run.resumed, device=device, progress=progress)
        if is_main():
            with atomic_write(folder / _ALIGNED, "wb") as handle:
                handle.write(save({name: value.contiguous() for name, value in self.towers.state_dict().items()}))

    def train(self, run: RunFolder, device: str, progress: Progress) -> LoopResult:
        task = self._task(build_objectives(self.recipe.objectives, self.widths))
        task.left_out = (self.source, self.items)
        return run_loop(task, self.recipe.loop, run.path, resume=run.resumed, device=device, progress=progress)

    def whitened(self) -> ItemFeatures:
        """The features as the package whitens them by default, for content-kNN."""
        return normalised(self.source, self.statistics, dict.fromkeys(self.statistics, Normalisation()))

    def checkpoint(self, domain: Domain, metrics: Mapping[str, Any]) -> Checkpoint:
        """The towers with all that is needed to use them."""
        recipe = self.recipe
        config = CheckpointConfig(
            format_version=FORMAT_VERSION,
            name=recipe.name,
            summary=recipe.summary,
            architecture=recipe.architecture,
            towers={**recipe.towers, "features": self.widths},
        )
        spec = FeatureSpec(
            format_version=FORMAT_VERSION, encoders=dict(domain.encoders), normalisation=dict(self.normalisation)
        )
        return Checkpoint(config, spec, self.towers, self.statistics, metrics)

    def _task(self, objective: WeightedSum) -> InDomain:
        settings, seed = self.recipe.objectives, self.recipe.seed
        sampler = build_sampler([self.source.histories], settings, self.towers.max_length, seed)
        module = TowersWithLoss(self.towers, objective, settings.temperature)
        return InDomain(module, sampler, [self.items], settings.catalog_batch, settings.modality_dropout, seed)


def in_domain_metrics(
    recipe: Recipe, name: str, ranks: Mapping[str, HeldOutRanks], step: int, made: Mapping[str, Any]
) -> dict[str, Any]:
    """How the towers came about and what they reach, for ``metrics.json`` and the card."""
    weights = {key: value for key, value in to_dict(recipe.objectives).items() if isinstance(value, float) and value}
    return {
        "pretraining": {
            "trained_on": [name],
            "objectives": weights,
            "alignment_first": recipe.alignment_first.steps if recipe.alignment_first else 0,
            "steps": step,
            **made,
            "notes": recipe.notes,
        },
        "left_out": [],
        "benchmarks": [in_domain_table(name, ranks, recipe.test_events)],
    }


def in_domain_table(name: str, ranks: Mapping[str, HeldOutRanks], test_events: int) -> dict[str, Any]:
    """Recall and NDCG at 10 and 50 of each scorer with 95 % intervals over users, for both policies."""
    rows = []
    for policy in POLICIES:
        for scorer, found in ranks.items():
            intervals = [bootstrap_interval(found.values(policy, metric)) for metric in METRICS]
            rows.append(
                [
                    scorer,
                    policy.removeprefix("seen items "),
                    *(f"{part.mean:.4f} [{part.low:.4f}, {part.high:.4f}]" for part in intervals),
                ]
            )
    first = next(iter(ranks.values()))
    tested = "last event" if test_events == 1 else f"last {test_events} events"
    users = len(np.unique(first.users))
    left_out = f"; {first.skipped:,} events without a usable history left out" if first.skipped else ""
    return {
        "caption": f"Trained on {name} without its held-out events: the {tested} of {users:,} users, full ranking, "
        f"95 % intervals over users{left_out}. Other scorers count events of training only; content-kNN reads the same "
        "features, whitened.",
        "columns": [
            "scorer",
            "seen items",
            *(metric.replace("recall", "Recall").replace("ndcg", "NDCG") for metric in METRICS),
        ],
        "rows": rows,
    }

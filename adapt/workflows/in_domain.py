"""Towers trained and tested on one data set, leave-one-out: what papers report as fine-tuning."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save

from adapt.config import to_dict
from adapt.data import load_dataset
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
from adapt.seeds import seed_everything
from adapt.train.in_domain import METRICS, POLICIES, HeldOutRanks, InDomain, rank_held_out, training_source
from adapt.train.loop import LoopResult, run_loop
from adapt.train.objectives.base import WeightedSum
from adapt.train.pretraining import TowersWithLoss
from adapt.train.sources import PretrainingSource, RawFeatures, normalised, statistics_of
from adapt.workflows.embedding import encode_catalog
from adapt.workflows.objectives import build_alignment, build_objectives, build_sampler
from adapt.workflows.pretrain import PretrainOptions, command_of
from adapt.workflows.recipe import Recipe, load_recipe

_ALIGNED = "aligned.safetensors"


@dataclass(frozen=True, eq=False)
class Domain:
    """A data set with its raw features.

    Attributes:
        name: of the data set.
        interactions: all of them.
        features: modality -> raw features of its catalog.
        encoders: modality -> encoder with its identity, those that the data set has something for.
    """

    name: str
    interactions: Interactions
    features: Mapping[str, RawFeatures]
    encoders: Mapping[str, EncoderSpec]


@dataclass(frozen=True, eq=False)
class InDomainResult:
    """A finished run.

    Attributes:
        checkpoint: what was written to ``folder``.
        folder: the checkpoint folder inside the output folder.
        ranks: of the tested events.
        loop: how training went.
        seconds: of the whole run.
    """

    checkpoint: Checkpoint
    folder: Path
    ranks: HeldOutRanks
    loop: LoopResult
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
    return Domain(data.name, data.interactions, raw, known)


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


def fit_domain(recipe: Recipe, domain: Domain, options: PretrainOptions, progress: Progress = SILENT) -> InDomainResult:
    """The same on a data set that was read before, with a recipe that may not be a file."""
    started, output = time.monotonic(), Path(options.output)
    seed_everything(recipe.seed)
    source = training_source(
        domain.name, domain.features, domain.interactions, recipe.test_events, recipe.cases, recipe.seed
    )
    statistics = statistics_of([source], recipe.dims)
    settings = Normalisation(power=recipe.whitening, prior_count=recipe.prior_count)
    normalisation = dict.fromkeys(statistics, settings)
    items = normalised(source, statistics, normalisation)
    arguments = {**recipe.towers, "features": {name: part.dim for name, part in statistics.items()}}
    torch.manual_seed(recipe.seed)
    towers = build_towers(recipe.architecture, arguments, f"recipe {recipe.name}")
    if not isinstance(towers, MMSRec):
        raise UsageError(
            "expected architecture mmsrec for the stage leave-one-out, found content",
            "Towers that start as the training-free scorer are fitted to a domain by `adapt finetune`.",
        )
    fit = _Fit(recipe, towers, source, items, statistics, output)
    fit.align(options, progress)
    loop = fit.train(options, progress)
    ranks = rank_held_out(towers.eval(), items, domain.interactions, recipe.test_events)
    checkpoint = Checkpoint(
        CheckpointConfig(
            format_version=FORMAT_VERSION,
            name=recipe.name,
            summary=recipe.summary,
            architecture=recipe.architecture,
            towers=arguments,
        ),
        FeatureSpec(format_version=FORMAT_VERSION, encoders=dict(domain.encoders), normalisation=normalisation),
        towers,
        statistics,
        in_domain_metrics(recipe, domain.name, ranks, loop, command_of(options)),
    )
    checkpoint.save_pretrained(output / recipe.name, replace=True)
    write_json(output / "metrics.json", dict(checkpoint.metrics))
    return InDomainResult(checkpoint, output / recipe.name, ranks, loop, time.monotonic() - started)


@dataclass(frozen=True, eq=False)
class _Fit:
    """What the two parts of a training share."""

    recipe: Recipe
    towers: MMSRec
    source: PretrainingSource
    items: ItemFeatures
    statistics: Mapping[str, SourceStatistics]
    output: Path

    @property
    def widths(self) -> dict[str, int]:
        return {name: part.dim for name, part in self.statistics.items()}

    def align(self, options: PretrainOptions, progress: Progress) -> None:
        """Train alignment alone; a resumed run that had finished it takes the weights from there."""
        if self.recipe.alignment_first is None:
            return
        folder = self.output / "alignment"
        if options.resume and (folder / _ALIGNED).exists():
            self.towers.load_state_dict(load_file(folder / _ALIGNED))
            return
        if self.towers.item_tower == "features":
            raise UsageError(
                "expected an item tower with weights to align, found item_tower features",
                "Leave alignment_first out, or choose another item_tower.",
            )
        task = self._task(WeightedSum([(1.0, build_alignment(self.recipe.objectives, self.widths))]))
        first = self.recipe.alignment_first
        run_loop(task, first, folder, resume=options.resume, device=options.device, progress=progress)
        with atomic_write(folder / _ALIGNED, "wb") as handle:
            handle.write(save({name: value.contiguous() for name, value in self.towers.state_dict().items()}))

    def train(self, options: PretrainOptions, progress: Progress) -> LoopResult:
        task = self._task(build_objectives(self.recipe.objectives, self.widths))
        task.left_out = (self.source, self.items)
        loop = self.recipe.loop
        return run_loop(task, loop, self.output, resume=options.resume, device=options.device, progress=progress)

    def _task(self, objective: WeightedSum) -> InDomain:
        settings, seed = self.recipe.objectives, self.recipe.seed
        sampler = build_sampler([self.source.histories], settings, self.towers.max_length, seed)
        module = TowersWithLoss(self.towers, objective, settings.temperature)
        return InDomain(module, sampler, [self.items], settings.catalog_batch, settings.modality_dropout, seed)


def in_domain_metrics(recipe: Recipe, name: str, ranks: HeldOutRanks, loop: LoopResult, command: str) -> dict[str, Any]:
    """How the towers came about and what they reach, for ``metrics.json`` and the card."""
    weights = {key: value for key, value in to_dict(recipe.objectives).items() if isinstance(value, float) and value}
    return {
        "pretraining": {
            "trained_on": [name],
            "objectives": weights,
            "alignment_first": recipe.alignment_first.steps if recipe.alignment_first else 0,
            "steps": loop.best_step,
            "command": command,
            "notes": recipe.notes,
        },
        "left_out": [],
        "benchmarks": [in_domain_table(name, ranks, recipe.test_events)],
    }


def in_domain_table(name: str, ranks: HeldOutRanks, test_events: int) -> dict[str, Any]:
    """Recall and NDCG at 10 and 50 with 95 % intervals over users, for both policies."""
    rows = []
    for policy in POLICIES:
        intervals = [bootstrap_interval(ranks.values(policy, metric)) for metric in METRICS]
        rows.append([policy, *(f"{part.mean:.4f} [{part.low:.4f}, {part.high:.4f}]" for part in intervals)])
    tested = "last event" if test_events == 1 else f"last {test_events} events"
    users = len(np.unique(ranks.users))
    left_out = f"; {ranks.skipped:,} events without a usable history left out" if ranks.skipped else ""
    return {
        "caption": f"Trained on {name} without its held-out events: the {tested} of {users:,} users, full ranking, "
        f"95 % intervals over users{left_out}.",
        "columns": ["policy", *(metric.replace("recall", "Recall").replace("ndcg", "NDCG") for metric in METRICS)],
        "rows": rows,
    }

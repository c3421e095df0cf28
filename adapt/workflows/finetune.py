"""`adapt finetune`: towers adapted to one data set, and how to recommend for it, chosen on held-back events."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from adapt import ranks
from adapt.config import config, to_dict
from adapt.data import ColumnOptions, Dataset, load_dataset
from adapt.data.catalog import Interactions
from adapt.errors import DataError
from adapt.files import sha256_bytes
from adapt.hub.format import Checkpoint
from adapt.machine import return_memory
from adapt.model.content import ContentTowers
from adapt.model.inference import check_device
from adapt.progress import SILENT, Progress
from adapt.seeds import seed_everything
from adapt.workflows import training_free
from adapt.workflows.embedding import EmbeddedCatalog, embed_catalog
from adapt.workflows.few_shot import remember
from adapt.workflows.finetune_settings import Adaptation, Kind, TrainingSettings
from adapt.workflows.finetune_task import TrainingData, check_adaptation
from adapt.workflows.finetune_towers import Trained, train_towers
from adapt.workflows.finetune_validation import Comparison, ValidationSplit, compare, hold_back
from adapt.workflows.finetune_write import RunParts, write_run
from adapt.workflows.finetuned import Tower
from adapt.workflows.output_folder import TRAININGS
from adapt.workflows.recommender import ZeroShotRecommender, index_of
from adapt.workflows.run import BASE, Run
from adapt.workflows.run_facts import hash_inputs
from adapt.workflows.run_folder import RunFolder

FEW_EVENTS = 100
"""Validation events below which their figures are said to be rough."""


@config
class FinetuneOptions:
    """How a data set is fine-tuned on.

    Attributes:
        kind: ``"lora"``, ``"full"`` or ``"head"``; see :class:`~adapt.workflows.finetune_settings.Adaptation`.
        rank, alpha: of the low-rank updates.
        item_residual: ``"on"``, ``"off"``, or ``"auto"``: on, unless the towers rank the validation events no worse
            with their residuals left out; they are then trained without as well, and the better training is kept.
        refit: whether the chosen training is repeated with the validation events, for as many steps.
        training: how it is trained.
        seed: of everything random.
        device: where encoders and towers run.
        allow_download: whether an encoder may be fetched from the Hub.
    """

    kind: Kind = "lora"
    rank: int = 8
    alpha: float = 16.0
    item_residual: Literal["auto", "on", "off"] = "auto"
    refit: bool = True
    training: TrainingSettings = field(default_factory=TrainingSettings)
    seed: int = 0
    device: str = "cpu"
    allow_download: bool = False


@config
class FinetuneRequest:
    """What `adapt finetune` was asked; see its help."""

    dataset: str
    output: str
    checkpoint: str = "adapt-mini"
    resume: bool = False
    strict: bool = False
    columns: ColumnOptions = field(default_factory=ColumnOptions)
    options: FinetuneOptions = field(default_factory=FinetuneOptions)


def finetune_run(request: FinetuneRequest, progress: Progress = SILENT) -> Run:
    """Read a checkpoint and a data set, and fine-tune.

    Raises:
        UsageError, DataError, CheckpointError: as :func:`finetune`, and where one of the two cannot be read.
    """
    options = request.options
    check_device(options.device)
    named = request.checkpoint != training_free.NAME
    checkpoint = Checkpoint.from_pretrained(request.checkpoint, device=options.device) if named else None
    dataset = load_dataset(
        request.dataset,
        columns=request.columns,
        strict=request.strict,
        allow_download=options.allow_download,
        progress=progress,
    )
    return finetune(
        checkpoint or training_free.training_free(dataset),
        dataset,
        options,
        Path(request.output),
        reference=request.checkpoint,
        resume=request.resume,
        progress=progress,
    )


def finetune(
    checkpoint: Checkpoint,
    dataset: Dataset,
    options: FinetuneOptions | None = None,
    output: str | Path | None = None,
    *,
    reference: str = "",
    resume: bool = False,
    progress: Progress = SILENT,
) -> Run:
    """Fine-tune a checkpoint on a data set's histories, and choose how to recommend.

    The last event of every user is held back, or several where users are few and histories long; zero-shot, few-shot,
    the towers trained on the other events, and all of them fused are measured on them, and the best one by NDCG@10 is
    what the run recommends with (see :class:`Comparison`). Then the towers are trained again with those events.

    Args:
        checkpoint: the base; left as it is.
        dataset: with interactions.
        options: how; None = the defaults.
        output: the run's folder; None = a temporary one.
        reference: where the base was read from; empty = its name.
        resume: continue what was stopped in that folder.
        progress: told every stage.

    Returns:
        The run, as it is read back from its folder.

    Raises:
        UsageError: the towers cannot be adapted so; or what is resumed had other options or data.
        DataError: there are too few interactions to train on and to judge by.
        CheckpointError: an encoder does not fit the checkpoint; or what is resumed is damaged.
        OutputError: the folder cannot be written.
    """
    options = options or FinetuneOptions()
    seed_everything(options.seed)
    if dataset.interactions is None or not len(dataset.interactions):
        raise DataError(
            f"expected interactions in {dataset.name} to fine-tune on, found items only",
            "Add interactions, or use `adapt zero-shot`, which needs none.",
        )
    check_adaptation(checkpoint.towers, adaptation_of(checkpoint, options))
    folder = Path(ranks.agree(str(output if output is not None else tempfile.mkdtemp(prefix="adapt-run-"))))
    asked = {"options": to_dict(options), "checkpoint": reference, "resume": resume}
    run = RunFolder.begin(folder, "finetune", _identity(checkpoint, dataset, options), asked, options.seed)
    if run.finished:
        return _read(folder, checkpoint, options.device)
    material = _prepare(run, checkpoint, dataset, options, progress)
    options = replace(options, training=options.training.suited(material.split.train))
    trained = _train(run, material, options, progress)
    adaptation, validated = max(trained.values(), key=lambda pair: pair[1].best)
    return_memory()
    with run.stage("validation"):
        comparison = _compare(material, validated, options, progress)
    shipped = validated
    if options.refit:
        with run.stage("refit"):
            shipped = _refit(run, material, adaptation, options, validated, progress)
    if ranks.is_main():
        facts = {
            "trainings": {
                **{name: describe(part) for name, (_, part) in trained.items()},
                **({"refit": describe(shipped)} if options.refit else {}),
            },
            "refitted": options.refit,
            "caveats": caveats(material.split, material.interactions),
        }
        write_run(
            run,
            RunParts(
                checkpoint=checkpoint,
                reference=reference or checkpoint.config.name,
                adaptation=adaptation,
                embedded=material.embedded,
                dataset=dataset,
                split=material.split,
                trained=shipped,
                comparison=comparison,
                settings=options.training,
                facts=facts,
            ),
        )
    ranks.barrier()
    return _read(folder, checkpoint, options.device)


def _read(folder: Path, checkpoint: Checkpoint, device: str) -> Run:
    """The run of a folder, on the base that was fine-tuned; a base that is kept in the run may have been written anew,
    with another fingerprint, and is read from there."""
    return Run.load(folder, checkpoint=None if (folder / BASE).is_dir() else checkpoint, device=device)


def adaptation_of(checkpoint: Checkpoint, options: FinetuneOptions) -> Adaptation:
    """What is trained first: with the item residual, unless it is not wanted or the towers cannot have one."""
    possible = isinstance(checkpoint.towers, ContentTowers)
    wanted = options.item_residual == "on" or (options.item_residual == "auto" and possible)
    return Adaptation(kind=options.kind, rank=options.rank, alpha=options.alpha, residual=wanted)


def describe(trained: Trained) -> dict[str, Any]:
    """A training for ``run.json``."""
    norms = trained.residual.norms().numpy() if trained.residual is not None else None
    return {
        "trainable_parameters": trained.parameters,
        "steps": trained.steps,
        "steps_an_epoch": trained.steps_an_epoch,
        "best_epoch": round(trained.best_epoch, 2),
        "seconds": round(trained.seconds, 1),
        "seconds_an_epoch": round(trained.seconds_an_epoch, 2),
        "validation_ndcg@10": trained.curve,
        "validation_ndcg@10_without_residual": trained.without_residual,
        "temperature": trained.temperature,
        "residual_norm": None
        if norms is None or not len(norms)
        else {"mean": float(norms.mean()), "p95": float(np.quantile(norms, 0.95)), "max": float(norms.max())},
    }


def caveats(split: ValidationSplit, interactions: Interactions) -> list[str]:
    """What limits how far the figures can be trusted, in sentences."""
    found = []
    if len(split) < FEW_EVENTS:
        found.append(
            f"Only {len(split)} events could be held back: the figures are rough, and another method may be the best."
        )
    users, events = np.unique(split.users, return_counts=True)
    if events.max() > 1:
        found.append(
            f"Users are few: of {len(users)} the last events were held back, up to {events.max()} of each. Events of "
            "one user are alike, so the intervals are narrower than they would be for as many users."
        )
    if interactions.timestamps is None:
        found.append(
            "There are no timestamps: the order of the file is taken for the order of events, and the last event of a "
            "user is only the last one in the file."
        )
    cold = int((~split.warm[split.targets]).sum())
    if cold:
        found.append(f"{cold:,} of {len(split):,} held-back events are of items that no training event has (cold).")
    return found


def _identity(checkpoint: Checkpoint, dataset: Dataset, options: FinetuneOptions) -> dict[str, Any]:
    """All that decides what a run ends with."""
    interactions = dataset.interactions
    assert interactions is not None
    events = sha256_bytes(
        "\n".join((*dataset.catalog.ids, "", *interactions.user_ids)).encode()
        + interactions.offsets.tobytes()
        + interactions.items.tobytes()
    )
    settings = to_dict(options)
    del settings["allow_download"]
    return {
        "options": settings,
        "checkpoint": {"name": checkpoint.config.name, "sha256": checkpoint.sha256},
        "data": {
            "name": dataset.name,
            "items": len(dataset.catalog),
            "users": interactions.n_users,
            "interactions": len(interactions),
            "events_sha256": events,
            "sha256": hash_inputs(dataset),
        },
    }


@dataclass(frozen=True, eq=False)
class _Material:
    """What all parts of a fine-tune work on."""

    checkpoint: Checkpoint
    dataset: Dataset
    interactions: Interactions
    embedded: EmbeddedCatalog
    split: ValidationSplit


def _prepare(
    run: RunFolder, checkpoint: Checkpoint, dataset: Dataset, options: FinetuneOptions, progress: Progress
) -> _Material:
    assert dataset.interactions is not None
    with run.stage("encode"):
        embedded = embed_catalog(
            checkpoint,
            dataset.catalog,
            allow_download=options.allow_download,
            device=options.device,
            progress=progress,
        )
    split = hold_back(dataset.interactions, embedded.usable, options.training.validation_events, options.seed)
    return _Material(checkpoint, dataset, dataset.interactions, embedded, split)


def _train(
    run: RunFolder, material: _Material, options: FinetuneOptions, progress: Progress
) -> dict[str, tuple[Adaptation, Trained]]:
    """Train on all but the held-back events; without the item residual too, if validation is no worse without it."""
    first = adaptation_of(material.checkpoint, options)
    trained = {"towers": (first, _train_one(run, material, first, options, progress))}
    towers = trained["towers"][1]
    if options.item_residual == "auto" and (towers.without_residual or 0.0) >= towers.best:
        plain = replace(first, residual=False)
        trained["without residual"] = (plain, _train_one(run, material, plain, options, progress))
    return trained


def _train_one(
    run: RunFolder, material: _Material, adaptation: Adaptation, options: FinetuneOptions, progress: Progress
) -> Trained:
    name = f"{adaptation.kind} with item residual" if adaptation.residual else adaptation.kind
    with run.stage("training"):
        trained = train_towers(
            material.checkpoint.towers,
            TrainingData(material.embedded.items, material.split.train, material.split.held_back()),
            adaptation,
            options.training,
            run.path / TRAININGS / name.replace(" ", "-"),
            seed=options.seed,
            device=options.device,
            resume=run.resumed,
            progress=progress,
        )
    progress.note(
        f"{name}: {trained.parameters:,} trainable parameters, {trained.seconds_an_epoch:.1f} s an epoch, best NDCG@10 "
        f"on validation {trained.best:.4f} after epoch {trained.best_epoch:.0f}"
    )
    return trained


def _refit(
    run: RunFolder,
    material: _Material,
    adaptation: Adaptation,
    options: FinetuneOptions,
    validated: Trained,
    progress: Progress,
) -> Trained:
    """Train again with the held-back events, for as many steps as validation chose."""
    return train_towers(
        material.checkpoint.towers,
        TrainingData(material.embedded.items, material.interactions),
        adaptation,
        options.training,
        run.path / TRAININGS / "refit",
        like=validated,
        seed=options.seed,
        device=options.device,
        resume=run.resumed,
        progress=progress,
    )


def _compare(material: _Material, trained: Trained, options: FinetuneOptions, progress: Progress) -> Comparison:
    """Measure every method on the held-back events."""
    known = replace(material.dataset, interactions=material.split.train)
    index = index_of(known, material.embedded, "exact")
    zero = ZeroShotRecommender(material.checkpoint, known, material.embedded, index)
    few = remember(zero, material.split.train, seed=options.seed, progress=progress)
    tower = Tower(trained.towers, trained.residual).recommender(material.checkpoint, known, material.embedded, "exact")
    return compare(zero, few, tower, material.split, seed=options.seed, progress=progress)

"""One training of a fine-tune: which parameters move, how, and for how long."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from adapt import adapters
from adapt.config import config
from adapt.data.batches import SequenceSampler, SequenceSource
from adapt.data.catalog import Interactions
from adapt.errors import CheckpointError, UsageError
from adapt.files import atomic_write
from adapt.machine import is_main_process
from adapt.model.content import ContentTowers
from adapt.model.inference import embed_items
from adapt.model.items import ItemFeatures
from adapt.model.residual import ItemResidual, used_columns
from adapt.model.towers import DualTower
from adapt.progress import SILENT, Progress
from adapt.train.accelerator import wait_for_everyone
from adapt.train.finetuning import (
    BESIDE_LORA,
    HEAD,
    FineTunedTowers,
    FineTuning,
    HeldBackEvents,
    make_sampler,
    train_only,
    trains_items,
)
from adapt.train.loop import LoopOptions, ParameterGroup, run_loop
from adapt.train.records import read_record, write_record

Kind = Literal["lora", "full", "head"]
_WEIGHTS, _RESULT = "weights.safetensors", "result.json"


@config
class TrainingSettings:
    """How towers are fine-tuned; the defaults were chosen on validation events of three data sets, never on their last.

    Attributes:
        epochs: length of the schedule, which early stopping may end sooner; 0 = by how often items are met, since a
            vector for each item learns what there is in fewer passes where every pass shows the item more often:
            ``20 / sqrt(events an item)``, between 3 and 9.
        patience: epochs without a better validation before training stops.
        targets: supervised places a batch.
        negatives: candidates drawn uniformly, beside the targets of the batch.
        learning_rate: of the map from a history to the next item, along a warm-up and half a cosine.
        tower_rate: of everything else in the towers, as a multiple of it: what pretraining has found moves slowly.
        scalar_rate: of the recency and the temperature, as a multiple of it.
        residual_rate: of the item residual, as a multiple of it.
        residual_epsilon: of its AdamW; above the usual 1e-8, so that items that few people met move less.
        residual_penalty: on the squared length of the residuals that a batch reads, per supervised place.
        residual_norm: longest residual, where an item's content has length 1; 0 = no bound.
        weight_decay: of matrices.
        temperature: of the softmax, at the start.
        warmup: share of the steps over which the rate rises.
        validation_events: events that early stopping goes by at most, drawn at random.
    """

    epochs: int = 0
    patience: int = 2
    targets: int = 1024
    negatives: int = 1024
    learning_rate: float = 1e-3
    tower_rate: float = 0.2
    scalar_rate: float = 10.0
    residual_rate: float = 1.0
    residual_epsilon: float = 1e-5
    residual_penalty: float = 2.0
    residual_norm: float = 1.0
    weight_decay: float = 0.01
    temperature: float = 0.07
    warmup: float = 0.1
    validation_events: int = 10_000

    def __post_init__(self) -> None:
        for name, least in (("epochs", 0), ("targets", 1)):
            if getattr(self, name) < least:
                raise UsageError(f"expected {name} of at least {least}, found {getattr(self, name)}")
        for name in ("learning_rate", "temperature"):
            if getattr(self, name) <= 0:
                raise UsageError(f"expected {name} above 0, found {getattr(self, name)}")

    def suited(self, train: Interactions) -> TrainingSettings:
        """The same with a number of epochs that suits the training events, where none was given.

        >>> events = Interactions(("a", "b"), np.array([0, 50, 100]), np.zeros(100, np.int32))
        >>> TrainingSettings().suited(events).epochs, TrainingSettings(epochs=7).suited(events).epochs
        (3, 7)
        """
        if self.epochs:
            return self
        often = len(train) / max(1, len(np.unique(train.items)))
        return replace(self, epochs=int(np.clip(round(20 / max(often, 1.0) ** 0.5), 3, 9)))


@config
class Adaptation:
    """What is trained.

    Attributes:
        kind: ``"lora"``: low-rank updates of the towers' projections, and the recency; ``"full"``: the towers;
            ``"head"``: only the map from a history to the next item, and the recency.
        rank: of the updates, for ``"lora"``.
        alpha: their scale: an update is multiplied by ``alpha / rank``.
        residual: whether warm items get a residual.
    """

    kind: Kind = "lora"
    rank: int = 8
    alpha: float = 16.0
    residual: bool = True


@dataclass(frozen=True, eq=False)
class TrainingData:
    """What a training reads.

    Attributes:
        items: what the towers read of the catalog.
        known: the events that are trained on.
        held_back: the events that early stopping goes by; None = the schedule is followed to the end.
    """

    items: ItemFeatures
    known: Interactions
    held_back: HeldBackEvents | None = None


@dataclass(frozen=True, eq=False)
class Trained:
    """A training that has ended.

    Attributes:
        towers: with their adapter, in eval mode.
        residual: of warm items, or None.
        warm: bool (items,), the items with a training event.
        parameters: how many numbers were trained, those of the residual among them.
        steps: that were taken; ``best_step``: whose weights were kept; ``steps_an_epoch``.
        seconds: of the loop.
        curve: mean NDCG@10 of each validation.
        without_residual: that of the kept towers if their residual is left out; None = there is none.
        temperature: at the end.
    """

    towers: DualTower
    residual: ItemResidual | None
    warm: Tensor
    parameters: int
    steps: int
    best_step: int
    steps_an_epoch: int
    seconds: float
    curve: list[float] = field(default_factory=list)
    without_residual: float | None = None
    temperature: float = 0.0

    @property
    def best(self) -> float:
        """The best mean NDCG@10 on validation."""
        return max(self.curve)

    @property
    def best_epoch(self) -> float:
        """Whose weights were kept, in epochs."""
        return self.best_step / self.steps_an_epoch

    @property
    def seconds_an_epoch(self) -> float:
        """Validation included."""
        return self.seconds / max(1e-9, self.steps / self.steps_an_epoch)


def beside_lora(towers: DualTower) -> str:
    """The parameters that are trained as they are beside the low-rank updates, as a regular expression."""
    return _of_class(BESIDE_LORA, towers)


def _of_class(patterns: Mapping[type, str], towers: DualTower) -> str:
    return next((pattern for kind, pattern in patterns.items() if isinstance(towers, kind)), "")


def check_adaptation(towers: DualTower, adaptation: Adaptation) -> None:
    """Make sure that the towers can be adapted so.

    Raises:
        UsageError: a residual is asked for on towers whose user tower does not read item embeddings; or the rank is
            below 1.
    """
    if adaptation.residual and not isinstance(towers, ContentTowers):
        raise UsageError(
            "expected towers of the architecture content for an item residual, found mmsrec, whose user tower reads "
            "features and no item embeddings",
            "Use --no-item-residual, or another checkpoint.",
        )
    if adaptation.kind == "lora" and adaptation.rank < 1:
        raise UsageError(f"expected a LoRA rank of at least 1, found {adaptation.rank}", "8 is the default.")


def trainable_towers(base: DualTower, adaptation: Adaptation, seed: int) -> DualTower:
    """A copy of the towers of which only what is to be adapted is trained."""
    torch.manual_seed(seed)
    towers = copy.deepcopy(base)
    if adaptation.kind == "lora":
        adapters.attach(towers, rank=adaptation.rank, alpha=adaptation.alpha, beside=beside_lora(towers))
    else:
        train_only(towers, _of_class(HEAD, towers) if adaptation.kind == "head" else r".*")
    return towers


def train_towers(
    base: DualTower,
    data: TrainingData,
    adaptation: Adaptation,
    settings: TrainingSettings,
    folder: Path,
    *,
    like: Trained | None = None,
    seed: int = 0,
    device: str = "cpu",
    resume: bool = False,
    progress: Progress = SILENT,
) -> Trained:
    """Fine-tune towers on one data set's histories.

    Args:
        base: left as they are.
        data: what is read.
        adaptation: what is trained.
        settings: how.
        folder: receives the log, the state and, at the end, the weights; of a training that has ended there and is
            resumed, they are read.
        like: a training whose schedule is followed as far as its best step; None = until validation says.
        seed: of everything random.
        device: where to train.
        resume: continue what is in the folder.
        progress: told each step.

    Raises:
        UsageError: the towers cannot be adapted so.
        DataError: no history has two usable items.
        CheckpointError: what is to be resumed is damaged.
    """
    check_adaptation(base, adaptation)
    settings = settings.suited(data.known)
    task, warm = _task(base, data, adaptation, settings, seed)
    each = task.sampler.batches()
    loop = LoopOptions(
        steps=settings.epochs * (each if like is None else like.steps_an_epoch),
        learning_rate=settings.learning_rate,
        warmup=settings.warmup,
        clip=0.0,
        evaluate_every=each if data.held_back is not None and like is None else 0,
        patience=settings.patience,
        checkpoint_every=each,
        stop_after=0 if like is None else like.best_step,
        seed=seed,
    )
    module = task.module
    if resume and (folder / _RESULT).is_file():
        record = read_record(folder / _RESULT)
        _put_back(module, folder / _WEIGHTS)
    else:
        result = run_loop(task, loop, folder, resume=resume, device=device, progress=progress)
        record = {
            "steps": result.steps,
            "best_step": result.best_step,
            "seconds": result.seconds,
            "curve": [float(values.mean()) for values in task.measured],
            "without_residual": _without_residual(task) if task.measured else None,
        }
        if is_main_process():
            weights = {name: value.detach().cpu().contiguous() for name, value in _trained(module).items()}
            with atomic_write(folder / _WEIGHTS, "wb") as handle:
                handle.write(save(weights))
            write_record(folder / _RESULT, record)
        wait_for_everyone()
    return Trained(
        towers=module.towers.eval().cpu(),
        residual=None if module.residual is None else module.residual.cpu(),
        warm=warm,
        parameters=sum(value.numel() for value in _trained(module).values()),
        steps_an_epoch=each,
        temperature=float(module.log_temperature.detach().exp()),
        **record,
    )


def _task(
    base: DualTower, data: TrainingData, adaptation: Adaptation, settings: TrainingSettings, seed: int
) -> tuple[FineTuning, Tensor]:
    towers = trainable_towers(base, adaptation, seed)
    usable = data.items.any_present.numpy()
    source = SequenceSource("known", len(usable), data.known.offsets, data.known.items, usable)
    sampler: SequenceSampler = make_sampler(source, towers, settings.targets, settings.negatives, seed)
    warm = torch.zeros(len(usable), dtype=torch.bool)
    warm[torch.from_numpy(data.known.items).long()] = True
    warm &= data.items.any_present
    content = columns = residual = None
    if isinstance(towers, ContentTowers):
        content = torch.from_numpy(embed_items(base.eval(), data.items, usable))
        columns = used_columns(content, towers.dim)
        if adaptation.residual:
            residual = ItemResidual(warm, used_columns(content, towers.inner), settings.residual_norm)
    kept = None if trains_items(towers) else content
    module = FineTunedTowers(towers, residual, settings.temperature, settings.residual_penalty, columns, kept)
    return FineTuning(module, sampler, data.items, _groups(module, settings), data.held_back), warm


def _without_residual(task: FineTuning) -> float | None:
    if task.held_back is None or task.module.residual is None:
        return None
    return float(task.gains(task.held_back, None).mean())


def _groups(module: FineTunedTowers, settings: TrainingSettings) -> list[ParameterGroup]:
    """Matrices are decayed, scalars move faster, the residual has an epsilon of its own and a penalty instead."""
    pattern = _of_class(HEAD, module.towers)
    trained = [(name, value) for name, value in module.towers.named_parameters() if value.requires_grad]
    head = [value for name, value in trained if re.fullmatch(pattern, name) and value.ndim]
    others = [value for name, value in trained if not re.fullmatch(pattern, name) and value.ndim]
    scalars = [*(value for _, value in trained if not value.ndim), module.log_temperature]
    groups = [
        ParameterGroup([p for p in head if p.ndim > 1], weight_decay=settings.weight_decay),
        ParameterGroup([p for p in head if p.ndim == 1]),
        ParameterGroup([p for p in others if p.ndim > 1], settings.tower_rate, settings.weight_decay),
        ParameterGroup([p for p in others if p.ndim == 1], settings.tower_rate),
        ParameterGroup(scalars, settings.scalar_rate),
    ]
    if module.residual is not None:
        groups.append(
            ParameterGroup([module.residual.delta], settings.residual_rate, epsilon=settings.residual_epsilon)
        )
    return [group for group in groups if group.parameters]


def _trained(module: FineTunedTowers) -> dict[str, Tensor]:
    return {name: value for name, value in module.named_parameters() if value.requires_grad}


def _put_back(module: FineTunedTowers, path: Path) -> None:
    """The weights of a training that has ended."""
    try:
        found = load_file(path)
    except (OSError, SafetensorError) as failure:
        raise CheckpointError(
            f"expected the weights of a training in {path}, found: {failure}", "Start again without --resume."
        ) from failure
    own = _trained(module)
    if {name: value.shape for name, value in own.items()} != {name: value.shape for name, value in found.items()}:
        raise CheckpointError(
            f"expected the weights in {path} to fit the towers, found others", "Start again without --resume."
        )
    with torch.no_grad():
        for name, value in own.items():
            value.copy_(found[name])

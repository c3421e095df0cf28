"""One training of a fine-tune: for how long, and what it comes to."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from adapt import ranks
from adapt.errors import CheckpointError
from adapt.files import atomic_write
from adapt.model.residual import ItemResidual
from adapt.model.towers import DualTower
from adapt.progress import SILENT, Progress
from adapt.train.finetuning import FineTunedTowers, FineTuning
from adapt.train.loop import LoopOptions, run_loop
from adapt.train.records import read_record, write_record
from adapt.workflows.finetune_settings import Adaptation, TrainingSettings
from adapt.workflows.finetune_task import Setup, TrainingData, check_adaptation

_WEIGHTS, _RESULT = "weights.safetensors", "result.json"


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
    setup = Setup.of(base, data, adaptation, settings, seed)
    task = setup.task
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
        if ranks.is_main():
            weights = {name: value.detach().cpu().contiguous() for name, value in _trained(module).items()}
            with atomic_write(folder / _WEIGHTS, "wb") as handle:
                handle.write(save(weights))
            write_record(folder / _RESULT, record)
        record = ranks.agree(record)
    towers, residual = setup.widened()
    return Trained(
        towers=towers,
        residual=residual,
        warm=setup.warm,
        parameters=sum(value.numel() for value in _trained(module).values()),
        steps_an_epoch=each,
        temperature=float(module.log_temperature.detach().exp()),
        **record,
    )


def _without_residual(task: FineTuning) -> float | None:
    if task.held_back is None or task.module.residual is None:
        return None
    return float(task.gains(task.held_back, None).mean())


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

"""A training state on disk: whole or not at all, and read back without running code."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from adapt.errors import CheckpointError
from adapt.files import atomic_folder, sha256_file
from adapt.train.records import read_record, write_record

_STATE = "state"
_MEASURED = "measured.json"
_STEP = "step-{:09}"


@dataclass(frozen=True)
class TrainingState:
    """Where a run stands.

    Attributes:
        step: number of optimiser steps that were taken.
        metrics: of the loop: the best validation metric, the step it was reached at, evaluations since.
        measured: what the task's validations found.
    """

    step: int
    metrics: dict[str, Any]
    measured: list[Any] = field(default_factory=list)


def save_state(
    folder: Path,
    state: TrainingState,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    kept: Mapping[str, dict[str, Tensor]],
) -> None:
    """Write the state of a run into ``folder/state``; the one before goes only when this one is whole.

    ``kept`` holds further sets of weights by name (the best so far, a moving average); empty ones are not written.
    Weights are safetensors, counters JSON. The optimiser's state is a torch file: it never leaves this machine, and is
    read back by its sha256 and with ``weights_only=True``.
    """
    written_to = folder / _STATE / _STEP.format(state.step)
    with atomic_folder(written_to, replace=True) as temporary:
        save_file(
            {name: value.contiguous() for name, value in model.state_dict().items()}, temporary / "model.safetensors"
        )
        for kind, weights in kept.items():
            if weights:
                save_file(
                    {name: value.contiguous() for name, value in weights.items()}, temporary / f"{kind}.safetensors"
                )
        torch.save(optimizer.state_dict(), temporary / "optimizer.local.pt")
        write_record(temporary / _MEASURED, state.measured)
        written = {path.name: sha256_file(path) for path in sorted(temporary.iterdir())}
        text = json.dumps({"step": state.step, "metrics": state.metrics, "sha256": written}, indent=2)
        (temporary / "state.json").write_text(text + "\n", encoding="utf-8")
    for other in written_to.parent.iterdir():  # older states, and what a killed write left
        if other != written_to:
            shutil.rmtree(other, ignore_errors=True)


def has_state(folder: Path) -> bool:
    """Is there a run to resume in ``folder``?"""
    return _newest(folder) is not None


def _newest(folder: Path) -> Path | None:
    """The folder of the last state that was written whole."""
    return max((folder / _STATE).glob("step-*"), default=None)


def load_state(
    folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer, kept: Mapping[str, dict[str, Tensor]]
) -> TrainingState:
    """Put the weights, the optimiser and the ``kept`` sets of weights back as they were.

    Returns:
        Where the run stood.

    Raises:
        CheckpointError: a file is missing or changed since it was written.
    """
    state_folder = _newest(folder) or folder / _STATE
    try:
        record = json.loads((state_folder / "state.json").read_text(encoding="utf-8"))
        for name, expected in record["sha256"].items():
            if (found := sha256_file(state_folder / name)) != expected:
                raise CheckpointError(
                    f"expected {state_folder / name} with sha256 {expected}, found {found}",
                    f"The training state is damaged: delete {state_folder} to start again.",
                )
    except (OSError, ValueError, KeyError) as failure:
        raise CheckpointError(
            f"expected a training state in {state_folder}, found: {failure}", "Start again without --resume."
        ) from failure
    device = str(next(model.parameters()).device)  # where the sets of weights that are kept are updated
    model.load_state_dict(load_file(state_folder / "model.safetensors"))
    optimizer.load_state_dict(torch.load(state_folder / "optimizer.local.pt", weights_only=True))
    for kind, weights in kept.items():
        if f"{kind}.safetensors" in record["sha256"]:
            weights.update(load_file(state_folder / f"{kind}.safetensors", device=device))
    return TrainingState(record["step"], record["metrics"], read_record(state_folder / _MEASURED))


def drop_state(folder: Path) -> None:
    """Remove the training state of a run that is finished."""
    shutil.rmtree(folder / _STATE, ignore_errors=True)

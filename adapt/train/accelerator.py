"""The device, the precision and the trackers of a run, through Accelerate."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch

from adapt import ranks
from adapt.errors import UsageError
from adapt.train.trackers import Tracker, check_tracker

_COLLECTIVE = timedelta(minutes=30)
"""How long processes wait for one another within a step. Who is gone is noticed long before, by :mod:`adapt.ranks`."""


def make_accelerator(
    precision: str, accumulate: int, device: str | None, tracker: Tracker = "", folder: Path | None = None
) -> Any:
    """An ``accelerate.Accelerator``.

    Args:
        precision: "no" or "bf16".
        accumulate: batches a step.
        device: "cpu" keeps a machine with a GPU off it; None lets Accelerate choose.
        tracker: that gets every step; "" = none.
        folder: where a tracker writes.

    Raises:
        UsageError: the device cannot compute in this precision.
        MissingExtraError: the tracker is not installed.
    """
    from accelerate import Accelerator, DistributedDataParallelKwargs
    from accelerate.state import AcceleratorState, PartialState

    check_tracker(tracker)
    if device is not None and device.startswith("cuda:"):
        if ranks.count() > 1:
            raise UsageError(
                f"expected --device cuda, which gives each of the {ranks.count()} processes a GPU, found {device}",
                "Set CUDA_VISIBLE_DEVICES to leave GPUs out.",
            )
        torch.cuda.set_device(device)
    # Accelerate keeps the settings of a process's first run and refuses another precision or device in a later one.
    AcceleratorState._reset_state(reset_partial_state=ranks.count() == 1)
    if ranks.count() > 1:  # here, so that what is wrong with the others is not taken for a wrong precision
        PartialState(cpu=device == "cpu", timeout=_COLLECTIVE)
    try:
        return Accelerator(
            cpu=device == "cpu",
            mixed_precision=precision,
            gradient_accumulation_steps=accumulate,
            log_with=tracker or None,
            project_dir=str(folder) if folder else None,
            # A batch of a source without images leaves the weights that read images out of the loss.
            kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)],
        )
    except (ValueError, RuntimeError) as failure:
        raise UsageError(
            f"expected a device that computes with precision {precision!r}, found {device or 'none'}: {failure}",
            "Set loop.precision to `no` in the recipe, or choose another --device.",
        ) from failure


def start_tracker(accelerator: Any, tracker: Tracker, settings: Mapping[str, Any], first_step: int) -> None:
    """Open the tracker's run; what an interrupted run wrote from ``first_step`` on is hidden by TensorBoard."""
    if tracker:
        shown = {name: value for name, value in settings.items() if isinstance(value, bool | int | float | str)}
        options = {"purge_step": first_step} if first_step > 1 else {}
        accelerator.init_trackers(tracker, config=shown, init_kwargs={tracker: options})

"""The training loop: the only one. What is trained, on which batches and with which loss comes in as a task."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn

from adapt import ranks
from adapt.config import config, to_dict
from adapt.errors import UsageError
from adapt.machine import return_memory
from adapt.progress import SILENT, Progress
from adapt.train.accelerator import make_accelerator, start_tracker
from adapt.train.checkpointing import TrainingState, drop_state, has_state, load_state, save_state
from adapt.train.reports import Reports, StepReport
from adapt.train.trackers import Tracker

_TIDY = 16
"""Steps between returns of memory; they take a hundredth of the time of as many steps."""


@config
class LoopOptions:
    """How long and how to step.

    Attributes:
        steps: optimiser steps.
        learning_rate: after the warm-up; it falls to zero along a cosine.
        warmup: share of the steps over which the rate rises from zero.
        weight_decay: of AdamW, on matrices only.
        clip: largest norm of the gradient; 0 = any.
        accumulate: batches a step, whose gradients are averaged; each comes from one data set, so that a step of
            several mixes data sets while negatives stay within a domain.
        precision: "no" or "bf16"; a device without bf16 is refused.
        evaluate_every: steps between validations; 0 = never.
        patience: validations without a better metric before the run stops; 0 = never.
        checkpoint_every: steps between saved states; 0 = never.
        stop_after: stop at this step although the schedule is longer; 0 = the end of the schedule.
        ema: decay of an exponential moving average of the weights, which is what is validated and remains; 0 = none.
        seed: of dropout.
        tracker: that is told every step, beside ``log.jsonl``; "" = none.
    """

    steps: int
    learning_rate: float = 1e-3
    warmup: float = 0.1
    weight_decay: float = 0.01
    clip: float = 1.0
    accumulate: int = 1
    precision: Literal["no", "bf16"] = "no"
    evaluate_every: int = 0
    patience: int = 0
    checkpoint_every: int = 0
    stop_after: int = 0
    ema: float = 0.0
    seed: int = 0
    tracker: Tracker = ""


@dataclass(frozen=True, eq=False)
class ParameterGroup:
    """Parameters that are trained alike.

    Attributes:
        parameters: of the task's module.
        rate: their learning rate as a multiple of the loop's.
        weight_decay: of AdamW.
        epsilon: of AdamW; a larger one moves parameters with small gradients less.
    """

    parameters: Sequence[nn.Parameter]
    rate: float = 1.0
    weight_decay: float = 0.0
    epsilon: float = 1e-8


class Task(Protocol):
    """What the loop trains. One with an attribute ``groups`` says itself how its parameters are trained.

    ``groups`` is a sequence of :class:`ParameterGroup`. Without it every parameter follows the loop's options.
    """

    @property
    def module(self) -> nn.Module:
        """Its ``forward(batch)`` returns the losses by name, ``total`` among them."""
        ...

    @property
    def batch_size(self) -> int:
        """Sequences a batch, over all processes."""
        ...

    @property
    def measured(self) -> list[Any]:
        """What the validations so far found: nested dicts of float arrays. A resumed run gets it back."""
        ...

    def batch(self, number: int, rank: int, ranks: int, device: torch.device) -> Any:
        """This process's share of batch ``number``; the same for the same arguments."""
        ...

    def validate(self) -> float | None:
        """The metric that early stopping maximises; None = there is nothing to validate on."""
        ...


@dataclass(frozen=True)
class LoopResult:
    """What a run came to.

    Attributes:
        steps: optimiser steps taken in all.
        best_step: the step whose weights remain (the last one where nothing was validated).
        best_metric: its validation metric.
        seconds: time of this process, without what a resumed run did before.
        curve: (step, total loss) of the steps of this process.
    """

    steps: int
    best_step: int
    best_metric: float | None
    seconds: float
    curve: list[tuple[int, float]] = field(default_factory=list)


def rate_at(step: int, options: LoopOptions) -> float:
    """Learning rate of a step from 0: a linear warm-up, then half a cosine to zero.

    >>> options = LoopOptions(steps=10, learning_rate=1.0, warmup=0.2)
    >>> [round(rate_at(step, options), 2) for step in (0, 1, 2, 6, 9)]
    [0.5, 1.0, 1.0, 0.5, 0.04]
    """
    warm = max(1, round(options.steps * options.warmup))
    if step < warm:
        return options.learning_rate * (step + 1) / warm
    done = (step - warm) / max(1, options.steps - warm)
    return options.learning_rate * 0.5 * (1 + math.cos(math.pi * done))


def run_loop(
    task: Task,
    options: LoopOptions,
    folder: Path,
    *,
    resume: bool = False,
    device: str | None = None,
    progress: Progress = SILENT,
    on_step: Callable[[int], None] | None = None,
) -> LoopResult:
    """Train; the task's module holds the best weights when it returns.

    Dropout is seeded by step, batches are functions of their number, and the state is saved between steps: a run that
    is killed and resumed takes the same steps as one that was not, to the bit on one machine's CPU.

    Args:
        task: what to train.
        options: how.
        folder: receives ``log.jsonl``, ``loop.json`` and, until the run is finished, the training state.
        resume: continue from the state in ``folder``, if there is one.
        device: "cpu" keeps a machine with a GPU off it; None lets Accelerate choose.
        progress: told each step.
        on_step: called after each step with its number.

    Raises:
        UsageError: the loss is no longer finite: the options do not suit the task; or the device lacks the precision.
        MissingExtraError: the tracker is not installed.
        CheckpointError: the state to resume from is damaged.
    """
    accelerator = make_accelerator(options.precision, options.accumulate, device, options.tracker, folder)
    optimizer = torch.optim.AdamW(_parameter_groups(task, options.weight_decay), lr=options.learning_rate, fused=True)
    module, optimizer = accelerator.prepare(task.module, optimizer)
    bare = accelerator.unwrap_model(module)
    state = TrainingState(0, {"best_metric": None, "best_step": 0, "stale": 0})
    best: dict[str, Tensor] = {}
    average = {name: value.clone() for name, value in bare.state_dict().items()} if options.ema else {}
    kept = {"best": best, "average": average}
    if resume and has_state(folder):
        state = load_state(folder, bare, optimizer, kept)
        task.measured[:] = state.measured
    elif accelerator.is_main_process:
        drop_state(folder)  # of an earlier run, which this one replaces
    reports = Reports(folder, accelerator, progress, task.batch_size * options.accumulate, state.step + 1)
    start_tracker(accelerator, options.tracker, to_dict(options), state.step + 1)
    curve: list[tuple[int, float]] = []
    dense: dict[nn.Parameter, Tensor] = {}
    end = min(options.steps, options.stop_after or options.steps)
    step = state.step
    metrics = dict(state.metrics)
    with progress.task("training", end, "steps") as advance:
        advance(step)
        while step < end and not _stopped(metrics, options):
            losses = _step(task, module, optimizer, accelerator, step, options, dense)
            step += 1
            _check_finite(losses["total"], step)
            _update_average(average, bare, options.ema)
            curve.append((step, losses["total"]))
            validated = bool(options.evaluate_every) and (step % options.evaluate_every == 0 or step == end)
            metric = _validate(task, metrics, best, average, step) if validated else None
            reports.step(StepReport(step, losses, rate_at(step - 1, options), metric), validated=validated)
            if options.checkpoint_every and step % options.checkpoint_every == 0 and accelerator.is_main_process:
                save_state(folder, TrainingState(step, metrics, list(task.measured)), bare, optimizer, kept)
            if validated or step % _TIDY == 0:
                return_memory()
            advance(1)
            if on_step:
                on_step(step)
    if best or average:
        bare.load_state_dict(best or average)
    reports.finish(bare, step)
    if accelerator.is_main_process:
        drop_state(folder)
    accelerator.wait_for_everyone()  # a process that leaves early takes the connections of the others with it
    best_step = metrics["best_step"] if best else step
    return LoopResult(step, best_step, metrics["best_metric"], reports.seconds, curve)


def _check_finite(loss: float, step: int) -> None:
    if not math.isfinite(loss):
        raise UsageError(
            f"expected a finite loss, found {loss} at step {step}",
            "Lower learning_rate, or raise warmup or the temperature; log.jsonl has the losses before it.",
        )


def _step(
    task: Task,
    module: nn.Module,
    optimizer: Any,
    accelerator: Any,
    step: int,
    options: LoopOptions,
    dense: dict[nn.Parameter, Tensor],
) -> dict[str, float]:
    """One optimiser step over ``accumulate`` batches; returns the mean losses over batches and processes."""
    for group in optimizer.param_groups:
        group["lr"] = rate_at(step, options) * group["rate"]
    module.train()
    sums: dict[str, Tensor] = {}
    for part in range(options.accumulate):
        number = step * options.accumulate + part
        torch.manual_seed((options.seed << 32) + number * 1009 + accelerator.process_index)
        batch = task.batch(number, accelerator.process_index, accelerator.num_processes, accelerator.device)
        with accelerator.accumulate(module), accelerator.autocast():
            losses = module(batch)
            accelerator.backward(losses["total"])
            if accelerator.sync_gradients:
                _fill_up(module, dense)
            if accelerator.sync_gradients and options.clip:
                accelerator.clip_grad_norm_(module.parameters(), options.clip)
            optimizer.step()
            optimizer.zero_grad()
        for name, value in losses.items():
            sums[name] = sums.get(name, torch.zeros(())) + value.detach().float().cpu() / options.accumulate
    means = accelerator.reduce(torch.stack(list(sums.values())).to(accelerator.device), "mean")
    return dict(zip(sums, means.tolist(), strict=True))


def _fill_up(module: nn.Module, dense: dict[nn.Parameter, Tensor]) -> None:
    """Make gradients of some rows gradients of all, in tensors that are kept: a new one costs more than the update."""
    for parameter in module.parameters():
        if parameter.grad is not None and parameter.grad.is_sparse:
            if parameter not in dense:
                dense[parameter] = torch.empty_like(parameter)
            whole = dense[parameter].zero_()
            rows, values = parameter.grad._indices()[0], parameter.grad._values()
            parameter.grad = whole.index_add_(0, rows, values)


def _validate(
    task: Task, metrics: dict[str, Any], best: dict[str, Tensor], average: dict[str, Tensor], step: int
) -> float | None:
    """Validate the weights, or their moving average where there is one, and keep them if they are the best so far."""
    task.module.eval()
    current = {name: value.clone() for name, value in task.module.state_dict().items()} if average else {}
    if average:
        task.module.load_state_dict(average)
    try:
        with torch.no_grad():
            metric: float | None = ranks.agree(task.validate())  # processors may differ in their last bit
        _keep_best(task.module, metric, metrics, best, step)
    finally:
        if current:
            task.module.load_state_dict(current)
    return metric


def _keep_best(
    module: nn.Module, metric: float | None, metrics: dict[str, Any], best: dict[str, Tensor], step: int
) -> None:
    """Copy the module's weights to ``best`` if its metric is better than any before, else count one more stale one."""
    if metric is None:
        return
    if metrics["best_metric"] is None or metric > metrics["best_metric"]:
        metrics.update(best_metric=metric, best_step=step, stale=0)
        best.clear()
        best.update({name: value.detach().clone() for name, value in module.state_dict().items()})
    else:
        metrics["stale"] += 1


def _stopped(metrics: dict[str, Any], options: LoopOptions) -> bool:
    return bool(options.patience and metrics["stale"] >= options.patience)


def _update_average(average: dict[str, Tensor], module: nn.Module, decay: float) -> None:
    for name, value in module.state_dict().items() if average else ():
        if value.is_floating_point():
            average[name].mul_(decay).add_(value.detach(), alpha=1 - decay)
        else:
            average[name].copy_(value)


def _parameter_groups(task: Task, weight_decay: float) -> list[dict[str, Any]]:
    """The task's own groups; else: decay matrices, leave scalars, offsets and normalisations alone."""
    trained = [parameter for parameter in task.module.parameters() if parameter.requires_grad]
    groups: Sequence[ParameterGroup] = getattr(task, "groups", ()) or (
        ParameterGroup([parameter for parameter in trained if parameter.ndim > 1], weight_decay=weight_decay),
        ParameterGroup([parameter for parameter in trained if parameter.ndim <= 1]),
    )
    return [
        {
            "params": list(group.parameters),
            "rate": group.rate,
            "weight_decay": group.weight_decay,
            "eps": group.epsilon,
        }
        for group in groups
    ]

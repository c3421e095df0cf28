"""What a training step says about itself: a line of the log, a point of the tracker, the line on the screen."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from adapt.files import write_json
from adapt.machine import peak_memory
from adapt.progress import Progress
from adapt.train.log import RunLog

LOOP_FILE = "loop.json"


@dataclass(frozen=True)
class StepReport:
    """One optimiser step.

    Attributes:
        step: from 1.
        losses: by name, ``total`` among them.
        learning_rate: of the step.
        validation: the metric, where the step was validated.
    """

    step: int
    losses: Mapping[str, float]
    learning_rate: float
    validation: float | None = None


@dataclass(eq=False)
class Reports:
    """Tells the log, the tracker and the screen about each step; only the main process writes.

    Attributes:
        folder: the run folder.
        accelerator: whose trackers get each step.
        progress: who is told.
        sequences: sequences a step, over all processes.
        first_step: the step that this process takes first.
    """

    folder: Path
    accelerator: Any
    progress: Progress
    sequences: int
    first_step: int
    _started: float = field(default_factory=time.monotonic)
    _log: RunLog | None = None
    _validation: float | None = None

    def __post_init__(self) -> None:
        if self.accelerator.is_main_process:
            self._log = RunLog(self.folder, first_step=self.first_step)

    @property
    def seconds(self) -> float:
        """Since the start of this process's training."""
        return time.monotonic() - self._started

    def step(self, report: StepReport, *, validated: bool) -> None:
        """Tell everyone about a step."""
        rate = self.sequences * (report.step - self.first_step + 1) / max(self.seconds, 1e-9)
        record: dict[str, Any] = {"losses": dict(report.losses), "learning_rate": report.learning_rate}
        if validated:
            record["validation"] = self._validation = report.validation
        record |= {"sequences_per_second": round(rate, 1), "seconds": round(self.seconds, 3)}
        if self._log:
            self._log.write(report.step, record)
        if self.accelerator.trackers:
            self.accelerator.log(_points(report, rate, validated), step=report.step)
        self.progress.status(self._line(report, rate))

    def finish(self, module: nn.Module, steps: int) -> None:
        """Close the trackers and write what the loop was: its parameters, device, time and memory."""
        for tracker in self.accelerator.trackers:  # not end_training, which ends the group of processes too
            tracker.finish()
        if self.accelerator.is_main_process:
            write_json(self.folder / LOOP_FILE, self._facts(module, steps))

    def _line(self, report: StepReport, rate: float) -> str:
        parts = [f"{name} {value:.3f}" for name, value in report.losses.items() if name != "total"]
        line = f"loss {report.losses['total']:.3f}" + (f" ({', '.join(parts)})" if len(parts) > 1 else "")
        line += f" · {rate:,.0f} sequences/s · rate {report.learning_rate:.2g}"
        return line if self._validation is None else f"{line} · left-out {self._validation:.4f}"

    def _facts(self, module: nn.Module, steps: int) -> dict[str, Any]:
        trained = [part.numel() for part in module.parameters() if part.requires_grad]
        return {
            "parameters": sum(part.numel() for part in module.parameters()),
            "trainable": sum(trained),
            "device": str(self.accelerator.device),
            "processes": self.accelerator.num_processes,
            "precision": self.accelerator.mixed_precision,
            "steps": steps,
            "seconds": round(self.seconds, 3),
            "peak_memory_bytes": peak_memory(),
        }


def _points(report: StepReport, rate: float, validated: bool) -> dict[str, float]:
    points = {f"loss/{name}": value for name, value in report.losses.items()}
    points |= {"learning_rate": report.learning_rate, "sequences_per_second": rate}
    if validated and report.validation is not None:
        points["validation"] = report.validation
    return points

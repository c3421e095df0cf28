"""A small task for the loop, and a program that runs it so that it can be killed."""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from adapt.seeds import generator
from adapt.train.loop import LoopOptions, run_loop

OPTIONS = LoopOptions(steps=12, learning_rate=0.05, evaluate_every=3, checkpoint_every=2, ema=0.0)
ROWS = 16


class Network(nn.Module):
    """Two layers with dropout, so that the random numbers of a step matter."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 1))

    def forward(self, batch: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
        inputs, wanted = batch
        error = (self.layers(inputs) - wanted).pow(2).mean()
        return {"error": error, "total": error}


class Regression:
    """Fits a fixed linear function; the metric is the negative error on held-out rows."""

    def __init__(self) -> None:
        self.module = Network()
        self.validations = 0
        self.batch_size = ROWS
        self.measured: list[dict[str, np.ndarray]] = []

    def batch(self, number: int, rank: int, ranks: int, device: torch.device) -> tuple[Tensor, Tensor]:
        inputs, wanted = rows(number)
        return inputs[rank::ranks].to(device), wanted[rank::ranks].to(device)

    def validate(self) -> float:
        self.validations += 1
        inputs, wanted = rows(10_000)
        errors = (self.module.layers(inputs) - wanted).pow(2).detach()
        self.measured.append({"errors": errors.double().flatten().numpy()})
        return -float(errors.mean())


def rows(number: int) -> tuple[Tensor, Tensor]:
    random = generator(1, number)
    inputs = torch.from_numpy(random.normal(size=(ROWS, 4))).float()
    return inputs, inputs @ torch.tensor([[1.0], [-2.0], [0.5], [3.0]])


def main() -> None:
    """Arguments: run folder, file for the final weights, step to die at (0 = live), decay of the average."""
    folder, weights, dies_at, decay = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])

    def maybe_die(step: int) -> None:
        if step == dies_at:
            os.kill(os.getpid(), signal.SIGKILL)

    task = Regression()
    run_loop(task, replace(OPTIONS, ema=decay), folder, resume=True, device="cpu", on_step=maybe_die)
    save_file(task.module.state_dict(), weights)


if __name__ == "__main__":
    main()

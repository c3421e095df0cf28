"""Small data sets and settings for fine-tuning, and what is the same in two runs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from adapt.workflows.finetune import FinetuneOptions
from adapt.workflows.finetune_settings import TrainingSettings
from tests.workflows.pretrain_cases import COLOURS, THINGS, write_things

QUICK = FinetuneOptions(training=TrainingSettings(epochs=4, learning_rate=5e-3, targets=64, negatives=32))
VOLATILE = ("seconds", "profile", "machine", "resumed", "arguments", "peak_memory_bytes", "versions", "trainings")


def write_walkers(folder: Path, users: int = 48, length: int = 5) -> str:
    """Users who buy the things of a round one after the other, and never one of the last colour."""
    lines, colours = [], len(COLOURS) - 1
    for user in range(users):
        colour, first = user % colours, user // colours
        for when in range(length):
            thing = (first + when) % len(THINGS)
            lines.append(f"u{user},{thing * len(COLOURS) + (colour + thing) % colours},{when}")
    return write_things(folder, lines)


def write_shop(folder: Path, items: Sequence[str], events: Sequence[str], timed: bool = True) -> str:
    """A data set from lines of items and of interactions."""
    folder.mkdir(parents=True)
    (folder / "items.csv").write_text("\n".join(["item_id,title", *items]) + "\n")
    header = "user_id,item_id,timestamp" if timed else "user_id,item_id"
    (folder / "interactions.csv").write_text("\n".join([header, *events]) + "\n")
    return str(folder)


def same_in_two_runs(folder: Path) -> dict[str, Any]:
    """Every byte that recommends, and what ``run.json`` says but for time, machine and memory."""
    record = json.loads((folder / "run.json").read_text())
    curves = {
        name: {key: value for key, value in part.items() if not key.startswith("seconds")}
        for name, part in record["trainings"].items()
    }
    files = {name: (folder / name).read_bytes() for name in record["files"]}
    return {**{name: value for name, value in record.items() if name not in VOLATILE}, "curves": curves, **files}

"""Small data sets and recipes for pretraining, and what is the same in two runs of one recipe."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from adapt.seeds import generator

THINGS = ("tent", "lamp", "kettle", "chair", "rope", "boots", "jacket", "stove")
COLOURS = ("red", "blue", "green", "black", "white", "yellow")
RECIPE = """
name: follows
summary: For tests.
encoders:
  text: {kind: static, modality: text, name: "bundled:static-minilm-256"}
dims: {text: 48}
towers: {shared: 48, width: 16, heads: 2, hidden: 16, max_length: 8, dropout: 0.1}
structure: {power: [0.5, 1.0], recency: [0.2, 0.6]}
objectives: {next_item: 1.0, batch_size: 32, negatives: 32}
loop: {steps: 30, learning_rate: 0.01, evaluate_every: 10, checkpoint_every: 4}
mixtures: [0.5, 1.0]
cases: 120
"""
TABLE_RECIPE = """
name: table
stage: encoder
summary: For tests.
encoders:
  text: {kind: static, modality: text, name: "bundled:static-minilm-256"}
structure: {power: [0.5], recency: [0.4]}
objectives: {batch_size: 32}
loop: {steps: 12, learning_rate: 0.05, evaluate_every: 6, checkpoint_every: 6}
leave_out: [one, two]
mixtures: [1.0]
cases: 120
"""
VOLATILE = ("date", "machine", "seconds", "resumed", "peak_memory_bytes")


def write_followers(folder: Path, seed: int) -> str:
    """Users who buy the next thing of a fixed round after each thing, in any colour: learnable, and true anywhere."""
    random = generator(seed)
    lines = []
    for user in range(60):
        first = int(random.integers(len(THINGS)))
        for when in range(4):
            thing = (first + when) % len(THINGS)
            lines.append(f"u{user},{thing * len(COLOURS) + int(random.integers(len(COLOURS)))},{when}")
    return write_things(folder, lines)


def write_things(folder: Path, events: Sequence[str]) -> str:
    """A data set of coloured things, a thing in all its colours after the other, with lines of interactions."""
    folder.mkdir()
    names = [f"{colour} {thing}" for thing in THINGS for colour in COLOURS]
    (folder / "items.csv").write_text("item_id,title\n" + "".join(f"{n},{name}\n" for n, name in enumerate(names)))
    (folder / "interactions.csv").write_text("\n".join(["user_id,item_id,timestamp", *events]) + "\n")
    return str(folder)


def steady(folder: Path) -> dict[str, Any]:
    """What two runs of one recipe have in common: every byte but the date, machine, time and memory of the run."""
    metrics = json.loads((folder / "metrics.json").read_text())
    found = {name: metrics["run"].pop(name) for name in VOLATILE}
    assert all(value is not None for value in found.values())
    card = (folder / "README.md").read_text()
    lines = [line for line in card.splitlines() if not re.match(r"- (date|machine|time|peak memory|interrupted)", line)]
    files = ("model.safetensors", "config.json", "feature_spec.json")
    return {**{name: (folder / name).read_bytes() for name in files}, "metrics": metrics, "card": lines}

"""How fast training steps are, as ratios to the step of the paper's code on the same machine in the same run.

    python recipes/benchmarks/pretrain.py [--quick] [--rounds N]

About five minutes on 2 cores. Features and histories are drawn: both modalities for every item, users as of a review
site (five events at least, nine on average, a few hundred at most), items by popularity.

- `paper`: `paper_step.py`, which encodes the whole catalog at every step and pads histories to 20 places.
- `mmsrec`: the same towers in this library, trained by its loop, with cloze and a sampled softmax.
- `default`: this library's towers and objectives as they are where a recipe says nothing, with a block for images and
  alignment beside next item; all weights trained.
- `adapt-mini`: the towers, objectives and trained weights of the recipe `adapt_mini`, with its kernel map of pictures.

All have batches of 128 histories, in float32. Each runs in a process of its own, so that its peak memory is its own;
the processes take turns, and a ratio is the median over rounds. A round of this library is a whole window of batches,
short and long ones. Ratios are of elapsed time; those of processor time, which other load on the machine changes less,
stand beside them. Prints tables, and one line of JSON last.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from measuring import table
from paper_step import FIRST_ITEM, PADDING, PaperModel, PaperSizes, cloze_loss, hide
from torch import Tensor

from adapt.data.batches import SequenceSource
from adapt.data.epochs import WINDOW
from adapt.machine import peak_memory
from adapt.model.content import ContentTowers
from adapt.model.items import ItemFeatures
from adapt.model.mmsrec import MMSRec
from adapt.model.towers import DualTower
from adapt.train.loop import LoopOptions, run_loop
from adapt.train.pretraining import Pretraining, TowersWithLoss
from adapt.workflows.objectives import build_objectives, build_sampler, train_only
from adapt.workflows.recipe import ObjectiveSettings, load_recipe

SMALL, MIDDLE, LARGE = 1_349, 12_000, 100_000
BATCH = 128
MMSREC = ObjectiveSettings(
    next_item=0.0, cloze=1.0, batch_size=BATCH, temperature=0.05, negatives=256, catalog_batch=2, modality_dropout=0.0
)
USERS_AN_ITEM = 1.85
POPULARITY = 0.63
"""Exponent of popularity over rank: a tenth of the items then has 43 % of the events, as in Amazon Beauty."""


@dataclass(frozen=True)
class Case:
    """What one process measures."""

    kind: str
    items: int
    steps: int

    @property
    def name(self) -> str:
        return f"{self.kind}-{self.items}"


@dataclass(frozen=True)
class Bar:
    """What is promised: how many times the sequences a second of ``ours`` are those of ``theirs``."""

    ours: str
    theirs: str
    bar: float


CASES = [Case("paper", SMALL, 2), Case("paper", MIDDLE, 1)] + [
    Case(kind, items, WINDOW)
    for kind, sizes in (
        ("mmsrec", (SMALL, MIDDLE, LARGE)),
        ("default", (SMALL, MIDDLE, LARGE)),
        ("adapt-mini", (MIDDLE,)),
    )
    for items in sizes
]
BARS = [
    Bar(f"mmsrec-{SMALL}", f"paper-{SMALL}", 3.0),
    Bar(f"mmsrec-{MIDDLE}", f"paper-{MIDDLE}", 10.0),
    Bar(f"default-{MIDDLE}", f"paper-{MIDDLE}", 25.0),
]
GROWTH_BARS = [
    Bar(f"mmsrec-{LARGE}", f"mmsrec-{MIDDLE}", 1.5),
    Bar(f"default-{LARGE}", f"default-{MIDDLE}", 1.5),
]
"""What is promised of the cost of a step, as a ratio to that of a smaller catalog."""


def draw_histories(items: int) -> tuple[np.ndarray, np.ndarray]:
    """Offsets (users + 1,) and items (events,)."""
    random = np.random.default_rng(items)
    users = round(items * USERS_AN_ITEM)
    lengths = np.minimum(5 + np.floor(random.lognormal(0.3, 1.5, size=users)), 204).astype(np.int64)
    chance = (1 + np.arange(items)) ** -POPULARITY
    events = random.choice(items, size=int(lengths.sum()), p=chance / chance.sum())
    return np.concatenate([[0], np.cumsum(lengths)]), random.permutation(items)[events].astype(np.int32)


def draw_features(items: int, widths: dict[str, int]) -> dict[str, Tensor]:
    """Unit rows."""
    random = torch.Generator().manual_seed(items)
    drawn = {name: torch.randn(items, width, generator=random) for name, width in widths.items()}
    return {name: torch.nn.functional.normalize(value, dim=1) for name, value in drawn.items()}


def clocks() -> tuple[float, float]:
    """Elapsed seconds and seconds of all processors that this process used."""
    return time.perf_counter(), time.process_time()


class Turns:
    """Takes turns with the other processes; to be called after each step.

    Args:
        steps: of a turn.
    """

    def __init__(self, steps: int) -> None:
        self.steps = steps
        self.left = steps
        self.started = clocks()

    def __call__(self, step: int = 0) -> None:  # noqa: ARG002
        """When the turn is over, say how long it took and wait for the next."""
        self.left -= 1
        if self.left:
            return
        elapsed, processor = (now - then for now, then in zip(clocks(), self.started, strict=True))
        print(json.dumps({"elapsed": elapsed, "processor": processor, "peak_memory": peak_memory()}), flush=True)
        if sys.stdin.readline().strip() != "go":
            sys.exit(0)
        self.left, self.started = self.steps, clocks()


def train_paper(case: Case) -> None:
    """Steps of the paper's code."""
    torch.manual_seed(0)
    sizes = PaperSizes()
    features = draw_features(case.items, {"vision": sizes.vision, "text": sizes.text})
    model = PaperModel(sizes, features, {name: torch.ones(case.items, dtype=torch.bool) for name in features}).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    offsets, items = draw_histories(case.items)
    random, draws = np.random.default_rng(0), torch.Generator().manual_seed(0)
    after_step = Turns(case.steps)
    while True:
        sequences = np.full((BATCH, sizes.length), PADDING, dtype=np.int64)
        for row, user in enumerate(random.integers(len(offsets) - 1, size=BATCH)):
            history = items[offsets[user] : offsets[user + 1]][-sizes.length :]
            sequences[row, sizes.length - len(history) :] = history + FIRST_ITEM
        read, chosen = hide(torch.from_numpy(sequences), sizes.mask_ratio, case.items, draws)
        optimizer.zero_grad()
        cloze_loss(model, read, chosen, torch.from_numpy(sequences)).backward()
        optimizer.step()
        after_step()


def build(kind: str) -> tuple[dict[str, int], ObjectiveSettings, DualTower]:
    """Feature widths, objectives and towers."""
    if kind == "mmsrec":
        widths = {"image": 512, "text": 512}
        return widths, MMSREC, MMSRec(widths)
    if kind == "default":
        widths = {"text": 256, "image": 256}
        return widths, ObjectiveSettings(alignment=1.0, batch_size=BATCH), ContentTowers(widths, private={"image": 256})
    recipe = load_recipe("adapt_mini")
    widths = {"text": recipe.towers["shared"] + recipe.towers["private"]["text"], "image": recipe.dims["image"]}
    towers = ContentTowers(widths, **recipe.towers)
    train_only(towers, recipe.trainable)
    return widths, replace(recipe.objectives, batch_size=BATCH), towers


def train_ours(case: Case) -> None:
    """Steps of this library's loop."""
    torch.manual_seed(0)
    widths, settings, towers = build(case.kind)
    values = draw_features(case.items, widths)
    items = ItemFeatures(values, {name: torch.ones(case.items, dtype=torch.bool) for name in widths})
    source = SequenceSource("drawn", case.items, *draw_histories(case.items), np.ones(case.items, dtype=bool))
    task = Pretraining(
        TowersWithLoss(towers, build_objectives(settings, widths), settings.temperature),
        build_sampler([source], settings, towers.max_length, seed=0),
        [items],
        settings.catalog_batch,
        settings.modality_dropout,
        seed=0,
    )
    with tempfile.TemporaryDirectory() as folder:
        options = LoopOptions(steps=100_000, learning_rate=1e-4)
        run_loop(task, options, Path(folder), device="cpu", on_step=Turns(case.steps))


class Worker:
    """A process that measures one case, turn by turn."""

    def __init__(self, case: Case) -> None:
        self.case = case
        command = [sys.executable, __file__, "--case", json.dumps([case.kind, case.items, case.steps])]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.reports = [self._read()]  # which warms up

    def turn(self) -> None:
        assert self.process.stdin is not None
        print("go", file=self.process.stdin, flush=True)
        self.reports.append(self._read())

    def stop(self) -> None:
        assert self.process.stdin is not None
        print("stop", file=self.process.stdin, flush=True)
        self.process.wait()

    def _read(self) -> dict[str, float]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"the process of {self.case.name} ended: {self.process.wait()}")
        found: dict[str, float] = json.loads(line)
        print(f"{self.case.name}: {found['elapsed'] / self.case.steps:.3f} s a step", file=sys.stderr, flush=True)
        return found

    def steps(self, clock: str) -> list[float]:
        """Seconds of a step in each turn but the first."""
        return [report[clock] / self.case.steps for report in self.reports[1:]]


def measure(cases: list[Case], rounds: int) -> dict[str, Worker]:
    """Let the cases take turns."""
    workers = {}
    try:
        for case in cases:
            workers[case.name] = Worker(case)
        for _ in range(rounds):
            for worker in workers.values():
                worker.turn()
    finally:
        for worker in workers.values():
            worker.stop()
    return workers


def show(workers: dict[str, Worker]) -> None:
    """Print what each case reached."""
    columns = ("towers", 10), ("items", 8), ("sequences/s", 11), ("ms/step", 8), ("processor ms", 12), ("peak MB", 8)
    print("  ".join(name.rjust(width) for name, width in columns))
    for worker in workers.values():
        case = worker.case
        seconds, processor = (statistics.median(worker.steps(clock)) for clock in ("elapsed", "processor"))
        print(
            f"{case.kind:>10}  {case.items:>8,}  {BATCH / seconds:>11.1f}  {1000 * seconds:>8.0f}  "
            f"{1000 * processor:>12.0f}  {worker.reports[-1]['peak_memory'] / 1e6:>8,.0f}"
        )


def ratios(workers: dict[str, Worker], above: str, below: str) -> dict[str, float]:
    """The seconds of a step of ``above`` over those of ``below``, the median over rounds, by both clocks."""
    found = {}
    for name, clock in (("ratio", "elapsed"), ("processor_ratio", "processor")):
        pairs = zip(workers[above].steps(clock), workers[below].steps(clock), strict=True)
        found[name] = round(statistics.median(one / other for one, other in pairs), 2)
    return found


def promise(workers: dict[str, Worker], bar: Bar) -> dict[str, object]:
    """How many times as fast ``bar.ours`` is, ready for JSON."""
    found = ratios(workers, bar.theirs, bar.ours)
    line = {"what": f"training steps/s of {bar.ours} to {bar.theirs}", **found, "at_least": bar.bar}
    return {**line, "met": found["ratio"] >= bar.bar}


def limit(workers: dict[str, Worker], bar: Bar) -> dict[str, object]:
    """How many times as long a step of the larger catalog takes, ready for JSON."""
    found = ratios(workers, bar.ours, bar.theirs)
    line = {"what": f"time of a training step of {bar.ours} to {bar.theirs}", **found, "at_most": bar.bar}
    return {**line, "met": found["ratio"] <= bar.bar}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3, help="turns of each process, beside one to warm up")
    parser.add_argument("--quick", action="store_true", help="the smallest catalog only: a minute")
    parser.add_argument("--case", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.case:
        case = Case(*json.loads(arguments.case))
        return train_paper(case) if case.kind == "paper" else train_ours(case)
    workers = measure([case for case in CASES if case.items == SMALL], arguments.rounds)
    if not arguments.quick:  # compared with one another only, so that not all have to be in memory at once
        workers |= measure([case for case in CASES if case.items != SMALL], arguments.rounds)
    show(workers)
    machine = {"cpus": os.cpu_count(), "machine": platform.machine(), "torch": torch.__version__}
    found = [promise(workers, bar) for bar in BARS if bar.ours in workers]
    found += [limit(workers, bar) for bar in GROWTH_BARS if bar.ours in workers]
    print()
    print(table(found))
    print(json.dumps({"benchmark": "pretrain", "ratios": found, **machine}))
    return None


if __name__ == "__main__":
    main()

"""What each stage costs at 1,000 to 1,000,000 items, and by which power of their number it grows.

    python recipes/benchmarks/scale.py [--full] [--sizes N ...] [--keep FOLDER]

Some minutes on 2 cores up to 100,000 items. With `--full`, 1,000,000 items and `adapt zero-shot` for 100,000 and for
1,000,000 of their users too, which takes about two hours and 15 GB of disk. Data sets are those of `scale_data.py`, ten
interactions an item; the encoder is the static one of `adapt-mini`. Each size runs in a process of its own, so that its
peak of memory is its own; `own` is that peak without mapped pages of files, which the system may drop.

The exponent of a stage is the slope of log seconds over log items. A search is one user's: exact search looks at every
item and grows with them, the graph does not. A training step is a batch of a fine-tune by LoRA. Prints tables, and one
line of JSON last.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from measuring import table
from scale_data import make

SIZES, LARGEST = (1_000, 10_000, 100_000), 1_000_000
BARS = {"encode": 1.05, "training step": 0.3, "search hnsw": 0.3}
"""Largest exponent that is promised."""
BATCH, QUERIES, STEPS, RECALL = 4_096, 200, 8, 0.95
ASKED = (100_000, 1_000_000)
"""Users of the runs end to end."""


def main() -> int:
    """Measure each size in a process of its own, then show them side by side."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="1,000,000 items too, and whole runs over them")
    parser.add_argument("--sizes", type=int, nargs="+", help="numbers of items instead of the usual ones")
    parser.add_argument("--keep", type=Path, help="folder for data sets and cache, used again where they are there")
    parser.add_argument("--measure", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(measure(arguments.measure, data_set(arguments.keep, arguments.measure))))
        return 0
    sizes = arguments.sizes or [*SIZES, *([LARGEST] if arguments.full else [])]
    with tempfile.TemporaryDirectory(dir=arguments.keep) as scratch:
        folder = arguments.keep or Path(scratch)
        rows = [row for size in sizes for row in child(folder, size)]
        print(table([shown(row) for row in rows]))
        fits = exponents(rows) if len(sizes) > 1 else []
        if fits:
            print("\n" + table(fits))
        runs = [end_to_end(folder, max(sizes), users) for users in ASKED] if arguments.full else []
        if runs:
            print("\n" + table(runs))
            print(f"peak of {ASKED[1]:,} users over that of {ASKED[0]:,}: {growth(runs):.2f}")
    facts = {"sizes": sizes, "cores": os.cpu_count(), "recall_target": RECALL}
    ratios = [ratio(runs)] if runs else []
    print(json.dumps({"benchmark": "scale", **facts, "rows": rows, "exponents": fits, "runs": runs, "ratios": ratios}))
    return 0


def data_set(folder: Path, items: int) -> Path:
    """The data set of a size, made where it is not there."""
    path = folder / f"shop-{items}"
    if not path.is_dir():
        make(path, items=items, interactions=10 * items)
    return path


def child(folder: Path, size: int) -> list[dict[str, Any]]:
    """What :func:`measure` finds in a process of its own, with a cache of its own that is empty."""
    data_set(folder, size)
    with tempfile.TemporaryDirectory(dir=folder) as cache:
        command = [sys.executable, __file__, "--measure", str(size), "--keep", str(folder)]
        found = subprocess.run(command, env={**os.environ, "ADAPT_CACHE": cache}, stdout=subprocess.PIPE, check=True)
    rows: list[dict[str, Any]] = json.loads(found.stdout.splitlines()[-1])
    return rows


def measure(size: int, path: Path) -> list[dict[str, Any]]:
    """Time and memory of every stage over one data set."""
    import torch

    from adapt import Checkpoint, load_dataset
    from adapt.index import ExactIndex, build_index
    from adapt.model.inference import embed_users
    from adapt.profile import Stages
    from adapt.shards import Work
    from adapt.workflows.embedding import embed_catalog

    checkpoint = Checkpoint.from_pretrained("adapt-mini")
    stages = Stages(profile=True)
    with stages.stage("read", size, "items"):
        data = load_dataset(path)
    embedded = embed_catalog(checkpoint, data.catalog, work=Work(None, stages))
    known = data.interactions
    assert known is not None
    users = min(BATCH, known.n_users)
    histories = [known.history(user) for user in range(users)]
    with stages.stage("user states", users, "users"):
        states = embed_users(checkpoint.towers, histories, embedded.items, embedded.embeddings)
    exact = ExactIndex(data.catalog.ids, embedded.embeddings)
    exact.search(states[:QUERIES], 10)  # finds out which dimensions are used
    with stages.stage("search exact", users, "users"):
        truth = exact.search(states, 10)
    with stages.stage("index hnsw", size, "items"):
        graph = build_index(
            data.catalog.ids,
            embedded.embeddings,
            kind="hnsw",
            recall_target=RECALL,
            threads=torch.get_num_threads(),
            queries=states,
        )
    asked = states[: min(QUERIES, users)]
    with stages.stage("search hnsw", len(asked), "users"):
        for state in asked:
            graph.search(state[None], 10)
    found = graph.search(asked, 10)
    recall = float((found.scores >= truth.scores[: len(asked), -1:] - 1e-5).mean())
    task = training(checkpoint, embedded, known)
    with stages.stage("training step", STEPS, "steps"):
        for number in range(STEPS):
            task(number)
    return [row(size, name, cost, recall) for name, cost in stages.to_dict().items()]


def training(checkpoint: Any, embedded: Any, known: Any) -> Callable[[int], object]:
    """A step of fine-tuning by LoRA: a batch, its loss and its gradients; warmed up."""
    import torch

    from adapt.workflows.finetune_settings import Adaptation, TrainingSettings
    from adapt.workflows.finetune_task import Setup, TrainingData

    data = TrainingData(embedded.items, known)
    task = Setup.of(checkpoint.towers, data, Adaptation(residual=False), TrainingSettings(), 0).task
    task.module.train()

    def step(number: int) -> None:
        task.module.zero_grad(set_to_none=True)
        task.module(task.batch(number, 0, 1, torch.device("cpu")))["total"].backward()

    step(STEPS)
    return step


def row(size: int, stage: str, cost: dict[str, Any], recall: float) -> dict[str, Any]:
    """What a stage took in all, and for one item, user or step."""
    each = cost["seconds"] / cost["count"] if cost.get("count") else cost["seconds"]
    return {
        "items": size,
        "stage": stage,
        "seconds": cost["seconds"],
        "cpu_seconds": cost["cpu_seconds"],
        "unit": cost.get("unit", ""),
        "ms_each": round(1000 * each, 5),
        "peak_bytes": cost.get("peak_bytes"),
        "own_bytes": cost.get("own_bytes"),
        "recall": round(recall, 4) if stage == "search hnsw" else None,
    }


def shown(line: dict[str, Any]) -> dict[str, object]:
    """A row as people read it."""
    sizes = {name: round(line[name] / 1e9, 2) if line[name] else None for name in ("peak_bytes", "own_bytes")}
    return {
        "items": line["items"],
        "stage": line["stage"],
        "seconds": round(line["seconds"], 2),
        "CPU seconds": round(line["cpu_seconds"], 2),
        "ms each": line["ms_each"],
        "of": line["unit"],
        "peak GB": sizes["peak_bytes"],
        "own GB": sizes["own_bytes"],
        "recall": line["recall"],
    }


def exponents(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The slope of log time over log items of each stage: of all items for stages over items, else of one user or step.

    By the clock and by processor time; the second is what other load on the machine changes less.
    """
    found = []
    for stage in dict.fromkeys(line["stage"] for line in rows):
        lines = [line for line in rows if line["stage"] == stage]
        items = np.log([line["items"] for line in lines])
        slopes = {}
        for name, field in (("by the clock", "seconds"), ("by processor time", "cpu_seconds")):
            all_ = np.array([max(line[field], 1e-4) for line in lines])
            per = all_ if lines[0]["unit"] == "items" else all_ * _share(lines)
            slopes[name] = round(float(np.polyfit(items, np.log(per), 1)[0]), 3)
        bar = BARS.get(stage)
        slope = slopes["by the clock"]
        met = "" if bar is None else "met" if slope <= bar else "MISSED"
        found.append({"stage": stage, **slopes, "at most": bar, "bar": met})
    return found


def _share(lines: Sequence[dict[str, Any]]) -> np.ndarray:
    """One user or step of each row's."""
    return np.array([line["ms_each"] / 1000 / max(line["seconds"], 1e-9) for line in lines])


def end_to_end(folder: Path, items: int, users: int) -> dict[str, Any]:
    """`adapt zero-shot` for so many users: seconds and the peak of memory, which are the process's own."""
    output = folder / f"run-{users}"
    command = ["zero-shot", "--dataset", str(data_set(folder, items)), "--sample-users", str(users)]
    command += ["--output", str(output), "--profile"]
    started = time.perf_counter()
    environment = {**os.environ, "ADAPT_CACHE": str(folder / f"cache-{users}")}
    subprocess.run([sys.executable, "-m", "adapt", *command], env=environment, stdout=subprocess.DEVNULL, check=True)
    seconds = time.perf_counter() - started
    record = json.loads((output / "run.json").read_text(encoding="utf-8"))
    stages = record["profile"].values()
    return {
        "users": users,
        "seconds": round(seconds, 1),
        "search": record["index"]["kind"],
        "peak_gb": round(max(stage["peak_bytes"] for stage in stages) / 1e9, 2),
        "own_gb": round(max(stage["own_bytes"] for stage in stages) / 1e9, 2),
        **{name: stage["seconds"] for name, stage in record["profile"].items()},
    }


def growth(runs: Sequence[dict[str, Any]]) -> float:
    """The peak with the most users over that with the fewest."""
    return float(runs[-1]["peak_gb"] / runs[0]["peak_gb"])


def ratio(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The same as the guard reads it: how flat memory is, more is better."""
    flat = 1 / growth(runs)
    return {
        "what": f"peak memory of zero-shot: {ASKED[0]:,} users to {ASKED[1]:,}",
        "ratio": round(flat, 3),
        "quartiles": [round(flat, 3)] * 2,
        "at_least": round(1 / 1.2, 3),
        "met": growth(runs) < 1.2,
    }


if __name__ == "__main__":
    sys.exit(main())

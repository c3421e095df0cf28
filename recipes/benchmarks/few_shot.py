"""Few-shot quality by the amount of evidence, beside what is simple, and its speed.

    python recipes/benchmarks/few_shot.py --data DIR [--data DIR ...] [--checkpoint adapt-mini] [--fractions 0,1,100]
        [--modalities text]

Each user's last item is hidden and ranked among the whole catalog, seen items excluded, ties sharing the mean rank; all
users count. A fraction is the share of users whose histories (without the hidden items) are known to a method; the
history of whoever is asked for is always given. Co-occurrence and popularity are counted on the same events.

At 100 %, the time to make the recommender from the embedded catalog, to answer every user (10 items each), to add one
event, and the peak memory of the process so far are measured. Prints a table and one line of JSON per data set and
fraction. Give one data set at a time for a peak memory of its own.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from modalities import MODALITIES, with_modalities

from adapt import Checkpoint, load_dataset
from adapt.data import Dataset
from adapt.data.catalog import Interactions
from adapt.evaluate.baselines import Scorer, popularity, tuned_item_knn
from adapt.evaluate.histories import HistoryLists
from adapt.evaluate.metrics import gains_at_k
from adapt.evaluate.ranking import Evaluation, evaluate
from adapt.evaluate.significance import paired_bootstrap
from adapt.evaluate.tasks import Task, leave_one_out_task, with_fraction
from adapt.hub.card import markdown_table
from adapt.machine import peak_memory, processor
from adapt.workflows.evaluate_methods import of_recommender
from adapt.workflows.few_shot import FewShotRecommender, remember
from adapt.workflows.recommender import Recommender, ZeroShotRecommender, zero_shot

ADDED = 200


def methods(zero: ZeroShotRecommender, items: int, made: list[Recommender]) -> dict[str, Callable[..., object]]:
    """Name -> from training events to a scorer of histories; the few-shot recommender is kept in ``made``."""

    def few(train: Interactions) -> Callable[[HistoryLists], Scorer]:
        made.append(remember(zero, train))
        return of_recommender(made[-1])

    return {
        "few-shot": few,
        "content (zero-shot)": lambda train: of_recommender(zero),  # noqa: ARG005
        "tuned item-kNN": lambda train: lambda histories: tuned_item_knn(train, histories, items),
        "popularity": lambda train: lambda histories: popularity(train, items),  # noqa: ARG005
    }


def compare(found: dict[str, Evaluation], other: str) -> dict[str, object]:
    """NDCG@10 of few-shot against another method."""
    ours, theirs = (gains_at_k(found[name].ranks, 10) for name in ("few-shot", other))
    difference = paired_bootstrap(ours, theirs)
    return {
        "method": other,
        "ndcg@10": round(float(theirs.mean()), 5),
        "ratio": round(float(ours.mean() / theirs.mean()), 3) if theirs.any() else None,
        "difference_95": [round(difference.low, 5), round(difference.high, 5)],
    }


def speed(data: Dataset, zero: ZeroShotRecommender, task: Task) -> dict[str, object]:
    """Seconds and memory at full evidence, on a recommender that was not asked before."""
    started = time.perf_counter()
    recommender = remember(zero, task.train)
    made = time.perf_counter() - started
    offsets, items = task.histories.offsets, task.histories.items
    histories = [items[offsets[case] : offsets[case + 1]] for case in range(len(task))]
    started = time.perf_counter()
    recommender.search_histories(histories, 10)
    answered = time.perf_counter() - started
    assert isinstance(recommender, FewShotRecommender)
    random = np.random.default_rng(0)
    rows = random.choice(np.flatnonzero(zero.embedded.usable), ADDED)
    started = time.perf_counter()
    for number, row in enumerate(rows.tolist()):
        recommender.add(f"new user {number % 20}", data.catalog.ids[row])
    added = (time.perf_counter() - started) / ADDED
    return {
        "users": len(task),
        "make_s": round(made, 1),
        "answer_s": round(answered, 1),
        "add_ms": round(1000 * added, 2),
        "peak_mb": round(peak_memory() / 2**20),
    }


def run(data: Dataset, checkpoint: Checkpoint, fractions: list[float]) -> None:
    assert data.interactions is not None, f"{data.name} has no interactions"
    zero = zero_shot(checkpoint, data)
    task = leave_one_out_task(data.interactions, zero.embedded.usable)
    zero = zero_shot(checkpoint, dataclasses.replace(data, interactions=task.train))
    timing = speed(data, zero, task) if 100 in fractions else {}
    print(f"\n{data.name}, {checkpoint.config.name}: {task.description}; {len(task):,} users; {timing}")
    rows = []
    for fraction in fractions:
        some = with_fraction(task, fraction / 100)
        made: list[Recommender] = []
        found = {
            name: evaluate(method, some)  # type: ignore[arg-type]
            for name, method in methods(zero, len(data.catalog), made).items()
        }
        rivals = {name: compare(found, name) for name in found if name != "few-shot"}
        best = max(rivals, key=lambda name: rivals[name]["ndcg@10"])  # type: ignore[arg-type, return-value]
        rows.append(
            [
                f"{fraction:g} %",
                *(f"{entry.metrics['recall@10']:.4f} / {entry.metrics['ndcg@10']:.4f}" for entry in found.values()),
                f"{rivals[best]['ratio']} {rivals[best]['difference_95']}",
            ]
        )
        line = {
            "benchmark": "few_shot",
            "target": data.name,
            "checkpoint": checkpoint.config.name,
            "fraction_percent": fraction,
            "known_events": len(some.train),
            "methods": {
                name: {key: round(entry.metrics[key], 5) for key in ("recall@10", "ndcg@10")}
                for name, entry in found.items()
            },
            "against": list(rivals.values()),
            **(made[0].facts() if made else {}),
            **(timing if fraction == 100 else {}),
            "machine": processor(),
        }
        print(json.dumps(line), flush=True)
    print(markdown_table(["known", *methods(zero, 0, []), "NDCG@10 against the best other"], rows), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", action="append", required=True, type=Path)
    parser.add_argument("--checkpoint", default="adapt-mini")
    parser.add_argument("--fractions", default="0,1,5,10,100", help="per cent, separated by commas")
    parser.add_argument("--modalities", default="all", choices=MODALITIES, help="what is read of the items")
    args = parser.parse_args()
    torch.set_grad_enabled(False)
    checkpoint = Checkpoint.from_pretrained(args.checkpoint)
    for path in args.data:
        data = with_modalities(load_dataset(path), args.modalities)
        run(data, checkpoint, [float(part) for part in args.fractions.split(",")])


if __name__ == "__main__":
    main()

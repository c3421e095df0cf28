"""Time, memory and quality of fine-tuning, strict and live, pretrained against scratch.

    python recipes/benchmarks/finetune.py --data DATA/amazon_beauty_2014 --data DATA/ml100k

For each data set the last event of every user is hidden. A fine-tune is given the others, holds back the last of them
for validation, and ranks the hidden one, all users, full ranking, seen items excluded: "strict" with the towers that
never saw the validation event, "live" with those trained again on it. "scratch" starts from the training-free towers,
as in `adapt evaluate`: content all the same, and nothing of it was ever trained. A table is printed, and one JSON line
for each row; then, by the validation after each epoch, the share of scratch's steps after which the pretrained towers
rank as well as scratch at its best.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from modalities import MODALITIES, with_modalities

from adapt.data import load_dataset
from adapt.data.catalog import Dataset
from adapt.evaluate.metrics import gains_at_k, hits_at_k
from adapt.evaluate.ranking import rank_cases
from adapt.evaluate.significance import bootstrap_interval
from adapt.evaluate.tasks import Task, Training, leave_one_out_task
from adapt.hub.format import Checkpoint
from adapt.machine import peak_memory, processor
from adapt.workflows.embedding import embed_catalog
from adapt.workflows.finetune import FinetuneOptions, finetune
from adapt.workflows.finetuned import METHODS
from adapt.workflows.recommender import Recommender
from adapt.workflows.training_free import training_free

PROTOCOLS: tuple[Training, ...] = ("strict", "live")


@dataclass(frozen=True)
class Row:
    """One method on one data set.

    Attributes:
        data, start, protocol, method: what was measured; ``start`` is the checkpoint, or ``scratch``.
        recall, ndcg: at 10; ``low`` and ``high`` are of the NDCG's 95 % interval.
        chosen: whether validation chose the method.
        facts: of the training.
    """

    data: str
    start: str
    protocol: str
    method: str
    users: int
    recall: float
    ndcg: float
    low: float
    high: float
    chosen: bool
    facts: dict[str, Any]


def measure(recommender: Recommender, task: Task) -> tuple[np.ndarray, np.ndarray]:
    """Hits and gains at 10 of every case."""
    lists = np.split(task.histories.items, task.histories.offsets[1:-1])
    found = rank_cases(
        lambda cases: recommender.score_histories([lists[case] for case in cases]),
        task.histories,
        task.targets,
        task.candidates,
        ks=(10,),
    )
    return hits_at_k(found.ranks, 10), gains_at_k(found.ranks, 10)


def rows(dataset: Dataset, checkpoint: Checkpoint, start: str, options: FinetuneOptions) -> Iterator[Row]:
    """Both protocols and all methods of one start on one data set."""
    assert dataset.interactions is not None
    task = leave_one_out_task(dataset.interactions, embed_catalog(checkpoint, dataset.catalog).usable)
    known = replace(dataset, interactions=task.train)
    for protocol in PROTOCOLS:
        began = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            refit = protocol == "live"
            run = finetune(checkpoint, known, replace(options, refit=refit), Path(folder) / "run", reference=start)
            seconds = time.monotonic() - began
            part = run.record["trainings"]["refit" if refit else "towers"]
            facts = {
                "seconds_an_epoch": run.record["trainings"]["towers"]["seconds_an_epoch"],
                "training_seconds": run.record["seconds"]["training"],
                "total_seconds": round(seconds, 1),
                "epochs": part["steps"] / part["steps_an_epoch"],
                "trainable_parameters": part["trainable_parameters"],
                "peak_memory_bytes": peak_memory(),
                "residual_norm": part["residual_norm"],
                "curve": run.record["trainings"]["towers"]["validation_ndcg@10"],
                "validation": {m: v["ndcg@10"]["mean"] for m, v in run.record["validation"]["methods"].items()},
            }
            # What may be remembered is what may be trained on.
            train = leave_one_out_task(dataset.interactions, task.candidates, protocol).train
            seen = replace(known, interactions=train)
            for method in METHODS:
                hits, gains = measure(run.recommender(seen, method=method), task)
                interval = bootstrap_interval(gains)
                yield Row(
                    dataset.name, start, protocol, method, len(task), float(hits.mean()), interval.mean, interval.low,
                    interval.high, method == run.chosen, facts,
                )  # fmt: skip


def head_start(data: str, pretrained: list[float], scratch: list[float]) -> str:
    """When the pretrained towers rank as well as scratch at its best, both by the validation after each epoch.

    >>> head_start("shop", [0.2, 0.3], [0.1, 0.2, 0.3, 0.2])
    'shop: scratch is at its best (0.3000) after 3 epochs, the pretrained towers are there after 2: 0.67 of the steps'
    """
    best = max(scratch)
    needed = scratch.index(best) + 1
    begin = f"{data}: scratch is at its best ({best:.4f}) after {needed} epochs, the pretrained towers "
    reached = [number for number, value in enumerate(pretrained, 1) if value >= best]
    if not reached:
        return begin + f"never are (at most {max(pretrained):.4f} in {len(pretrained)} epochs)"
    return begin + f"are there after {reached[0]}: {reached[0] / needed:.2f} of the steps"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--data", action="append", required=True, help="a data set with interactions")
    parser.add_argument("--checkpoint", default="adapt-mini")
    parser.add_argument("--no-scratch", action="store_true", help="leave out the training-free towers")
    parser.add_argument("--kind", default="lora", choices=["lora", "full", "head"])
    parser.add_argument("--modalities", default="all", choices=MODALITIES, help="what is read of the items")
    arguments = parser.parse_args()
    print(f"{processor()}; torch {torch.__version__}, {torch.get_num_threads()} threads", file=sys.stderr)
    options = FinetuneOptions(kind=arguments.kind)
    print(f"{'data':24} {'start':14} {'':7} {'method':11} {'R@10':>6} {'NDCG@10':>8} {'interval':>16} s/epoch  memory")
    for path in arguments.data:
        dataset = with_modalities(load_dataset(path), arguments.modalities)
        base = Checkpoint.from_pretrained(arguments.checkpoint)
        starts = {arguments.checkpoint: base}
        if not arguments.no_scratch:
            starts["scratch"] = training_free(dataset)
        curves: dict[str, list[float]] = {}
        for start, checkpoint in starts.items():
            for row in rows(dataset, checkpoint, start, options):
                curves.setdefault(start, row.facts["curve"])
                print(
                    f"{row.data:24} {row.start:14} {row.protocol:7} {row.method + '*' * row.chosen:11} "
                    f"{row.recall:.4f} {row.ndcg:8.4f} {row.low:.4f} to {row.high:.4f} "
                    f"{row.facts['seconds_an_epoch']:7.1f} {row.facts['peak_memory_bytes'] / 2**30:5.2f} GB"
                )
                print(json.dumps(row.__dict__), flush=True)
        if not arguments.no_scratch:
            print(head_start(dataset.name, curves[arguments.checkpoint], curves["scratch"]), flush=True)


if __name__ == "__main__":
    main()

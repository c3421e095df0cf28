"""Real towers and the next-item objective through the loop, in as many processes as the launcher started."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import torch

from adapt.data.batches import SequenceSampler, SequenceSource
from adapt.model.content import ContentTowers
from adapt.model.items import ItemFeatures
from adapt.seeds import generator
from adapt.train.loop import LoopOptions, run_loop
from adapt.train.objectives.alignment import Alignment
from adapt.train.objectives.base import WeightedSum
from adapt.train.objectives.next_item import NextItem
from adapt.train.pretraining import Pretraining, TowersWithLoss

ITEMS, USERS = 60, 40
OPTIONS = LoopOptions(steps=8, learning_rate=0.01)


def task() -> Pretraining:
    random = generator(0)
    lengths = random.integers(2, 12, size=USERS)
    source = SequenceSource(
        "tiny",
        ITEMS,
        np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        random.integers(ITEMS, size=int(lengths.sum())).astype(np.int32),
        np.ones(ITEMS, dtype=bool),
    )
    catalog = ItemFeatures(
        {name: torch.from_numpy(random.normal(size=(ITEMS, 8))).float() for name in ("text", "image")},
        {name: torch.ones(ITEMS, dtype=torch.bool) for name in ("text", "image")},
    )
    items = [catalog, catalog.only(["text"])]  # batches of the second source leave the weights that read images alone
    torch.manual_seed(0)
    towers = ContentTowers(
        {"text": 8, "image": 8}, shared=8, private={"image": 8}, depth=1, width=8, heads=2, hidden=8, dropout=0.0
    )
    objective = WeightedSum([(1.0, NextItem()), (0.5, Alignment(["V-T", "T-VT"]))])
    sampler = SequenceSampler([source, source], batch_size=15, max_length=8, negatives=16)
    return Pretraining(TowersWithLoss(towers, objective, 0.1), sampler, items, 12, 0.3, 0)


def main() -> None:
    folder = Path(sys.argv[1])
    run_loop(task(), OPTIONS, folder, device="cpu")
    (folder / f"ranks-{os.environ.get('WORLD_SIZE', '1')}").touch()
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main()

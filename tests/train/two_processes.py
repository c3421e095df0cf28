"""Every kind of training on small data, in as many processes as were started: losses, gradients, and runs.

As a program: ``two_processes.py FOLDER`` writes what :func:`gradients` finds, averaged over processes, and a log of
each training into the folder.
"""

from __future__ import annotations

import dataclasses
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from adapt import adapters, ranks
from adapt.data.batches import SequenceSampler, SequenceSource
from adapt.features.normalise import Normalisation
from adapt.features.transformers import load_transformers
from adapt.model.content import ContentTowers
from adapt.model.inference import embed_items
from adapt.model.items import ItemFeatures
from adapt.model.mmsrec import AttentionKind, MMSRec
from adapt.model.residual import ItemResidual
from adapt.model.towers import DualTower
from adapt.seeds import generator
from adapt.train.finetuning import (
    BESIDE_LORA,
    HEAD,
    FineTunedTowers,
    FineTuning,
    make_sampler,
    train_only,
    trains_items,
)
from adapt.train.loop import LoopOptions, ParameterGroup, Task, run_loop
from adapt.train.objectives.alignment import Alignment
from adapt.train.objectives.base import Objective, WeightedSum
from adapt.train.objectives.cloze import Cloze
from adapt.train.objectives.next_item import NextItem
from adapt.train.pretraining import Pretraining, TowersWithLoss
from adapt.train.sources import PretrainingSource, RawFeatures, prepare_source
from adapt.train.static_tuning import StaticTuning, TokenLists, TunedTable
from adapt.train.transformer_tuning import TransformerTuning, TunedTransformer, tokenised
from tests.tiny_models import save_bert

ITEMS, USERS, WIDTH = 61, 40, 8
OPTIONS = LoopOptions(steps=6, learning_rate=0.01)
NUMBERS = range(3)
WORDS = ("anchor", "violin", "tractor", "pepper", "helmet", "candle", "red", "blue")
SETTINGS = Normalisation(power=0.5, prior_count=32.0)


def histories() -> SequenceSource:
    random = generator(0)
    lengths = random.integers(2, 12, size=USERS)
    return SequenceSource(
        "tiny",
        ITEMS,
        np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        random.integers(ITEMS, size=int(lengths.sum())).astype(np.int32),
        np.ones(ITEMS, dtype=bool),
    )


def catalog() -> ItemFeatures:
    """Two modalities, one of which some items lack."""
    random = generator(1)
    present = {name: torch.ones(ITEMS, dtype=torch.bool) for name in ("text", "image")}
    present["image"][::5] = False
    return ItemFeatures(
        {name: torch.from_numpy(random.normal(size=(ITEMS, WIDTH))).float() for name in present}, present
    )


def content_towers() -> ContentTowers:
    torch.manual_seed(0)
    return ContentTowers(
        {"text": WIDTH, "image": WIDTH},
        shared=WIDTH,
        private={"image": WIDTH},
        depth=1,
        width=WIDTH,
        heads=2,
        hidden=WIDTH,
        dropout=0.0,
    )


def paper_towers(attention: AttentionKind = "bidirectional") -> MMSRec:
    torch.manual_seed(0)
    widths = {"text": WIDTH, "image": WIDTH}
    return MMSRec(widths, dim=WIDTH, depth=1, heads=2, hidden=WIDTH, max_length=6, dropout=0.0, attention=attention)


def low_rank_towers() -> ContentTowers:
    towers = content_towers()
    adapters.attach(towers, rank=2, alpha=4.0, beside=BESIDE_LORA[ContentTowers])
    return towers


def head_of_towers() -> ContentTowers:
    """Nothing is trained in the item tower: its embeddings are looked up."""
    towers = content_towers()
    train_only(towers, HEAD[ContentTowers])
    return towers


def pretraining(towers: DualTower, parts: list[tuple[float, Objective]], mask_ratio: float | None) -> Pretraining:
    source, items = histories(), catalog()
    sampler = SequenceSampler([source, source], 15, towers.max_length, 16, max_targets=50, mask_ratio=mask_ratio)
    module = TowersWithLoss(towers, WeightedSum(parts), 0.1)
    # Batches of the second source leave the weights that read images alone.
    return Pretraining(module, sampler, [items, items.only(["text"])], 13, 0.3, 0)


def fine_tuning(towers: DualTower, residual: bool) -> FineTuning:
    items = catalog()
    part = ItemResidual(items.any_present, torch.arange(WIDTH), 1.0) if residual else None
    looked_up = (
        None if trains_items(towers) else torch.from_numpy(embed_items(towers, items, items.any_present.numpy()))
    )
    module = FineTunedTowers(towers, part, 0.1, penalty=0.5, content=looked_up)
    groups = [ParameterGroup([value for value in module.parameters() if value.requires_grad])]
    return FineTuning(module, make_sampler(histories(), towers, 40, 16, 0), items, groups)


def table_tuning() -> StaticTuning:
    random = generator(2)
    lengths = random.integers(1, 5, size=ITEMS)
    lists = TokenLists(
        torch.from_numpy(random.integers(30, size=int(lengths.sum()))),
        torch.from_numpy(np.concatenate([[0], np.cumsum(lengths)])),
        torch.zeros(WIDTH),
        torch.eye(WIDTH),
        measured_source(random.normal(size=(ITEMS, WIDTH)).astype(np.float32)),
    )
    table = random.normal(size=(30, WIDTH)).astype(np.float32)
    encoder: Any = None  # measures left-out sources, of which there are none
    return StaticTuning(TunedTable(table, 0.4, 0.1), [lists], 15, 6, 0, encoder, SETTINGS, 0.4)


def encoder_tuning() -> TransformerTuning:
    with tempfile.TemporaryDirectory() as folder:
        encoder = load_transformers(save_bert(Path(folder) / "bert", WORDS, dim=16, layers=1, positions=16))
    random = generator(3)
    texts = [" ".join(random.choice(WORDS, size=int(random.integers(1, 6)))) for _ in range(ITEMS)]
    tokens = tokenised(encoder, texts, measured_source(encoder.encode(texts)), SETTINGS, 8)
    torch.manual_seed(0)
    return TransformerTuning(TunedTransformer(encoder, 4, 8.0, 0.4, 0.1), [tokens], 7, 5, 6, 0, SETTINGS, 0.4)


def measured_source(values: np.ndarray) -> PretrainingSource:
    source = histories()
    features = {"text": RawFeatures(values, np.ones(len(values), bool))}
    return prepare_source("tiny", features, source.offsets, source.items, ordered=True, cases=5, seed=0)


TASKS: dict[str, Callable[[], Task]] = {
    "towers": lambda: pretraining(
        content_towers(), [(1.0, NextItem()), (0.5, Alignment(["V-T", "T-VT", "VT-VT'"]))], None
    ),
    "paper": lambda: pretraining(paper_towers(), [(1.0, Cloze()), (0.5, Alignment())], 0.3),
    "paper, causal": lambda: pretraining(paper_towers("causal"), [(1.0, NextItem()), (0.5, Alignment())], None),
    "fine-tuning": lambda: fine_tuning(content_towers(), residual=True),
    "fine-tuning by LoRA": lambda: fine_tuning(low_rank_towers(), residual=True),
    "fine-tuning the head": lambda: fine_tuning(head_of_towers(), residual=False),
    "fine-tuning the paper's": lambda: fine_tuning(paper_towers(), residual=False),
    "table": table_tuning,
    "encoder": encoder_tuning,
}


def gradients(task: Task, rank: int, count: int) -> dict[str, Tensor]:
    """Losses and gradients of a few batches, or of this process's share of them.

    Those of the paper's towers are large, so that they are computed in double precision; other modules compute in
    single precision whatever they are given.
    """
    double = isinstance(getattr(task.module, "towers", None), MMSRec)
    module, found = (task.module.double() if double else task.module).train(), {}
    for number in NUMBERS:
        module.zero_grad()
        batch = task.batch(number, rank, count, torch.device("cpu"))
        losses = module(doubled(batch) if double else batch)
        losses["total"].backward()
        found |= {f"{number} loss {name}": value.detach().clone() for name, value in losses.items()}
        found |= {
            f"{number} {name}": torch.zeros_like(value) if value.grad is None else value.grad.clone()
            for name, value in module.named_parameters()
            if value.requires_grad
        }
    return found


def doubled(value: Any) -> Any:
    """A batch with all its floats in double precision."""
    if isinstance(value, Tensor):
        return value.double() if value.is_floating_point() else value
    if isinstance(value, dict):
        return {name: doubled(part) for name, part in value.items()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        parts = [part.name for part in dataclasses.fields(value) if part.init]
        return dataclasses.replace(value, **{name: doubled(getattr(value, name)) for name in parts})
    return value


def main() -> None:
    folder = Path(sys.argv[1])
    torch.distributed.init_process_group("gloo")
    for name, make in TASKS.items():
        found = gradients(make(), ranks.rank(), ranks.count())
        for value in found.values():
            torch.distributed.all_reduce(value)
            value.div_(ranks.count())
        if ranks.is_main():
            save_file(found, folder / f"{name}.safetensors")
        run_loop(make(), OPTIONS, folder / name, device="cpu")
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main()

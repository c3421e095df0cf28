"""What goes between the benchmark and a peer: one file of histories there, one file of vectors back.

Needs numpy alone, so that it runs in both environments.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Histories:
    """History ``n`` is ``items[offsets[n]:offsets[n + 1]]``, catalog rows, oldest first."""

    offsets: np.ndarray
    items: np.ndarray

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, number: int) -> np.ndarray:
        return self.items[self.offsets[number] : self.offsets[number + 1]]


@dataclass(frozen=True)
class Question:
    """Learn from ``train``; then answer for each set of histories in ``asked``."""

    train: Histories
    asked: tuple[Histories, ...]
    catalog: int


@dataclass(frozen=True)
class Answer:
    """The score of an item for a history is the product of their vectors.

    Attributes:
        users: for each set of histories float32 (histories, dim).
        items: float32 (catalog, dim).
        known: bool (catalog,), the peer can recommend the item.
    """

    users: tuple[np.ndarray, ...]
    items: np.ndarray
    known: np.ndarray


def write_question(path: Path, question: Question) -> None:
    parts = {"train": question.train} | {f"asked{n}": part for n, part in enumerate(question.asked)}
    arrays = {f"{name}_{side}": getattr(part, side) for name, part in parts.items() for side in ("offsets", "items")}
    np.savez(path, catalog=question.catalog, **arrays)


def read_question(path: Path) -> Question:
    with np.load(path, allow_pickle=False) as file:
        count = sum(name.startswith("asked") and name.endswith("_items") for name in file.files)
        names = ["train", *(f"asked{number}" for number in range(count))]
        train, *asked = [Histories(file[f"{name}_offsets"], file[f"{name}_items"]) for name in names]
        return Question(train, tuple(asked), int(file["catalog"]))


def write_answer(path: Path, answer: Answer) -> None:
    users = {f"users{number}": values.astype(np.float32) for number, values in enumerate(answer.users)}
    np.savez(path, items=answer.items.astype(np.float32), known=answer.known, **users)


def read_answer(path: Path) -> Answer:
    with np.load(path, allow_pickle=False) as file:
        count = sum(name.startswith("users") for name in file.files)
        return Answer(tuple(file[f"users{number}"] for number in range(count)), file["items"], file["known"])

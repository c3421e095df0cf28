"""Small indexes over text, built in a moment, and what they must hold whatever happened."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from adapt import Checkpoint, load_dataset
from adapt.data.catalog import Catalog
from adapt.workflows.index_build import BuildOptions, BuildResult, build
from adapt.workflows.living_index import LivingIndex

WORDS = (
    "tent",
    "sleeping bag",
    "camp stove",
    "espresso machine",
    "coffee grinder",
    "milk jug",
    "red rose",
    "white rose",
)


def rows(count: int, first: int = 0) -> list[str]:
    """Lines of a table with an id, a title, a category and a price."""
    lines = []
    for number in range(first, first + count):
        words = WORDS[number % len(WORDS)]
        group = ("camp", "coffee", "garden")[min(2, number % len(WORDS) // 3)]
        lines.append(f"{number:03},{words} {number},{group},{number}.50")
    return lines


def table(path: Path, lines: Sequence[str]) -> Path:
    """Write items as a file."""
    path.write_text("item_id,title,category,price\n" + "\n".join(lines) + "\n", encoding="utf-8")
    return path


def catalog(path: Path, lines: Sequence[str]) -> Catalog:
    """Items as they are added."""
    return load_dataset(table(path, lines)).catalog


def saved(checkpoint: Checkpoint, folder: Path) -> Path:
    """A checkpoint on disk, so that it has a fingerprint."""
    checkpoint.save_pretrained(folder)
    return folder


def built(data: Path, output: Path, model: Path, **options: object) -> BuildResult:
    """Build an index."""
    return build(BuildOptions(dataset=str(data), output=str(output), checkpoint=str(model), **options))  # type: ignore[arg-type]


def contents(path: Path) -> dict[str, tuple[str, bytes]]:
    """Every item of an index, read anew: id -> title and embedding; checks that the index agrees with itself."""
    now = LivingIndex.open(path).snapshot
    found = {}
    for row in now.rows.tolist():
        vector = now.vectors.take(np.array([row]))
        assert abs(float(np.linalg.norm(vector)) - 1) < 0.02
        found[now.id(row)] = (now.title(row), vector.tobytes())
    assert len(found) == len(now) == now.description.count
    return found

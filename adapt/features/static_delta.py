"""A tuned static table on disk: which base it belongs to, and what tuning added to each row, in eight bits a number."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from adapt.errors import CheckpointError
from adapt.files import sha256_file

BASE, DELTA = "base.json", "delta.safetensors"
_LEVELS = 127


@dataclass(frozen=True, eq=False)
class TableDelta:
    """What tuning added.

    Attributes:
        base: folder of the base table.
        steps: int8 (tokens, dim).
        scale: float32 (tokens,), the value of one step in each row.
    """

    base: Path
    steps: NDArray[np.int8]
    scale: NDArray[np.float32]

    def added_to(self, table: NDArray[np.float32]) -> NDArray[np.float32]:
        """The tuned table.

        Raises:
            CheckpointError: the shapes differ.
        """
        if table.shape != self.steps.shape:
            raise CheckpointError(f"expected a delta for a table of shape {table.shape}, found {self.steps.shape}")
        return table + self.steps.astype(np.float32) * self.scale[:, None]


def is_delta(folder: Path) -> bool:
    """Is this the folder of a tuned table?"""
    return (folder / DELTA).is_file()


def write_delta(folder: Path, base: Path, added: NDArray[np.float32]) -> None:
    """Write ``base.json`` and ``delta.safetensors`` into a folder that lies, or will lie, beside its base.

    Args:
        folder: exists.
        base: folder of the base table; only its name and the sha256 of its weights are written.
        added: float32 (tokens, dim), rounded to 127 steps up and down in each row.
    """
    scale = (np.abs(added).max(axis=1) / _LEVELS).astype(np.float32)
    steps = np.rint(added / np.maximum(scale, np.finfo(np.float32).tiny)[:, None]).astype(np.int8)
    save_file({"steps": np.ascontiguousarray(steps), "scale": scale}, folder / DELTA)
    described = {"format_version": 1, "base": base.name, "base_sha256": sha256_file(base / "model.safetensors")}
    (folder / BASE).write_text(json.dumps(described, indent=2) + "\n", encoding="utf-8")


def read_delta(folder: Path) -> TableDelta:
    """Read what :func:`write_delta` wrote, and find the base beside it.

    Raises:
        CheckpointError: a file is damaged, or the base is absent or another one; says both hashes.
    """
    try:
        described = json.loads((folder / BASE).read_text(encoding="utf-8"))
        name, expected = str(described["base"]), str(described["base_sha256"])
        tensors = load_file(folder / DELTA)
        steps, scale = tensors["steps"], tensors["scale"].astype(np.float32)
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as failure:
        raise CheckpointError(f"expected a tuned static table in {folder}, found: {failure!r}") from failure
    base = folder.parent / Path(name).name
    if not (base / "model.safetensors").is_file():
        raise CheckpointError(f"expected the base table {name} beside {folder}, found none")
    if (found := sha256_file(base / "model.safetensors")) != expected:
        raise CheckpointError(f"expected the base {base} with sha256 {expected}, found {found}")
    if steps.dtype != np.int8 or steps.ndim != 2 or scale.shape != (len(steps),) or not np.isfinite(scale).all():
        raise CheckpointError(f"expected int8 steps and a finite scale for each row in {folder / DELTA}")
    return TableDelta(base, steps, scale)

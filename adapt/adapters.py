"""LoRA adapters for the towers of one checkpoint: attach, save, load, merge.

An adapter reaches every linear layer that :meth:`~adapt.model.towers.DualTower.lora_targets` names.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from adapt import lora
from adapt.errors import CheckpointError
from adapt.files import atomic_folder
from adapt.model.towers import DualTower

_BASE = "base.json"


@dataclass(frozen=True)
class BaseIdentity:
    """The checkpoint that an adapter belongs to: its name, revision and fingerprint."""

    name: str
    revision: str
    sha256: str


def attach(towers: DualTower, *, rank: int = 8, alpha: float = 16.0, dropout: float = 0.0) -> int:
    """Put a fresh adapter on the towers' own projections and freeze everything else; see :func:`adapt.lora.attach`.

    Returns:
        The number of trainable parameters.

    Raises:
        UsageError: the rank is below 1, or the towers have an adapter already.
    """
    return lora.attach(towers, towers.lora_targets(), rank=rank, alpha=alpha, dropout=dropout)


def save(towers: DualTower, folder: Path, base: BaseIdentity, *, replace: bool = False) -> None:
    """Write the adapter alone: peft's two files, and which base it belongs to.

    Raises:
        UsageError: the towers have no adapter.
        OutputError: the folder exists with files in it, or cannot be written.
    """
    with atomic_folder(folder, replace=replace) as temporary:
        lora.write(towers, temporary)
        text = json.dumps({"name": base.name, "revision": base.revision, "sha256": base.sha256}, indent=2)
        (temporary / _BASE).write_text(text + "\n", encoding="utf-8")


def load(towers: DualTower, folder: Path, base: BaseIdentity) -> None:
    """Attach a saved adapter to the towers that it was trained on.

    Args:
        towers: of the checkpoint ``base``; changed in place.
        folder: written by :func:`save`.
        base: what the towers are.

    Raises:
        CheckpointError: the adapter belongs to another base (both hashes are said), or a file is missing or damaged.
    """
    try:
        written = json.loads((folder / _BASE).read_text(encoding="utf-8"))
        found = {key: str(written[key]) for key in ("name", "revision", "sha256")}
    except (OSError, ValueError, KeyError, TypeError) as failure:
        raise CheckpointError(f"expected an adapter in {folder}, found: {failure!r}") from failure
    if found["sha256"] != base.sha256:
        raise CheckpointError(
            f"expected an adapter for {base.name} with sha256 {base.sha256}, "
            f"found one for {found['name']} with sha256 {found['sha256']}",
            f"Load the base {found['name']}@{found['revision'] or 'main'} that the adapter was trained on.",
        )
    lora.load(towers, folder)


def merge(towers: DualTower) -> None:
    """Add the adapter's updates to the towers' own weights and remove it; see :func:`adapt.lora.merge`.

    Raises:
        UsageError: the towers have no adapter.
    """
    lora.merge(towers)

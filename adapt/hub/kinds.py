"""What is shared on the Hub: how a folder is recognised, and which of a repository's files belong to it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from adapt.errors import CheckpointError
from adapt.features.adapted import FILES as ADAPTER_FILES

Kind = Literal["checkpoint", "adapter", "index", "run"]
_MARKS: dict[str, Kind] = {
    "feature_spec.json": "checkpoint",
    "adapter_config.json": "adapter",
    "CURRENT": "index",
    "run.json": "run",
}
_TUNED = tuple(f"encoders/{modality}/{name}" for modality in ("text", "image") for name in ADAPTER_FILES)
NAMED = (
    *("README.md", "SHA256SUMS", "metrics.json"),
    *("config.json", "feature_spec.json", "model.safetensors", "golden.safetensors", *_TUNED),
    *("adapter_config.json", "adapter_model.safetensors", "base.json", "parameters.safetensors"),
    *("items.json", "items.safetensors", "normaliser.safetensors"),
    "CURRENT",
)
"""The files of checkpoints and adapters, and those at the top of an index."""

_OF_INDEX = re.compile(
    r"(generations/[0-9]{1,12}|parts/[0-9a-f]{1,64})/(SHA256SUMS|items\.parquet|[a-z][a-z0-9_]*\.(json|safetensors))"
)


def kind_of(folder: Path) -> Kind:
    """What a folder holds.

    Raises:
        CheckpointError: none of what is shared, or signs of two of them.
    """
    if not folder.is_dir():
        raise CheckpointError(f"expected a folder, found nothing at {folder}", "Check the path.")
    found = [kind for mark, kind in _MARKS.items() if (folder / mark).is_file()]
    if len(found) == 1:
        return found[0]
    if not found:
        raise CheckpointError(
            f"expected a checkpoint, an adapter, an index or a run in {folder}, found none of {', '.join(_MARKS)}",
            "`adapt pretrain`, `adapt finetune` and `adapt index build` make such folders.",
        )
    raise CheckpointError(
        f"expected one of checkpoint, adapter, index and run in {folder}, found signs of {' and '.join(found)}",
        "Keep each in a folder of its own.",
    )


def is_adapter(folder: Path) -> bool:
    """Whether a folder holds an adapter and not a checkpoint."""
    return (folder / "adapter_config.json").is_file() and not (folder / "feature_spec.json").is_file()


def is_shared_file(name: str) -> bool:
    """Whether a file of a repository may belong to what is shared: safetensors, JSON and text of known names, and
    the columns of an index's items.

    >>> is_shared_file("model.safetensors"), is_shared_file("pytorch_model.bin"), is_shared_file("modeling.py")
    (True, False, False)
    >>> is_shared_file("parts/0f3a/embeddings.safetensors"), is_shared_file("parts/0f3a/graph.hnsw")
    (True, False)
    """
    return name in NAMED or _OF_INDEX.fullmatch(name) is not None

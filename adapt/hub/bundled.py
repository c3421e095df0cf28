"""The checkpoints and encoders that come with the package, as ``pretrained/index.json`` lists them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from adapt import files
from adapt.errors import CheckpointError

_REINSTALL = "The installation is damaged: reinstall with `pip install --force-reinstall adapt-mmrec`."


@dataclass(frozen=True)
class BundledEntry:
    """One entry of the index.

    Attributes:
        name: of the folder beside the index.
        kind: ``"checkpoint"`` or ``"encoder"``.
        size_bytes: of the folder.
        sha256: of its ``SHA256SUMS``, which vouches for every other file.
        summary: one sentence.
        path: of the folder on this machine.
    """

    name: str
    kind: str
    size_bytes: int
    sha256: str
    summary: str
    path: str

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return asdict(self)


def bundled_entries(folder: Path | None = None) -> tuple[BundledEntry, ...]:
    """What is bundled, in the order of the index.

    Args:
        folder: the folder that holds ``index.json``; None: the package's own.

    Raises:
        CheckpointError: the index is absent or malformed.
    """
    folder = files.bundled("pretrained") if folder is None else folder
    path = folder / "index.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return tuple(_entry(value, folder) for value in content["checkpoints"])
    except OSError as error:
        raise CheckpointError(f"expected the index of checkpoints at {path}: {error.strerror}", _REINSTALL) from error
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path} is not an index of checkpoints: {error!r}", _REINSTALL) from error


def _entry(value: Mapping[str, Any], folder: Path) -> BundledEntry:
    return BundledEntry(
        name=str(value["name"]),
        kind=str(value["kind"]),
        size_bytes=int(value["size_bytes"]),
        sha256=str(value["sha256"]),
        summary=str(value["summary"]),
        path=str(folder / str(value["name"])),
    )

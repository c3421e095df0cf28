"""What every run writes into its ``run.json``: the data it read, the time each stage took, its arguments."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from adapt.data import Dataset
from adapt.files import sha256_file


def hash_inputs(dataset: Dataset) -> dict[str, str]:
    """sha256 of the files that were read, so that a result can be traced to its data."""
    paths = [dataset.root / name if dataset.root.is_dir() else dataset.root for name in dataset.report.files]
    return {path.name: sha256_file(path) for path in paths if path.is_file()}


def plain(value: Any) -> Any:
    """Nested values with tuples as lists and paths as text, ready for JSON."""
    if isinstance(value, dict):
        return {name: plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    return str(value) if isinstance(value, Path) else value

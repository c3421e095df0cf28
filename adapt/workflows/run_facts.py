"""What every run writes into its ``run.json``: the data it read, the time each stage took, its arguments."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from adapt.data import Dataset
from adapt.files import sha256_file


class Stages:
    """Seconds by stage; a stage that is entered again adds to its time."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time what happens inside the block."""
        started = time.monotonic()
        yield
        self.seconds[name] = round(self.seconds.get(name, 0.0) + time.monotonic() - started, 3)


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

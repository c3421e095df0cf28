"""The run's log: one JSON object a line, appended and flushed, so that a killed run keeps what it wrote."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from adapt.files import atomic_write, output_errors


class RunLog:
    """Appends records to ``log.jsonl`` in a run folder.

    Args:
        folder: the run folder.
        first_step: records of this step and later ones are dropped first: a resumed run writes them again.
    """

    def __init__(self, folder: Path, first_step: int = 0) -> None:
        self.path = folder / "log.jsonl"
        with output_errors(self.path):
            folder.mkdir(parents=True, exist_ok=True)
            kept = [record for record in read_log(self.path) if record["step"] < first_step]
            with atomic_write(self.path) as handle:
                handle.write("".join(json.dumps(record) + "\n" for record in kept))

    def write(self, step: int, values: Mapping[str, Any]) -> None:
        """Append one record; a value that is not finite is written as null."""
        record = {"step": step, **_finite(values)}
        with output_errors(self.path), self.path.open("a", encoding="utf-8") as handle:
            handle.write(json.dumps(record, allow_nan=False) + "\n")


def _finite(value: Any) -> Any:
    """The same values, at any depth, with None for numbers that JSON cannot hold."""
    if isinstance(value, Mapping):
        return {name: _finite(part) for name, part in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def read_log(path: Path) -> list[dict[str, Any]]:
    """The records of a log; a last line that was cut off by a kill is left out. No file: no records."""
    records = []
    if path.exists():
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                records.append(json.loads(line))
            except json.JSONDecodeError:
                break
    return records

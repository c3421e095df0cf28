"""What a finished fine-tune says of itself, which is read before anything else of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from adapt.errors import CheckpointError

RUN_FORMAT = 1
RUN = "run.json"
_WRITES = "`adapt finetune --dataset PATH --output DIR` writes one."


def read_record(folder: Path) -> dict[str, Any]:
    """``run.json`` of a finished run.

    Raises:
        CheckpointError: it is absent or damaged, of another command or format, or the run was stopped.
    """
    if not (folder / RUN).is_file():
        found = f"no {RUN}" if folder.is_dir() else "no such folder"
        raise CheckpointError(f"expected a run in {folder}, found {found}", _WRITES)
    try:
        record: dict[str, Any] = json.loads((folder / RUN).read_text(encoding="utf-8"))
        command, finished = record["command"], record["finished"]
    except (OSError, ValueError, KeyError, TypeError) as failure:
        raise CheckpointError(f"expected a run in {folder}, found: {failure!r}", _WRITES) from failure
    if command != "finetune":
        raise CheckpointError(f"expected a run of `adapt finetune` in {folder}, found one of `adapt {command}`")
    if not finished:
        raise CheckpointError(
            f"expected a finished run in {folder}, found one that was stopped", "Continue it with --resume."
        )
    if record.get("format_version") != RUN_FORMAT:
        raise CheckpointError(
            f"expected a run of format_version {RUN_FORMAT}, found {record.get('format_version')!r} in {folder}",
            "Fine-tune again with this version, or use the version that wrote it.",
        )
    return record

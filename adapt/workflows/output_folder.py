"""Whether a command may write into a folder that has something in it."""

from __future__ import annotations

import json
from pathlib import Path

from adapt.errors import OutputError

FOLDS, TRAININGS = "folds", "trainings"
_LISTS = ("demo", "zero-shot", "few-shot", "recommend")
_KEPT = {"feature_spec.json": "a checkpoint", "adapter_config.json": "an adapter", "CURRENT": "an index"}


def check_place(folder: Path, command: str) -> None:
    """Refuse a folder whose content a command would spoil.

    A command replaces what it wrote before, and those that write lists replace each other's. Other files are no
    obstacle: nothing happens to them.

    Args:
        folder: may be absent.
        command: its name: ``"finetune"``.

    Raises:
        OutputError: a checkpoint, an adapter or an index is there, the results of another command, or folders that a
            training would remove and none has made.
    """
    wrote = _wrote(folder)
    found = ""
    if wrote is not None:
        if wrote == command or {wrote, command} <= {*_LISTS}:
            return
        found = f"the results of `adapt {wrote}`" if wrote else "a run.json that adapt did not write"
    elif command in ("finetune", "pretrain"):
        found = next((f"a folder {name}" for name in (FOLDS, TRAININGS) if (folder / name).exists()), "")
    found = next((kind for mark, kind in _KEPT.items() if (folder / mark).is_file()), found)
    if found:
        raise OutputError(
            f"expected a folder for the results of `adapt {command}`, found {found} in {folder}",
            "Choose another --output: what is there would be spoilt.",
        )


def _wrote(folder: Path) -> str | None:
    """The command whose ``run.json`` is in a folder; empty where it names none, None where no such file is readable."""
    try:
        record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return str(record.get("command", "")) if isinstance(record, dict) else ""

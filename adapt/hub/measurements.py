"""Figures that are measured after a checkpoint was made, put into it without touching what it is."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from adapt.files import atomic_folder, write_sums
from adapt.hub.card import render_card
from adapt.hub.sums import verify_hashes


def rewrite_metrics(folder: Path, metrics: Mapping[str, Any]) -> None:
    """Replace a checkpoint's ``metrics.json``; make its card and ``SHA256SUMS`` anew. Other files keep their bytes.

    Raises:
        CheckpointError: the folder is no checkpoint, or is damaged.
        OutputError: it could not be written; then it is as it was.
    """
    verify_hashes(folder)
    with atomic_folder(folder, replace=True) as temporary:
        shutil.copytree(folder, temporary, dirs_exist_ok=True)
        text = json.dumps(dict(metrics), indent=2, ensure_ascii=False, allow_nan=False)
        (temporary / "metrics.json").write_text(text + "\n", encoding="utf-8")
        config, spec = (json.loads((folder / f"{name}.json").read_text("utf-8")) for name in ("config", "feature_spec"))
        (temporary / "README.md").write_text(render_card(config, spec, metrics), encoding="utf-8")
        write_sums(temporary)


def add_targets(folder: Path, targets: Mapping[str, Any]) -> None:
    """Put figures on target data sets into a checkpoint; see :func:`adapt.hub.card.render_card`.

    Args:
        folder: of the checkpoint.
        targets: ``caption``, ``command``, ``machine`` and ``results``: one entry a target and setting, with the figures
            of every method. Entries replace those of the same target and setting; others stay.

    Raises:
        CheckpointError: the folder is no checkpoint, or is damaged.
    """
    verify_hashes(folder)
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    results = [*metrics.get("targets", {}).get("results", []), *targets["results"]]
    latest = {(entry["target"], entry["setting"]): entry for entry in results}
    rewrite_metrics(folder, {**metrics, "targets": {**targets, "results": list(latest.values())}})

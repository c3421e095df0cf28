"""What a fine-tune leaves in its folder."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save as save_arrays
from safetensors.torch import save as save_tensors

from adapt import adapters
from adapt.adapters import BaseIdentity
from adapt.config import to_dict
from adapt.data import Dataset
from adapt.errors import AdaptError
from adapt.files import atomic_write, sha256_file, write_json
from adapt.hub.format import Checkpoint
from adapt.hub.regenerate import card_of
from adapt.hub.resolve import Located, locate
from adapt.hub.sums import verify_hashes
from adapt.train.log import read_log
from adapt.workflows.embedding import EmbeddedCatalog
from adapt.workflows.finetune_settings import Adaptation, TrainingSettings
from adapt.workflows.finetune_task import beside_lora
from adapt.workflows.finetune_towers import Trained
from adapt.workflows.finetune_validation import Comparison, ValidationSplit
from adapt.workflows.output_folder import TRAININGS
from adapt.workflows.run import (
    ADAPTER,
    BASE,
    HISTORIES,
    TOWERS,
    user_keys,
)
from adapt.workflows.run_folder import RunFolder
from adapt.workflows.run_items import ITEMS, NORMALISER, RESIDUAL
from adapt.workflows.run_record import RUN_FORMAT

_WEIGHTS = "weights.safetensors"
_LOG = "log.jsonl"


@dataclass(frozen=True, eq=False)
class RunParts:
    """All that a run is made of.

    Attributes:
        checkpoint: the base.
        reference: where it can be read from again.
        adaptation: what was trained.
        embedded: the catalog that was trained on.
        dataset: with all its interactions.
        split: with events held back.
        trained: the towers that are shipped.
        comparison: of the methods.
        settings: of the training.
        facts: further parts of ``run.json``.
    """

    checkpoint: Checkpoint
    reference: str
    adaptation: Adaptation
    embedded: EmbeddedCatalog
    dataset: Dataset
    split: ValidationSplit
    trained: Trained
    comparison: Comparison
    settings: TrainingSettings
    facts: Mapping[str, Any]


def write_run(run: RunFolder, parts: RunParts) -> None:
    """Write every file of a run and, last, that it is finished and what each file hashes to.

    Raises:
        OutputError: a file could not be written.
    """
    folder = run.path
    for name in (TOWERS, RESIDUAL):
        (folder / name).unlink(missing_ok=True)  # of an earlier run in this folder
    for name in (ADAPTER, BASE):
        shutil.rmtree(folder / name, ignore_errors=True)
    base = _base_record(folder, parts)
    _write_items(folder, parts)
    _write_log(folder)
    comparison, split = parts.comparison, parts.split
    run.record |= {
        "format_version": RUN_FORMAT,
        "base": base,
        "adaptation": to_dict(parts.adaptation),
        "training": to_dict(parts.settings),
        "validation": {
            "events": len(split),
            "cold_events": int((~split.warm[split.targets]).sum()),
            "policy": "full ranking, seen items excluded; 95 % bootstrap intervals over events",
            "cold_share_of_candidates": float((~split.warm)[split.usable].mean()),
            "methods": {name: found.to_dict(split) for name, found in comparison.figures.items()},
        },
        "chosen": comparison.chosen,
        "weighings": {name: weighing.to_dict() for name, weighing in comparison.weighings.items()},
        "residual": None if parts.trained.residual is None else _residual_record(parts),
        "normalisers": {
            name: {"sketch": part.sketch, "sketch_weight": part.sketch_weight}
            for name, part in parts.embedded.normalisers.items()
        },
        **parts.facts,
    }
    _write_towers(folder, parts, run.record)
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and _shipped(path.relative_to(folder))]
    run.record["files"] = {path.relative_to(folder).as_posix(): sha256_file(path) for path in files}
    run.finish({"chosen": comparison.chosen})
    for weights in (folder / TRAININGS).glob(f"*/{_WEIGHTS}"):
        weights.unlink()


def _shipped(path: Path) -> bool:
    """Whether a file of the folder is part of what recommends."""
    return path.parts[0] in {ADAPTER, BASE, TOWERS, ITEMS, RESIDUAL, HISTORIES, NORMALISER}


def _base_record(folder: Path, parts: RunParts) -> dict[str, Any]:
    """Which checkpoint the run belongs to; one that cannot be read again from its reference is kept in the run."""
    reference, sha256 = parts.reference, parts.checkpoint.sha256
    located = _located(reference, sha256)
    if located is None:
        parts.checkpoint.save_pretrained(folder / BASE)
        reference, sha256 = BASE, verify_hashes(folder / BASE)
    return {
        "name": parts.checkpoint.config.name,
        "revision": located.commit if located else "",
        "sha256": sha256,
        "reference": located.pinned if located else reference,
        "encoders": {name: spec.id for name, spec in parts.checkpoint.spec.encoders.items()},
    }


def _located(reference: str, sha256: str) -> Located | None:
    """Where a reference leads, if that is the checkpoint with this fingerprint."""
    if not sha256:
        return None
    try:
        found = locate(reference)
        return found if verify_hashes(found.folder) == sha256 else None
    except AdaptError:
        return None


def _write_towers(folder: Path, parts: RunParts, record: Mapping[str, Any]) -> None:
    towers, base = parts.trained.towers, record["base"]
    if parts.adaptation.kind == "lora":
        kept = base["reference"] == BASE
        identity = BaseIdentity(
            base["name"], base["revision"], base["sha256"], f"../{BASE}" if kept else base["reference"]
        )
        metrics = adapter_metrics(record)
        adapters.save(
            towers,
            folder / ADAPTER,
            identity,
            beside=beside_lora(towers),
            metrics=metrics,
            card=lambda made: card_of(made, metrics),
        )
        return
    moved = {name: value for name, value in towers.named_parameters() if value.requires_grad}
    with atomic_write(folder / TOWERS, "wb") as handle:
        handle.write(save_tensors({name: value.detach().cpu().contiguous() for name, value in moved.items()}))


def adapter_metrics(record: Mapping[str, Any]) -> dict[str, Any]:
    """What ``metrics.json`` of an adapter says of the run that it comes from: no item, no user."""
    validation = record["validation"]
    return {
        "dataset": record["identity"]["data"]["name"],
        "adaptation": dict(record["adaptation"]),
        "residual": record["residual"] is not None,
        "chosen": record["chosen"],
        "validation": {
            **{name: validation[name] for name in ("events", "cold_events", "policy")},
            "methods": {
                name: {key: found[key] for key in ("recall@10", "ndcg@10")}
                for name, found in validation["methods"].items()
            },
        },
    }


def _write_items(folder: Path, parts: RunParts) -> None:
    """The catalog's ids, its normaliser, the residual of warm items, and the histories to remember."""
    write_json(folder / ITEMS, list(parts.dataset.catalog.ids))
    _write_arrays(
        folder / NORMALISER,
        {
            f"{name}.{part}": getattr(normaliser, part)
            for name, normaliser in parts.embedded.normalisers.items()
            for part in ("basis", "mean", "matrix")
        },
    )
    residual = parts.trained.residual
    if residual is not None:
        _write_arrays(
            folder / RESIDUAL,
            {
                "rows": np.flatnonzero(parts.trained.warm.numpy()),
                "delta": residual.vectors().detach().numpy(),
                "columns": residual.columns.numpy(),
            },
        )
    interactions = parts.dataset.interactions
    assert interactions is not None
    _write_arrays(
        folder / HISTORIES,
        {
            "users": user_keys(interactions.user_ids),
            "offsets": interactions.offsets,
            "items": interactions.items,
        },
    )


def _residual_record(parts: RunParts) -> dict[str, Any]:
    residual = parts.trained.residual
    assert residual is not None
    norms = residual.norms().numpy()
    return {
        "items": len(norms),
        "bound": parts.settings.residual_norm,
        "mean_norm": float(norms.mean()) if len(norms) else 0.0,
        "max_norm": float(norms.max(initial=0.0)),
    }


def _write_log(folder: Path) -> None:
    """The steps of every training in one file."""
    with atomic_write(folder / _LOG) as handle:
        for path in sorted((folder / TRAININGS).glob(f"*/{_LOG}")):
            for record in read_log(path):
                handle.write(json.dumps({"training": path.parent.name, **record}) + "\n")


def _write_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    with atomic_write(path, "wb") as handle:
        handle.write(save_arrays({name: np.ascontiguousarray(value) for name, value in arrays.items()}))

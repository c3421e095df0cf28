"""A small adapter of the small checkpoint, as a folder."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from adapt import adapters
from adapt.adapters import BaseIdentity
from adapt.hub.format import Checkpoint
from adapt.hub.regenerate import card_of

METRICS = {
    "dataset": "shop",
    "adaptation": {"kind": "lora", "rank": 2, "alpha": 4.0},
    "residual": False,
    "chosen": "fine-tuned",
    "validation": {
        "events": 12,
        "cold_events": 0,
        "policy": "full ranking",
        "methods": {
            name: {key: {"mean": mean, "low": 0.1, "high": 0.9} for key in ("recall@10", "ndcg@10")}
            for name, mean in (("zero-shot", 0.2), ("fine-tuned", 0.3))
        },
    },
}


def save_adapter(base: Checkpoint, folder: Path, reference: str, revision: str = "") -> torch.nn.Module:
    """Write an adapter that moves something; the towers with it are returned."""
    towers = adapters.twin(base.towers)
    torch.manual_seed(7)
    adapters.attach(towers, rank=2, alpha=4.0, beside="log_recency")
    with torch.no_grad():
        for parameter in towers.parameters():
            if parameter.requires_grad:
                parameter.add_(0.3 * torch.randn_like(parameter))
    identity = BaseIdentity(base.config.name, revision, base.sha256, reference)
    adapters.save(
        towers,
        folder,
        identity,
        beside="log_recency",
        metrics=METRICS,
        card=lambda made: card_of(made, METRICS),
    )
    return towers.eval()


def edit_json(path: Path, key: str, value: object) -> None:
    """Set one key of a JSON file."""
    written = json.loads(path.read_text())
    path.write_text(json.dumps({**written, key: value}))

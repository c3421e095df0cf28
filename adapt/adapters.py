"""LoRA adapters on the towers' own projections: attach, save, load, merge.

Adapters are peft's. They are injected into the towers in place, so that the towers keep their class and methods, and
reach every linear layer that :meth:`~adapt.model.towers.DualTower.lora_targets` names, in train and in eval mode.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from adapt.errors import CheckpointError, UsageError
from adapt.files import atomic_folder
from adapt.model.towers import DualTower

NAME = "default"
_CONFIG, _WEIGHTS, _BASE = "adapter_config.json", "adapter_model.safetensors", "base.json"


@dataclass(frozen=True)
class BaseIdentity:
    """The checkpoint that an adapter belongs to: its name, revision and fingerprint."""

    name: str
    revision: str
    sha256: str


def attach(towers: DualTower, *, rank: int = 8, alpha: float = 16.0, dropout: float = 0.0) -> int:
    """Put a fresh adapter on the towers and freeze everything else.

    The adapter starts as zero: outputs are unchanged until it is trained.

    Args:
        towers: changed in place.
        rank: of each low-rank update, at least 1.
        alpha: scale; an update is multiplied by ``alpha / rank``.
        dropout: on the input of each update, while training.

    Returns:
        The number of trainable parameters.

    Raises:
        UsageError: the rank is below 1, or the towers have an adapter already.
    """
    from peft import LoraConfig, inject_adapter_in_model

    if rank < 1:
        raise UsageError(f"expected a LoRA rank of at least 1, found {rank}")
    if _layers(towers):
        raise UsageError("expected towers without an adapter, found one attached", "Merge it or load the towers anew.")
    settings = LoraConfig(r=rank, lora_alpha=alpha, lora_dropout=dropout, target_modules=towers.lora_targets())
    inject_adapter_in_model(settings, towers, adapter_name=NAME)
    for name, parameter in towers.named_parameters():
        parameter.requires_grad_("lora_" in name)
    return sum(parameter.numel() for parameter in towers.parameters() if parameter.requires_grad)


def save(towers: DualTower, folder: Path, base: BaseIdentity, *, replace: bool = False) -> None:
    """Write the adapter alone: peft's two files, and which base it belongs to.

    Raises:
        UsageError: the towers have no adapter.
        OutputError: the folder exists with files in it, or cannot be written.
    """
    from peft import get_peft_model_state_dict

    settings = _settings(towers)
    state = get_peft_model_state_dict(towers, adapter_name=NAME)
    with atomic_folder(folder, replace=replace) as temporary:
        save_file({name: value.detach().cpu().contiguous() for name, value in state.items()}, temporary / _WEIGHTS)
        settings.save_pretrained(str(temporary))
        text = json.dumps({"name": base.name, "revision": base.revision, "sha256": base.sha256}, indent=2)
        (temporary / _BASE).write_text(text + "\n", encoding="utf-8")


def load(towers: DualTower, folder: Path, base: BaseIdentity) -> None:
    """Attach a saved adapter to the towers that it was trained on.

    Args:
        towers: of the checkpoint ``base``; changed in place.
        folder: written by :func:`save`.
        base: what the towers are.

    Raises:
        CheckpointError: the adapter belongs to another base (both hashes are said), or a file is missing or damaged.
    """
    from peft import LoraConfig, inject_adapter_in_model, set_peft_model_state_dict

    try:
        written = json.loads((folder / _BASE).read_text(encoding="utf-8"))
        settings = LoraConfig.from_pretrained(str(folder))
        state = load_file(folder / _WEIGHTS)
    except (OSError, ValueError, SafetensorError) as failure:
        raise CheckpointError(f"expected an adapter in {folder}, found: {failure}") from failure
    if written["sha256"] != base.sha256:
        raise CheckpointError(
            f"expected an adapter for {base.name} with sha256 {base.sha256}, "
            f"found one for {written['name']} with sha256 {written['sha256']}",
            f"Load the base {written['name']}@{written['revision'] or 'main'} that the adapter was trained on.",
        )
    inject_adapter_in_model(settings, towers, adapter_name=NAME)
    outcome = set_peft_model_state_dict(towers, state, adapter_name=NAME)
    if outcome.unexpected_keys:
        raise CheckpointError(f"expected the weights in {folder} to fit the towers, found {outcome.unexpected_keys[0]}")


def merge(towers: DualTower) -> None:
    """Add the adapter's updates to the towers' own weights and remove it; outputs stay the same up to rounding.

    Raises:
        UsageError: the towers have no adapter.
    """
    layers = _layers(towers)
    if not layers:
        raise UsageError("expected towers with an adapter, found none")
    for name, layer in layers.items():
        layer.merge(safe_merge=True)
        parent = towers.get_submodule(name.rpartition(".")[0])
        setattr(parent, name.rpartition(".")[2], layer.get_base_layer())
    if hasattr(towers, "peft_config"):
        del towers.peft_config


def _layers(towers: nn.Module) -> dict[str, Any]:
    """The adapted layers by name."""
    from peft.tuners.lora import LoraLayer

    return {name: module for name, module in towers.named_modules() if isinstance(module, LoraLayer)}


def _settings(towers: DualTower) -> Any:
    found = getattr(towers, "peft_config", {}).get(NAME)
    if found is None or not _layers(towers):
        raise UsageError("expected towers with an adapter, found none", "Attach one first.")
    return found

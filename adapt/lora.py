"""LoRA on any module: attach, scale, merge, and the two files of an adapter. Adapters are peft's.

They are injected in place, so that a module keeps its class and methods, and reach every linear layer whose name the
given expression matches in full, in train and in eval mode.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from adapt.errors import CheckpointError, UsageError

if TYPE_CHECKING:  # the names of an adapter's files are known without torch
    from torch import Tensor, nn

NAME = "default"
CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_PREFIX = "base_model.model."  # what `PeftModel.from_pretrained` expects before a module's own names
_FREE = {
    *("r", "lora_alpha", "lora_dropout", "target_modules", "inference_mode", "peft_type", "peft_version"),
    *("base_model_name_or_path", "revision", "task_type"),
}
"""Keys of the configuration that may say anything: they are used, or change no output."""
AnyModule = TypeVar("AnyModule", bound="nn.Module")


def attach(module: nn.Module, targets: str, *, rank: int, alpha: float, dropout: float = 0.0) -> int:
    """Put a fresh adapter on a module and freeze everything else.

    The adapter starts as zero: outputs are unchanged until it is trained.

    Args:
        module: changed in place.
        targets: regular expression that matches the names of the adapted linear layers in full.
        rank: of each low-rank update, at least 1.
        alpha: scale; an update is multiplied by ``alpha / rank``.
        dropout: on the input of each update, while training.

    Returns:
        The number of trainable parameters.

    Raises:
        UsageError: the rank is below 1, or the module has an adapter already.
    """
    from peft import LoraConfig, inject_adapter_in_model

    if rank < 1:
        raise UsageError(f"expected a LoRA rank of at least 1, found {rank}")
    if layers(module):
        raise UsageError("expected a model without an adapter, found one attached", "Merge it or load the model anew.")
    settings = LoraConfig(r=rank, lora_alpha=alpha, lora_dropout=dropout, target_modules=targets)
    inject_adapter_in_model(settings, module, adapter_name=NAME)
    for name, parameter in module.named_parameters():
        parameter.requires_grad_("lora_" in name)
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)


def write(module: nn.Module, folder: Path, *, share: float = 1.0) -> None:
    """Write peft's two files of a module's adapter into an existing folder.

    Args:
        module: with an adapter.
        folder: receives the files.
        share: scales the written update, as a part of the way from the base to the tuned weights.

    Raises:
        UsageError: the module has no adapter.
    """
    from peft import get_peft_model_state_dict
    from safetensors.torch import save_file

    settings = getattr(module, "peft_config", {}).get(NAME)
    if settings is None or not layers(module):
        raise UsageError("expected a model with an adapter, found none", "Attach one first.")
    state = get_peft_model_state_dict(module, adapter_name=NAME)
    save_file({_PREFIX + name: value.detach().cpu().contiguous() for name, value in state.items()}, folder / WEIGHTS)
    alpha = settings.lora_alpha
    try:
        settings.lora_alpha = share * alpha
        settings.save_pretrained(str(folder))
    finally:
        settings.lora_alpha = alpha


def load(module: nn.Module, folder: Path) -> None:
    """Attach the adapter whose files are in a folder.

    Of the configuration only rank, scale and dropout are used: peft would import modules that it names, and search by
    its expressions. Which layers are adapted is what there are weights for.

    Raises:
        CheckpointError: a file is missing or damaged, is no plain LoRA, or does not fit the module.
    """
    from peft import LoraConfig, inject_adapter_in_model, set_peft_model_state_dict
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        written = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        state = {name.removeprefix(_PREFIX): value for name, value in load_file(folder / WEIGHTS).items()}
        rank, alpha, dropout = int(written["r"]), float(written["lora_alpha"]), float(written["lora_dropout"])
    except (OSError, ValueError, TypeError, KeyError, SafetensorError) as failure:
        raise CheckpointError(f"expected an adapter in {folder}, found: {failure!r}") from failure
    _check_plain(written, folder)
    adapted = "|".join(re.escape(name) for name in _adapted_layers(module, state, rank, folder))
    settings = LoraConfig(r=rank, lora_alpha=alpha, lora_dropout=dropout, target_modules=adapted)
    inject_adapter_in_model(settings, module, adapter_name=NAME)
    set_peft_model_state_dict(module, state, adapter_name=NAME)


def _check_plain(written: Mapping[str, Any], folder: Path) -> None:
    """Make sure that no variant of LoRA is asked for, which would give other outputs.

    Keys that this peft does not know come from a newer one; there a variant is switched on by ``true``, a list or a
    mapping.

    Raises:
        CheckpointError: one is.
    """
    from peft import LoraConfig

    standard = LoraConfig().to_dict()
    for name, value in written.items():
        if name in _FREE:
            continue
        known = name in standard
        if (known and value != standard[name]) or (not known and (value is True or (value and not _is_plain(value)))):
            raise CheckpointError(f"expected a plain LoRA adapter in {folder}, found {name}: {value!r} in {CONFIG}")
    if written.get("peft_type") != "LORA":
        raise CheckpointError(f"expected a LoRA adapter in {folder}, found {written.get('peft_type')!r} in {CONFIG}")


def _is_plain(value: object) -> bool:
    return isinstance(value, str | int | float)


def _adapted_layers(module: nn.Module, state: Mapping[str, Tensor], rank: int, folder: Path) -> list[str]:
    """The full names of the linear layers that there are weights of the right shapes for.

    Raises:
        CheckpointError: a weight is not one of a linear layer's two, has another shape, or lacks the other of the two.
    """
    from torch import nn

    linear = {name: part for name, part in module.named_modules() if isinstance(part, nn.Linear)}
    names = sorted({name.rpartition(".lora_")[0] for name in state})
    for name in names:
        if name not in linear:
            raise CheckpointError(f"expected weights of linear layers in {folder}, found {name or next(iter(state))}")
        outputs, inputs = linear[name].weight.shape
        for part, shape in (("A", (rank, inputs)), ("B", (outputs, rank))):
            key = f"{name}.lora_{part}.weight"
            found = tuple(state[key].shape) if key in state else None
            if found != shape:
                raise CheckpointError(f"expected {key} of shape {shape} in {folder}, found {found or 'none'}")
    if len(state) != 2 * len(names) or not names:
        raise CheckpointError(f"expected two weights for each adapted layer in {folder}, found {len(state)}")
    return names


def merge(module: nn.Module) -> None:
    """Add the adapter's updates to the module's own weights and remove it; outputs stay the same up to rounding.

    The merged weights are new ones: other modules that share the old ones keep them as they are.

    Raises:
        UsageError: the module has no adapter.
    """
    from torch import nn

    found = layers(module)
    if not found:
        raise UsageError("expected a model with an adapter, found none")
    for name, layer in found.items():
        base = layer.get_base_layer()
        base.weight = nn.Parameter(base.weight.detach().clone(), requires_grad=base.weight.requires_grad)
        layer.merge(safe_merge=True)
        parent = module.get_submodule(name.rpartition(".")[0])
        setattr(parent, name.rpartition(".")[2], layer.get_base_layer())
    if hasattr(module, "peft_config"):
        del module.peft_config


@contextmanager
def scaled(module: AnyModule, share: float) -> Iterator[AnyModule]:
    """The module with its adapter's updates scaled: a point between the base and the tuned weights."""
    found = layers(module)
    for layer in found.values():
        layer.scale_layer(share)
    try:
        yield module
    finally:
        for layer in found.values():
            layer.unscale_layer()


def layers(module: nn.Module) -> dict[str, Any]:
    """The adapted layers by name."""
    from peft.tuners.lora import LoraLayer

    return {name: part for name, part in module.named_modules() if isinstance(part, LoraLayer)}

"""LoRA on any module: attach, scale, merge, and the two files of an adapter. Adapters are peft's.

They are injected in place, so that a module keeps its class and methods, and reach every linear layer whose name the
given expression matches in full, in train and in eval mode.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from adapt.errors import CheckpointError, UsageError

NAME = "default"
CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_PREFIX = "base_model.model."  # what `PeftModel.from_pretrained` expects before a module's own names
AnyModule = TypeVar("AnyModule", bound=nn.Module)


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

    Raises:
        CheckpointError: a file is missing or damaged, or does not fit the module.
    """
    from peft import LoraConfig, inject_adapter_in_model, set_peft_model_state_dict

    try:
        settings = LoraConfig.from_pretrained(str(folder))
        state = {name.removeprefix(_PREFIX): value for name, value in load_file(folder / WEIGHTS).items()}
    except (OSError, ValueError, TypeError, SafetensorError) as failure:
        raise CheckpointError(f"expected an adapter in {folder}, found: {failure}") from failure
    inject_adapter_in_model(settings, module, adapter_name=NAME)
    outcome = set_peft_model_state_dict(module, state, adapter_name=NAME)
    if outcome.unexpected_keys:
        raise CheckpointError(f"expected the weights in {folder} to fit the model, found {outcome.unexpected_keys[0]}")
    missing = [name for name in outcome.missing_keys if "lora_" in name]
    if missing:
        raise CheckpointError(f"expected every weight of the adapter in {folder}, found no {missing[0]}")


def merge(module: nn.Module) -> None:
    """Add the adapter's updates to the module's own weights and remove it; outputs stay the same up to rounding.

    The merged weights are new ones: other modules that share the old ones keep them as they are.

    Raises:
        UsageError: the module has no adapter.
    """
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

"""The names of the weights of the paper's code, and the step that benchmarks compare with, as a module."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from torch import Tensor

_STEP = Path(__file__).resolve().parents[2] / "recipes" / "benchmarks" / "paper_step.py"


def translate(old: dict[str, Tensor], depth: int, dim: int) -> dict[str, Tensor]:
    """The original state dict under our names."""
    new = {
        "position.weight": old["embedding.position_embeddings.weight"],
        "modality_type.weight": old["embedding.modal_type_embeddings.weight"],
        "mask_token": old["embedding.mask_embeddings.weight"][0],
        "token_norm.weight": old["embedding.layer_norm.weight"],
        "token_norm.bias": old["embedding.layer_norm.bias"],
        "encoder.final_norm.weight": old["encoder_blocks.transform.norm.weight"],
        "encoder.final_norm.bias": old["encoder_blocks.transform.norm.bias"],
    }
    for side in ("input", "output"):
        for ours, theirs in (("image", "vision"), ("text", "text")):
            for kind in ("weight", "bias"):
                new[f"{side}.{ours}.linear.{kind}"] = old[f"{side}_transform.{theirs}_transform.{kind}"]
                new[f"{side}.{ours}.layer_norm.{kind}"] = old[f"{side}_transform.{theirs}_layer_norm.{kind}"]
    for layer in range(depth):
        theirs, ours = f"encoder_blocks.transform.layers.{layer}", f"encoder.blocks.{layer}"
        for kind in ("weight", "bias"):
            packed = old[f"{theirs}.self_attn.in_proj_{kind}"]
            for place, name in enumerate("qkv"):
                new[f"{ours}.attention.{name}_proj.{kind}"] = packed[place * dim : (place + 1) * dim]
            new[f"{ours}.attention.o_proj.{kind}"] = old[f"{theirs}.self_attn.out_proj.{kind}"]
            new[f"{ours}.feed_forward.up_proj.{kind}"] = old[f"{theirs}.linear1.{kind}"]
            new[f"{ours}.feed_forward.down_proj.{kind}"] = old[f"{theirs}.linear2.{kind}"]
            new[f"{ours}.attention_norm.{kind}"] = old[f"{theirs}.norm1.{kind}"]
            new[f"{ours}.feed_forward_norm.{kind}"] = old[f"{theirs}.norm2.{kind}"]
    return new


def paper_step() -> ModuleType:
    """`recipes/benchmarks/paper_step.py`, which is a program's part and no package."""
    if _STEP.stem not in sys.modules:
        spec = importlib.util.spec_from_file_location(_STEP.stem, _STEP)
        assert spec is not None
        assert spec.loader is not None
        sys.modules[_STEP.stem] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[_STEP.stem])
    return sys.modules[_STEP.stem]

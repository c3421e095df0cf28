"""Towers in the dimensions that one catalog uses: a catalog of texts alone leaves those of pictures empty."""

from __future__ import annotations

import copy
import re

import torch
from torch import Tensor, nn

from adapt.model.content import ContentTowers

_LAYER = r"(\.base_layer)?\.(weight|bias)"
_OUT = re.compile(
    rf"modality_type\.\w+|(projection\.\w+\.(linear|kernel)|refine\.down_proj|up|user_map)({_LAYER}|\.lora_B\.\w+\.weight)"
)
_IN = re.compile(r"(refine\.up_proj|down|user_map)((\.base_layer)?\.weight|\.lora_A\.\w+\.weight)")


def narrowed(towers: ContentTowers, columns: Tensor) -> ContentTowers:
    """A copy of towers that computes only some of their dimensions, for a catalog with nothing in the others.

    Items of such a catalog get the same embeddings but for the empty dimensions, and users the same scores with them:
    what is not computed is zero times a weight, or stands where no item has anything.

    Args:
        towers: without an adapter; left as they are.
        columns: int64 (width,), ascending, those of the ``dim`` dimensions that some item has something in; the last
            of them, of towers with slack, may be left out where every item is of unit length.
    """
    out = copy.deepcopy(towers)
    inner = columns[columns < towers.inner]
    for name, parameter in out.named_parameters():
        for axis in _axes(name):
            parameter.data = parameter.data.index_select(axis, _inside(inner, parameter, axis))
    for module in out.modules():
        if isinstance(module, nn.Linear):
            module.out_features, module.in_features = module.weight.shape
    out.inner = len(inner)
    out.dim = len(columns)
    return out


@torch.no_grad()
def widen(towers: nn.Module, narrow: nn.Module, columns: Tensor) -> None:
    """Put what narrow towers have learned into those that they were made from.

    Args:
        towers: changed in place; they have the same adapters, if any. Where ``narrow`` has no dimension, adapters add
            nothing and other parameters stay as they are.
        narrow: made by :func:`narrowed` of the same towers and ``columns``.
        columns: int64 (width,).
    """
    wide = dict(towers.named_parameters())
    for name, value in narrow.named_parameters():
        if not value.requires_grad:
            continue
        full, axes = wide[name], _axes(name)
        if not axes:
            full.copy_(value)
            continue
        if "lora_" in name:
            full.zero_()
        kept = [_inside(columns, full, axis) if axis in axes else torch.arange(n) for axis, n in enumerate(full.shape)]
        full[torch.meshgrid(*kept, indexing="ij")] = value.to(full)


def _inside(columns: Tensor, parameter: Tensor, axis: int) -> Tensor:
    """The columns that an axis reaches: some maps speak in the leading dimensions alone."""
    return columns[columns < parameter.shape[axis]]


def _axes(name: str) -> tuple[int, ...]:
    """Which axes of a parameter run over the dimensions of embeddings."""
    out = (0,) if _OUT.fullmatch(name) else ()
    return (*out, 1) if _IN.fullmatch(name) else out

"""A second view of an item that is learned: a bounded perturbation of its features that makes alignment hard."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from adapt.model.items import ItemFeatures

_NOISE = 16


class LearnedView(nn.Module):
    """Perturbs features within a ball, in the direction that an adversary of the towers finds for each item.

    ``x' = x + r |x| g(x, z) / |g(x, z)|`` with ``z ~ N(0, I)``; the towers descend the alignment loss of ``(x, x')``
    and the generator ``g`` ascends it: ``min_towers max_g L(x, x')``. This is the viewmaker network (Tamkin, Wu and
    Goodman, 2021, "Viewmaker Networks: Learning Views for Unsupervised Representation Learning", section 3), on frozen
    features and with a Euclidean ball. Both players move in one backward pass, since the gradient of the perturbation
    changes its sign on its way to ``g`` (Ganin and Lempitsky, 2015). The bound keeps the adversary from making an item
    another one; the noise ``z`` keeps its answer from being one fixed shift. ``g`` is a layer of GELU units for each
    modality.

    Args:
        widths: modality -> width of its features.
        radius: ``r``, the length of the perturbation as a share of the feature's.
        hidden: width inside ``g``.
    """

    def __init__(self, widths: Mapping[str, int], radius: float = 0.3, hidden: int = 64) -> None:
        super().__init__()
        self.radius = radius
        self.read = nn.ModuleDict({name: nn.Linear(width + _NOISE, hidden) for name, width in widths.items()})
        self.write = nn.ModuleDict({name: nn.Linear(hidden, width) for name, width in widths.items()})

    def forward(self, items: ItemFeatures) -> ItemFeatures:
        """The same items, each feature moved by ``radius`` of its length."""
        return ItemFeatures({name: self._perturbed(name, value) for name, value in items.values.items()}, items.present)

    def _perturbed(self, modality: str, values: Tensor) -> Tensor:
        scale = values.norm(dim=-1, keepdim=True)
        noise = torch.randn(*values.shape[:-1], _NOISE, device=values.device, dtype=values.dtype)
        inputs = torch.cat([values / scale.clamp(min=1e-6), noise], dim=-1)
        direction = F.normalize(self.write[modality](F.gelu(self.read[modality](inputs))), dim=-1)
        adverse: Tensor = _Adverse.apply(direction)
        moved: Tensor = values + self.radius * scale * adverse
        return moved


class _Adverse(torch.autograd.Function):
    """The identity, whose gradient changes its sign."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:  # noqa: ARG004
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:  # noqa: ARG004
        return -gradients[0]

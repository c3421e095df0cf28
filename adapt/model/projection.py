"""From frozen features to the width of a tower."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class FeatureProjection(nn.Module):
    """A linear map of one modality's features, with layer normalisation where the configuration asks for it.

    With landmarks, a second branch is added that is a Gaussian kernel machine on unit features, written as two linear
    layers: ``V exp(2 s (Z x - 1))``, where a row ``z`` of ``Z`` of unit length gives ``exp(-s |x - z|^2)``. It starts
    at zero. Unlike a linear map, it says one thing about the pictures of one domain and another about those of the
    next.

    Args:
        features: width of the modality's features.
        dim: width of the tower.
        layer_norm: whether to normalise the result; the default towers do not, since it would undo the whitening.
        bias: whether the map has an offset.
        landmarks: number of kernel centres; 0 leaves the branch out.
        reach: the leading dimensions that the kernel branch speaks in; None is all.
    """

    def __init__(
        self,
        features: int,
        dim: int,
        layer_norm: bool = True,
        bias: bool = True,
        landmarks: int = 0,
        reach: int | None = None,
    ) -> None:
        super().__init__()
        self.linear = nn.Linear(features, dim, bias=bias)
        self.layer_norm = nn.LayerNorm(dim) if layer_norm else nn.Identity()
        self.landmarks = nn.Linear(features, landmarks, bias=False) if landmarks else None
        self.kernel = nn.Linear(landmarks, reach or dim, bias=False) if landmarks else None
        if self.kernel is not None:
            self.register_buffer("sharpness", torch.ones(()))
            nn.init.zeros_(self.kernel.weight)

    def similarities(self, x: Tensor) -> Tensor:
        """Kernel of (..., features) with every landmark: (..., landmarks)."""
        assert self.landmarks is not None
        sharpness: Tensor = self.sharpness  # type: ignore[assignment]
        return torch.exp(2 * sharpness * (self.landmarks(x) - 1))

    def forward(self, x: Tensor) -> Tensor:
        """(..., features) -> (..., dim)."""
        projected: Tensor = self.linear(x)
        if self.kernel is not None:
            said: Tensor = self.kernel(self.similarities(x))
            projected = projected + F.pad(said, (0, projected.shape[-1] - said.shape[-1]))
        out: Tensor = self.layer_norm(projected)
        return out

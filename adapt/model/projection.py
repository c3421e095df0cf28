"""From frozen features to the width of a tower."""

from __future__ import annotations

from torch import Tensor, nn


class FeatureProjection(nn.Module):
    """A linear map of one modality's features, with layer normalisation where the configuration asks for it.

    Args:
        features: width of the modality's features.
        dim: width of the tower.
        layer_norm: whether to normalise the result; the default towers do not, since it would undo the whitening.
        bias: whether the map has an offset.
    """

    def __init__(self, features: int, dim: int, layer_norm: bool = True, bias: bool = True) -> None:
        super().__init__()
        self.linear = nn.Linear(features, dim, bias=bias)
        self.layer_norm = nn.LayerNorm(dim) if layer_norm else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(..., features) -> (..., dim)."""
        out: Tensor = self.layer_norm(self.linear(x))
        return out

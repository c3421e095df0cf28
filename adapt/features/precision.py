"""Linear layers that multiply in fewer bits, in a model that otherwise stays float32."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class NarrowLinear(nn.Linear):
    """A linear layer whose weights are of a narrower type than what goes in and comes out.

    The products take nearly all the time of a transformer; sums over its depth, its norms and its softmax, where
    rounding would add up, stay as they are.
    """

    def forward(self, input: Tensor) -> Tensor:
        """(..., in) -> (..., out), of the type of ``input``."""
        return F.linear(input.to(self.weight.dtype), self.weight, self.bias).to(input.dtype)


def narrow(model: nn.Module, dtype: torch.dtype) -> None:
    """Replace every linear layer of a model by one that multiplies in ``dtype``, with the same weights, rounded."""
    for name, child in list(model.named_children()):
        if type(child) is nn.Linear:
            layer = NarrowLinear(child.in_features, child.out_features, child.bias is not None, device="meta")
            layer.weight = nn.Parameter(child.weight.to(dtype), requires_grad=child.weight.requires_grad)
            if child.bias is not None:
                layer.bias = nn.Parameter(child.bias.to(dtype), requires_grad=child.bias.requires_grad)
            setattr(model, name, layer.train(child.training))
        else:
            narrow(child, dtype)

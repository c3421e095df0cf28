"""Multi-head attention whose projections are plain linear layers, so that a low-rank adapter reaches each of them.

``torch.nn.MultiheadAttention`` keeps its projections in one parameter and takes a fused path in eval mode that passes
adapters by; ours are four named :class:`torch.nn.Linear` layers in both modes.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Attention(nn.Module):
    """Scaled dot-product self-attention over a sequence.

    Args:
        dim: width of the input and of the output; a multiple of ``heads``.
        heads: number of attention heads.
        dropout: probability of dropping an attention weight while training.
    """

    def __init__(self, dim: int, heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        if dim % heads:
            raise ValueError(f"expected a width that is a multiple of the number of heads, found {dim} and {heads}")
        self.heads = heads
        self.dropout = dropout
        self.q_proj = nn.Linear(dim, dim)
        self.k_proj = nn.Linear(dim, dim)
        self.v_proj = nn.Linear(dim, dim)
        self.o_proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor, allowed: Tensor | None = None) -> Tensor:
        """Attend.

        Args:
            x: (batch, length, dim).
            allowed: bool, broadcastable to (batch, 1, length, length): True where a query (row) may look at a key
                (column); None lets every place look at every place. Each row needs one True.

        Returns:
            (batch, length, dim).
        """
        batch, length, dim = x.shape

        def split(projected: Tensor) -> Tensor:
            return projected.view(batch, length, self.heads, dim // self.heads).transpose(1, 2)

        mixed = F.scaled_dot_product_attention(
            split(self.q_proj(x)),
            split(self.k_proj(x)),
            split(self.v_proj(x)),
            attn_mask=allowed,
            dropout_p=self.dropout if self.training else 0.0,
        )  # (batch, heads, length, dim / heads)
        out: Tensor = self.o_proj(mixed.transpose(1, 2).reshape(batch, length, dim))
        return out


def padding_mask(present: Tensor) -> Tensor:
    """Let every place look at the places that hold something.

    Args:
        present: bool (batch, length).

    Returns:
        bool (batch, 1, 1, length), for :class:`Attention`.
    """
    return present[:, None, None, :]


def causal_mask(present: Tensor, tokens: int = 1) -> Tensor:
    """Let every place look at itself and at the earlier places that hold something.

    A token always sees itself, so that the row of a padding place is not empty; nobody reads what it computes.

    Args:
        present: bool (batch, length), oldest first.
        tokens: neighbouring ones that make a place together and see each other.

    Returns:
        bool (batch, 1, length, length), for :class:`Attention`.
    """
    length = present.shape[1]
    place = torch.arange(length, device=present.device) // tokens
    earlier = place[:, None] >= place
    itself = torch.eye(length, dtype=torch.bool, device=present.device)
    return ((present[:, None, :] & earlier) | itself)[:, None]

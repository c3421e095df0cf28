"""Multi-head attention whose projections are plain linear layers, so that a low-rank adapter reaches each of them.

``torch.nn.MultiheadAttention`` keeps its projections in one parameter and takes a fused path in eval mode that passes
adapters by; ours are four named :class:`torch.nn.Linear` layers in both modes.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from adapt.model.packing import Asked, Packing


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
        out: Tensor = self.o_proj(self._mix(self.q_proj(x), self.k_proj(x), self.v_proj(x), allowed))
        return out

    def packed(self, x: Tensor, packing: Packing, allowed: Tensor | None, asked: Asked | None = None) -> Tensor:
        """The same for tokens without padding; only the weighted sums themselves are taken in padded sequences.

        Args:
            x: (tokens, dim).
            packing: where they stand.
            allowed: as above, for the padded sequences.
            asked: the tokens that look at others; None is all.

        Returns:
            (tokens, dim), or (asked, dim).
        """
        queries, own = (x, packing) if asked is None else (x.index_select(0, asked.rows), asked.packing)
        if asked is not None and allowed is not None:
            allowed = asked.rows_of(allowed, packing.length)
        mixed = self._mix(
            own.pad(self.q_proj(queries)), packing.pad(self.k_proj(x)), packing.pad(self.v_proj(x)), allowed
        )
        out: Tensor = self.o_proj(own.pack(mixed))
        return out

    def _mix(self, queries: Tensor, keys: Tensor, values: Tensor, allowed: Tensor | None) -> Tensor:
        """(batch, queries, dim), (batch, length, dim) twice -> (batch, queries, dim)."""

        def split(projected: Tensor) -> Tensor:
            batch, places, dim = projected.shape
            return projected.view(batch, places, self.heads, dim // self.heads).transpose(1, 2)

        mixed = F.scaled_dot_product_attention(
            split(queries),
            split(keys),
            split(values),
            attn_mask=allowed,
            dropout_p=self.dropout if self.training else 0.0,
        )  # (batch, heads, queries, dim / heads)
        return mixed.transpose(1, 2).flatten(2)


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

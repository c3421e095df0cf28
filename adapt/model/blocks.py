"""The transformer block and its stack, used by every tower."""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from adapt.model.attention import Attention
from adapt.model.packing import Asked, Packing

NormPlace = Literal["pre", "post"]


class FeedForward(nn.Module):
    """Two linear layers with a GELU between.

    Args:
        dim: width of the input and of the output.
        hidden: width between the layers.
        dropout: probability of dropping a hidden unit while training.
    """

    def __init__(self, dim: int, hidden: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.up_proj = nn.Linear(dim, hidden)
        self.down_proj = nn.Linear(hidden, dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(..., dim) -> (..., dim)."""
        out: Tensor = self.down_proj(self.dropout(F.gelu(self.up_proj(x))))
        return out


class Block(nn.Module):
    """Attention and a feed-forward layer, each with a residual connection and layer normalisation.

    Args:
        dim, heads, hidden, dropout: see :class:`~adapt.model.attention.Attention` and :class:`FeedForward`.
        norm: ``"pre"`` normalises what goes into a branch, ``"post"`` what comes out of the sum (as the paper's code).
        zero_init: whether both branches start at zero, so that the block starts as the identity (``"pre"`` only).
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        hidden: int,
        dropout: float = 0.0,
        norm: NormPlace = "pre",
        zero_init: bool = False,
    ) -> None:
        super().__init__()
        self.norm: NormPlace = norm
        self.attention = Attention(dim, heads, dropout)
        self.feed_forward = FeedForward(dim, hidden, dropout)
        self.attention_norm = nn.LayerNorm(dim)
        self.feed_forward_norm = nn.LayerNorm(dim)
        self.dropout = nn.Dropout(dropout)
        if zero_init:
            for layer in (self.attention.o_proj, self.feed_forward.down_proj):
                nn.init.zeros_(layer.weight)
                nn.init.zeros_(layer.bias)

    def forward(
        self,
        x: Tensor,
        allowed: Tensor | None = None,
        packing: Packing | None = None,
        asked: Asked | None = None,
    ) -> Tensor:
        """Run the block.

        Args:
            x: (batch, length, dim); or (tokens, dim) with a ``packing``.
            allowed: see :class:`~adapt.model.attention.Attention`.
            packing: where the tokens stand, if there is no padding among them.
            asked: the tokens whose output is wanted (with a packing); None is all.

        Returns:
            As ``x``; (asked, dim) where not all are wanted.
        """
        pre = self.norm == "pre"
        read = self.attention_norm(x) if pre else x
        if packing is None:
            mixed = self.attention(read, allowed)
        else:
            mixed = self.attention.packed(read, packing, allowed, asked)
        x = x if asked is None else x.index_select(0, asked.rows)
        x = x + self.dropout(mixed)
        if pre:
            out: Tensor = x + self.dropout(self.feed_forward(self.feed_forward_norm(x)))
            return out
        x = self.attention_norm(x)
        out = self.feed_forward_norm(x + self.dropout(self.feed_forward(x)))
        return out


class Stack(nn.Module):
    """Blocks one after another, then, if asked, a layer normalisation.

    Args:
        depth: number of blocks; 0 is the identity (before the final normalisation).
        final_norm: whether to normalise what the last block gives.
        dim, heads, hidden, dropout, norm, zero_init: as in :class:`Block`.
    """

    def __init__(
        self,
        depth: int,
        dim: int,
        heads: int,
        hidden: int,
        dropout: float = 0.0,
        norm: NormPlace = "pre",
        zero_init: bool = False,
        final_norm: bool = False,
    ) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Block(dim, heads, hidden, dropout, norm, zero_init) for _ in range(depth))
        self.final_norm = nn.LayerNorm(dim) if final_norm else nn.Identity()

    def forward(
        self,
        x: Tensor,
        allowed: Tensor | None = None,
        packing: Packing | None = None,
        asked: Asked | None = None,
    ) -> Tensor:
        """As :class:`Block`; all blocks but the last work for every token, which may be asked about in the next one."""
        for number, block in enumerate(self.blocks, start=1):
            x = block(x, allowed, packing, asked if number == len(self.blocks) else None)
        if asked is not None and not len(self.blocks):
            x = x.index_select(0, asked.rows)
        out: Tensor = self.final_norm(x)
        return out

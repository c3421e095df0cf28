"""Tokens of padded sequences, one after another without the padding: what holds nothing costs nothing."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Packing:
    """Which places of padded sequences hold a token.

    Attributes:
        batch, length: shape of the padded sequences.
        index: int64 (tokens,), the places that hold a token, counted through all sequences, ascending.
    """

    batch: int
    length: int
    index: Tensor

    @classmethod
    def of(cls, present: Tensor) -> Packing:
        """The packing of the places where ``present``, bool (batch, length), is True.

        >>> packing = Packing.of(torch.tensor([[False, True], [True, True]]))
        >>> packing.pad(torch.tensor([[1.0], [2.0], [3.0]])).tolist()
        [[[0.0], [1.0]], [[2.0], [3.0]]]
        """
        batch, length = present.shape
        return cls(batch, length, present.flatten().nonzero().flatten())

    @property
    def full(self) -> bool:
        """Whether there is no padding at all."""
        return len(self.index) == self.batch * self.length

    def pack(self, padded: Tensor) -> Tensor:
        """(batch, length, dim) -> (tokens, dim)."""
        flat = padded.flatten(0, 1)
        return flat if self.full else flat.index_select(0, self.index)

    def pad(self, packed: Tensor) -> Tensor:
        """(tokens, dim) -> (batch, length, dim), zero at padding."""
        if not self.full:
            empty = packed.new_zeros(self.batch * self.length, packed.shape[1])
            packed = empty.index_copy(0, self.index, packed)
        return packed.view(self.batch, self.length, packed.shape[1])


@dataclass(frozen=True)
class Asked:
    """The tokens whose output is wanted: the last block of a stack works for no other.

    Attributes:
        rows: int64 (asked,), where they stand among the packed tokens.
        places: int64 (asked,), their places in the padded sequences, counted through all sequences.
        packing: of the asked tokens alone, moved together in each sequence.
    """

    rows: Tensor
    places: Tensor
    packing: Packing

    @classmethod
    def of(cls, packing: Packing, wanted: Tensor) -> Asked:
        """The tokens of ``packing`` at the places where ``wanted``, bool (batch, length), is True."""
        rows = wanted.flatten().index_select(0, packing.index).nonzero().flatten()
        places = packing.index.index_select(0, rows)
        sequence = torch.div(places, packing.length, rounding_mode="floor")
        counts = torch.bincount(sequence, minlength=packing.batch)
        longest = int(counts.max()) if len(counts) else 0
        first = counts.cumsum(0) - counts
        order = torch.arange(len(rows), device=rows.device) - first[sequence]
        return cls(rows, places, Packing(packing.batch, longest, sequence * longest + order))

    def rows_of(self, allowed: Tensor, length: int) -> Tensor:
        """The rows of an attention mask, bool (batch, 1, length or 1, length), that the asked tokens look through."""
        if allowed.shape[2] == 1:
            return allowed
        padded = self.packing.pad((self.places % length)[:, None])  # (batch, asked of a sequence, 1)
        return allowed.gather(2, padded[:, None].expand(-1, -1, -1, allowed.shape[3]))

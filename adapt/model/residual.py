"""What the features of an item cannot say: a trained vector for each item that people have met."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from adapt.model.unit import unit


class ItemResidual(nn.Module):
    """Moves the embeddings of warm items: ``item = normalise(content + d_i)``.

    ``d_i`` is zero at the start. Only warm items have one, so neither an optimiser's momentum nor its decay can move a
    cold item: it stays at its content to the bit. ``d_i`` lives in the dimensions that the catalog uses, and in none
    that users lack.

    Args:
        warm: bool (items,), the items that have a training event.
        columns: int64 (width,), the dimensions of an embedding that ``d_i`` may move.
        max_norm: longest ``d_i``, whose content has length 1; a longer one is scaled down to it. 0 = no bound.
        sparse: whether the gradient of a look-up is a sparse tensor of the rows that were read.
    """

    def __init__(self, warm: Tensor, columns: Tensor, max_norm: float = 0.0, sparse: bool = False) -> None:
        super().__init__()
        self.sparse = sparse
        self.max_norm = max_norm
        slots = torch.where(warm, warm.cumsum(0), 0)  # 0 is the cold items' place
        self.register_buffer("slots", slots, persistent=False)
        self.register_buffer("columns", columns, persistent=False)
        self.slots: Tensor
        self.columns: Tensor
        self.delta = nn.Parameter(torch.zeros(int(warm.sum()), len(columns)))

    def vectors(self, numbers: Tensor | None = None) -> Tensor:
        """``d_i``, bounded, of all warm items or of those with the given numbers: float32 (warm items, width)."""
        # An embedding look-up, whose backward pass is deterministic.
        found = self.delta if numbers is None else F.embedding(numbers, self.delta, sparse=self.sparse)
        if not self.max_norm:
            return found
        bounded: Tensor = found * (self.max_norm / found.norm(dim=1, keepdim=True).clamp(min=self.max_norm))
        return bounded

    def forward(self, content: Tensor, rows: Tensor) -> Tensor:
        """The embeddings of some items.

        Args:
            content: float32 (n, dim), what the item tower says of them, unit rows.
            rows: int64 (n,), their rows in the catalog.

        Returns:
            float32 (n, dim), unit rows; those of cold items are ``content``.
        """
        return self.moved(content, rows)[0]

    def moved(self, content: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """The same, and the sum of ``|d_i|^2`` over these items: a scalar that can be penalised.

        Both read each ``d_i`` once: a look-up costs a gradient of the size of all of them.
        """
        slots = self.slots[rows]
        warm = (slots > 0).nonzero().flatten()
        vectors = self.vectors(slots[warm] - 1)
        there = content.index_select(0, warm).index_add(1, self.columns, vectors)
        return content.index_copy(0, warm, unit(there)), vectors.square().sum()

    @torch.no_grad()
    def moves(self, content: NDArray[np.float32], rows: NDArray[np.integer]) -> NDArray[np.float32]:
        """The same as :meth:`forward` for arrays, in blocks that fit memory."""
        device = self.slots.device
        moved: Tensor = self(torch.from_numpy(content).to(device), torch.from_numpy(rows).to(device))
        found: NDArray[np.float32] = moved.cpu().numpy()
        return found

    @torch.no_grad()
    def norms(self) -> Tensor:
        """The length of ``d_i`` of every warm item: float32 (warm items,)."""
        lengths: Tensor = self.vectors().norm(dim=1)
        return lengths


def used_columns(embeddings: Tensor, inner: int) -> Tensor:
    """The dimensions, among the first ``inner``, that some item of a catalog has something in: int64 (width,).

    >>> used_columns(torch.tensor([[1.0, 0.0, 0.0], [0.5, 0.0, 0.8]]), inner=2)
    tensor([0])
    """
    return embeddings[:, :inner].any(dim=0).nonzero().flatten()

"""Memory of user states: what users went on to, found by how alike they were before."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy import sparse

from adapt.index import Index, build_index
from adapt.seeds import DEFAULT_SEED

NEIGHBOURS = 200
TEMPERATURE = 0.05


class StateMemory:
    """User-tower states at prefixes of histories (keys) and the items that followed (values), in an index of its own.

    A query asks for the nearest states and lets each vote for its item, with weights ``softmax(cosine / 0.05)``
    (Khandelwal et al., 2020, eq. 2).

    Args:
        keys: float32 (n, dim), unit rows, n >= 1.
        values: int (n,) catalog rows.
        items: number of items in the catalog.
        kind: how the states are searched; see :func:`adapt.index.build_index`.
        seed: of an HNSW graph.
        most: states from which on the oldest are forgotten, a third of them at a time; 0 = none ever is.
    """

    def __init__(
        self,
        keys: npt.NDArray[np.float32],
        values: npt.NDArray[np.integer],
        items: int,
        *,
        kind: Literal["auto", "exact", "hnsw"] = "auto",
        seed: int = DEFAULT_SEED,
        most: int = 0,
    ) -> None:
        self.items = items
        self._kind: Literal["auto", "exact", "hnsw"] = kind
        self._seed = seed
        self._most = most
        self._values = np.array(values, np.int64)
        self._count = len(self._values)
        self._index = self._indexed(keys)

    def __len__(self) -> int:
        return len(self._index)

    @property
    def index(self) -> Index:
        """Over the states; ids are their numbers in the order in which they came."""
        return self._index

    def add(self, state: npt.NDArray[np.float32], item: int) -> None:
        """Remember one more event: a user with ``state`` (float32 (dim,), unit) went on to ``item``."""
        self._index.add([str(self._count)], state[None])
        if self._count == len(self._values):
            self._values = np.concatenate([self._values, np.zeros_like(self._values)])
        self._values[self._count] = item
        self._count += 1
        if self._most and self._count > 1.5 * self._most:
            self._values = self._values[self._count - self._most : self._count].copy()
            self._index = self._indexed(self._index.embeddings[self._count - self._most :])
            self._count = self._most

    def _indexed(self, keys: npt.NDArray[np.float32]) -> Index:
        return build_index([str(number) for number in range(len(keys))], keys, kind=self._kind, seed=self._seed)

    def grow(self, items: int) -> None:
        """Make room for a catalog of more items."""
        self.items = max(self.items, items)

    def votes(self, states: npt.NDArray[np.float32]) -> Any:
        """The share of the vote that each item gets, for each of the states asked for (float32 (n, dim)).

        Returns:
            float32 CSR array (n, items); rows sum to 1.
        """
        found = self._index.search(states, min(NEIGHBOURS, len(self)))
        there = found.rows >= 0
        similarity = np.where(there, found.scores, -np.inf).astype(np.float64) / TEMPERATURE
        weights = np.exp(similarity - similarity.max(axis=1, keepdims=True))
        weights /= weights.sum(axis=1, keepdims=True)
        owner = np.repeat(np.arange(len(states)), there.sum(axis=1))
        votes = sparse.coo_array(
            (weights[there].astype(np.float32), (owner, self._values[found.rows[there]])),
            shape=(len(states), self.items),
        )
        return votes.tocsr()  # sums what is there twice

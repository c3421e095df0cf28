"""Co-occurrence of items that grows event by event, and what a history says by it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from adapt.errors import UsageError
from adapt.evaluate.baselines import cooccurrence
from adapt.evaluate.histories import Histories, decayed

WINDOW = 5
_MERGE_AT = 20_000


class Cooccurrence:
    """How often two items stand near each other in a history, each time weighted by ``1 / distance``.

    New events are kept apart from the counted matrix and merged into it when there are many, so that adding one takes
    well under a millisecond and a query sees it at once.

    Args:
        histories: events that are known, oldest first.
        items: number of items in the catalog.

    Attributes:
        events: float64 (items,), number of events of each item.
        totals: float64 (items,), ``c``: row sums of the co-occurrence ``C``.

    >>> from adapt.evaluate.histories import from_lists
    >>> known = from_lists([[0, 1], [0]])
    >>> Cooccurrence(known, items=3).votes(known, decay=0.0, power=0.5, smoothing=0.0).toarray()
    array([[1., 1., 0.],
           [0., 1., 0.]], dtype=float32)
    """

    def __init__(self, histories: Histories, items: int) -> None:
        self.items = items
        self.events = np.bincount(histories.items, minlength=items).astype(np.float64)
        self._counts = cooccurrence(histories, items, WINDOW)
        self.totals = np.asarray(self._counts.sum(axis=1), np.float64).reshape(-1)
        self._added: list[tuple[int, int, float]] = []
        self._recent: Any = None

    def add(self, history: Sequence[int] | npt.NDArray[np.integer], item: int) -> None:
        """Count one more event: ``item`` follows ``history`` (catalog rows, oldest first).

        Raises:
            UsageError: the row is not one of the catalog.
        """
        if not 0 <= item < self.items:
            raise UsageError(f"expected an item from 0 to {self.items - 1}, found {item}")
        self.events[item] += 1
        for distance, other in enumerate(reversed(list(history[-WINDOW:])), start=1):
            if other != item:
                weight = 1 / distance
                self._added += [(int(other), item, weight), (item, int(other), weight)]
                self.totals[[other, item]] += weight
        self._recent = None
        if len(self._added) > _MERGE_AT:
            self._counts = (self._counts + self._new()).tocsr()
            self._added = []

    def votes(self, histories: Histories, *, decay: float, power: float, smoothing: float) -> Any:
        """``s_j = sum_i w_i C_ij / ((c_i + smoothing) (c_j + smoothing))^power`` with ``w_i = exp(-decay * age_i)``.

        Smoothing keeps items that were met once or twice from speaking as loudly as those that are known well.

        Args:
            histories: (n) that are continued.
            decay: per position of the history.
            power: 0 favours popular items, 0.5 is the cosine of co-occurrence.
            smoothing: in units of co-occurrence, at least 0.

        Returns:
            float32 CSR array (n, items), positive where there is evidence.
        """
        users = np.arange(len(histories.offsets) - 1)
        known = self.totals > 0
        scale = np.zeros(self.items, np.float32)
        scale[known] = (self.totals[known] + smoothing) ** -power
        weights = decayed(histories, users, self.items, decay)
        weights = sparse.csr_array(
            (weights.data * scale[weights.indices], weights.indices, weights.indptr), shape=weights.shape
        )
        votes = weights @ self._counts
        if self._added:
            votes = (votes + weights @ self._new()).tocsr()
        votes.data *= scale[votes.indices]
        return votes

    def _new(self) -> Any:
        """The co-occurrences that were added since the last merge, as a matrix."""
        if self._recent is None:
            first, second, weight = (np.array(part) for part in zip(*self._added, strict=True))
            self._recent = sparse.csr_array(
                (weight.astype(np.float32), (first, second)), shape=(self.items, self.items)
            )
        return self._recent

"""Co-occurrence of items that grows event by event, and what a history says by it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from adapt.errors import UsageError
from adapt.evaluate.baselines import successions
from adapt.evaluate.histories import Histories, decayed

WINDOW = 10
_MERGE_AT = 10_000


@dataclass(frozen=True, eq=False)
class Votes:
    """What co-occurrence says on some histories.

    Attributes:
        following: float32 CSR array (n, items), by pairs in which the item came after one of the history.
        preceding: float32 CSR array (n, items), by pairs in which it came before.
    """

    following: Any
    preceding: Any

    @property
    def both(self) -> Any:
        """Their sum, as if order meant nothing."""
        return (self.following + self.preceding).tocsr()


class Cooccurrence:
    """How often items stand near each other in histories, and in which order, each time weighted by ``1 / distance``.

    New events are kept apart from the counted matrix and merged into it when there are many, so that adding one takes
    well under a millisecond and a query sees it at once.

    Args:
        histories: events that are known, oldest first.
        items: number of items in the catalog.

    Attributes:
        events: float64 (items,), number of events of each item.
        totals: float64 (items,), ``c``: how much an item stands near others, before and after.

    >>> from adapt.evaluate.histories import from_lists
    >>> known = from_lists([[0, 1], [0]])
    >>> Cooccurrence(known, items=3).votes(known, decay=0.0, power=0.5, smoothing=0.0).following.toarray()
    array([[0., 1., 0.],
           [0., 1., 0.]], dtype=float32)
    """

    def __init__(self, histories: Histories, items: int) -> None:
        self.items = items
        self.events = np.bincount(histories.items, minlength=items).astype(np.float64)
        self._following = successions(histories, items, WINDOW)
        self._preceding = self._following.T.tocsr()
        self.totals = np.asarray(self._following.sum(axis=1) + self._preceding.sum(axis=1), np.float64).reshape(-1)
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
                self._added.append((int(other), item, 1 / distance))
                self.totals[[other, item]] += 1 / distance
        self._recent = None
        if len(self._added) > _MERGE_AT:
            new = self._new()
            self._following = (self._following + new).tocsr()
            self._preceding = (self._preceding + new.T).tocsr()
            self._added = []

    def grow(self, items: int) -> None:
        """Make room for a catalog of more items, of which nothing is known yet; never for fewer."""
        if items <= self.items:
            return
        more = np.zeros(items - self.items)
        self.events, self.totals = np.concatenate([self.events, more]), np.concatenate([self.totals, more])
        for counts in (self._following, self._preceding):
            counts.resize((items, items))
        self.items, self._recent = items, None

    def votes(self, histories: Histories, *, decay: float, power: float, smoothing: float) -> Votes:
        """``s_j = sum_i w_i C_ij / ((c_i + smoothing) (c_j + smoothing))^power`` with ``w_i = exp(-decay * age_i)``.

        Smoothing keeps items that were met once or twice from speaking as loudly as those that are known well.

        Args:
            histories: (n) that are continued.
            decay: per position of the history.
            power: 0 favours popular items, 0.5 is the cosine of co-occurrence.
            smoothing: in units of co-occurrence, at least 0.
        """
        users = np.arange(len(histories.offsets) - 1)
        known = self.totals > 0
        scale = np.zeros(self.items, np.float32)
        scale[known] = (self.totals[known] + smoothing) ** -power
        weights = decayed(histories, users, self.items, decay)
        weights.data *= scale[weights.indices]
        found = []
        new = self._new() if self._added else None
        for counts, recent in ((self._following, new), (self._preceding, None if new is None else new.T)):
            votes = weights @ counts
            if recent is not None:
                votes = (votes + weights @ recent).tocsr()
            votes.data *= scale[votes.indices]
            found.append(votes)
        return Votes(*found)

    def _new(self) -> Any:
        """What was added since the last merge, as a matrix like that of the items that follow."""
        if self._recent is None:
            first, second, weight = (np.array(part) for part in zip(*self._added, strict=True))
            shape = (self.items, self.items)
            self._recent = sparse.csr_array((weight.astype(np.float32), (first, second)), shape=shape)
        return self._recent

"""Numbers of items that stay the same while an index renumbers its rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from adapt.index.snapshot import Snapshot
from adapt.workflows.living_index import LivingIndex

_ROOM = 1.05
_BLOCK = 16_384
_MOST_BYTES = 512 << 20


class ItemNumbers:
    """Item id <-> number, counting up in the order in which ids were first seen; a number is never given up.

    What is remembered of items goes by these numbers, since the rows of an index change when it is compacted.
    """

    def __init__(self) -> None:
        self._ids: list[str] = []
        self._number: dict[str, int] = {}
        self._lineage = ""
        self._by_row = np.zeros(0, np.int64)

    def __len__(self) -> int:
        return len(self._ids)

    def id(self, number: int) -> str:
        """The id with a number."""
        return self._ids[number]

    def of(self, item_id: str) -> int:
        """The number of an item, new where it has none."""
        number = self._number.get(item_id)
        if number is None:
            number = self._number[item_id] = len(self._ids)
            self._ids.append(item_id)
        return number

    def known(self, item_ids: Iterable[str]) -> NDArray[np.int64]:
        """The numbers of those items that have one: int64."""
        return np.array([self._number[item_id] for item_id in item_ids if item_id in self._number], np.int64)

    def of_all(self, item_ids: Iterable[str]) -> NDArray[np.int64]:
        """The numbers of some items: int64 (n,)."""
        return np.array([self.of(item_id) for item_id in item_ids], np.int64)

    def room(self) -> int:
        """How many numbers to make room for, some more than there are, so that room is seldom made."""
        return max(64, int(_ROOM * len(self._ids)))

    def follow(self, now: Snapshot) -> None:
        """Number the items of a snapshot; of one that continues the snapshot before, only the rows that are new."""
        if self._lineage != now.description.lineage or len(self._by_row) > len(now.vectors):
            self._lineage, self._by_row = now.description.lineage, np.zeros(0, np.int64)
        new = self.of_all(now.id(row) for row in range(len(self._by_row), len(now.vectors)))
        self._by_row = np.concatenate([self._by_row, new])

    def rows(self, now: Snapshot, room: int) -> NDArray[np.int64]:
        """The row of each number in the snapshot that was followed last, -1 where it is not there: int64 (room,)."""
        rows = np.full(max(room, len(self._ids)), -1, np.int64)
        rows[self._by_row[now.rows]] = now.rows
        return rows


class NumberedContent:
    """What content says of the items of a snapshot, by number; a :class:`~adapt.workflows.weighing.Content`.

    Embeddings are kept in float32, up to 512 MiB, in the order of numbers and in the dimensions that some item uses, a
    row for each dimension: one query is then answered twice as fast as from a row for each item. Larger catalogs are
    scored where they lie.

    Args:
        index: whose model embeds.
        now: the snapshot.
        rows: int64 (numbers,), the row of each number, -1 where it is not there.
        before: the content of an earlier snapshot, which is not used any more: what has not changed is taken over.

    Attributes:
        used: int64, the dimensions of an embedding that some item uses.
    """

    def __init__(
        self, index: LivingIndex, now: Snapshot, rows: NDArray[np.int64], before: NumberedContent | None = None
    ) -> None:
        self.index = index
        self.now = now
        self.rows = rows
        self._usable: NDArray[np.bool_] = rows >= 0
        self._hidden = torch.from_numpy(np.where(self._usable, np.float32(0), np.float32(-np.inf)))
        self.used, self._table = self._continued(before) or self._copied()

    @property
    def usable(self) -> NDArray[np.bool_]:
        """bool (numbers,): the items that can be found."""
        return self._usable

    def states(self, histories: Sequence[NDArray[np.integer]]) -> NDArray[np.float32]:
        """User states float32 (histories, used), in the dimensions that some item uses, unit rows before others were
        left out; zero for a history without an item that can be found.
        """
        known = [self.rows[history] for history in histories]
        known = [rows[rows >= 0] for rows in known]
        there = [number for number, rows in enumerate(known) if len(rows)]
        states = np.zeros((len(known), len(self.used)), np.float32)
        if there:
            states[there] = self.index.states_of(self.now, [known[number] for number in there])[:, self.used]
        return states

    def score_states(self, states: NDArray[np.float32]) -> NDArray[np.float32]:
        """Cosines float32 (states, numbers), ``-inf`` where an item cannot be found."""
        if self._table is None:
            wide = np.zeros((len(states), self.now.description.dim), np.float32)
            wide[:, self.used] = states
            by_row = self.now.scores(wide)
            scores = np.full((len(states), len(self.rows)), -np.inf, np.float32)
            scores[:, self._usable] = by_row[:, self.rows[self._usable]]
            return scores
        found = torch.mm(torch.from_numpy(states), self._table)
        return (found.add_(self._hidden) if not self._usable.all() else found).numpy()

    def _copied(self) -> tuple[NDArray[np.int64], torch.Tensor | None]:
        """The dimensions that are used, and the embeddings in them: float32 (used, numbers)."""
        dim = self.now.description.dim
        used = np.zeros(dim, bool)
        numbers = np.flatnonzero(self._usable)
        blocks = [numbers[start : start + _BLOCK] for start in range(0, len(numbers), _BLOCK)]
        for block in blocks:
            used |= self.now.vectors.take(self.rows[block]).any(axis=0)
        columns = np.flatnonzero(used)
        if 4 * len(self.rows) * len(columns) > _MOST_BYTES:
            return columns, None
        table = np.zeros((len(columns), len(self.rows)), np.float32)
        for block in blocks:
            table[:, block] = self.now.vectors.take(self.rows[block])[:, columns].T
        return columns, torch.from_numpy(table)

    def _continued(self, before: NumberedContent | None) -> tuple[NDArray[np.int64], torch.Tensor] | None:
        """The same with only what has changed read anew; None where that is not possible."""
        if before is None or before._table is None or len(before.rows) != len(self.rows):
            return None
        if before.now.description.lineage != self.now.description.lineage:
            return None
        changed = np.flatnonzero((before.rows != self.rows) & self._usable)
        vectors = self.now.vectors.take(self.rows[changed])
        used, table = before.used, before._table
        if np.delete(vectors, used, axis=1).any():
            return None
        table.numpy()[:, changed] = vectors[:, used].T
        return used, table

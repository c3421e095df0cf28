"""Ranked lists for many users: asked for a shard of users at a time, kept as they come."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from adapt.data.catalog import Interactions
from adapt.progress import SILENT, Progress
from adapt.shards import Work, plan, release
from adapt.workflows.recommender import Recommender

USERS = 4096
"""Lists of a shard."""


class Histories(Sequence[NDArray[np.integer]]):
    """Histories of some users, looked up when they are asked for: a million arrays take more memory than their items.

    Args:
        offsets: int64 (users + 1,): the history of user ``u`` is ``items[offsets[u]:offsets[u + 1]]``.
        items: int (n,) catalog rows.
        users: int64 (lists,), the user of each list.
    """

    def __init__(self, offsets: NDArray[np.int64], items: NDArray[np.integer], users: NDArray[np.int64]) -> None:
        self._offsets, self._items, self._users = offsets, items, users

    @classmethod
    def of(cls, interactions: Interactions, users: NDArray[np.int64]) -> Histories:
        """Those of a data set."""
        return cls(interactions.offsets, interactions.items, users)

    @classmethod
    def single(cls, rows: NDArray[np.integer]) -> Histories:
        """One history of one item for each of ``rows``."""
        return cls(np.arange(len(rows) + 1), rows, np.arange(len(rows)))

    def __len__(self) -> int:
        return len(self._users)

    @overload
    def __getitem__(self, number: int) -> NDArray[np.integer]: ...
    @overload
    def __getitem__(self, number: slice) -> list[NDArray[np.integer]]: ...
    def __getitem__(self, number: int | slice) -> NDArray[np.integer] | list[NDArray[np.integer]]:
        if isinstance(number, slice):
            return [self._of(user) for user in self._users[number].tolist()]
        return self._of(int(self._users[number]))

    def hold(self, usable: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """bool (lists,), whether a history holds an item that is usable (bool (items,))."""
        there = np.concatenate([[0], np.cumsum(usable[self._items], dtype=np.int64)])
        found: NDArray[np.bool_] = np.diff(there[self._offsets])[self._users] > 0
        return found

    def only(self, kept: NDArray[np.bool_]) -> Histories:
        """The same for those lists that are kept: bool (lists,)."""
        return Histories(self._offsets, self._items, self._users[kept])

    def _of(self, user: int) -> NDArray[np.integer]:
        return self._items[self._offsets[user] : self._offsets[user + 1]]


@dataclass(frozen=True, eq=False)
class RecommendationTable:
    """The ranked lists, by column.

    Attributes:
        keys: user ids, query item ids in mode ``"similar"``, or ``("history",)``.
        histories: catalog rows of each, oldest first; the query item itself in mode ``"similar"``.
        rows: int64 (lists, k) catalog rows, best first, padded with -1.
        scores: float32 (lists, k), padded with -inf.
    """

    keys: Sequence[str]
    histories: Sequence[NDArray[np.integer]]
    rows: NDArray[np.int64]
    scores: NDArray[np.float32]

    def lines(self, item_ids: Sequence[str]) -> Iterator[tuple[str, str, int, str]]:
        """User id, item id, rank from 1 and score with six decimals of every recommended item, read shard by shard.

        Args:
            item_ids: row -> item id.
        """
        for shard in plan(len(self.keys), USERS):
            rows, scores = self.rows[shard.rows].tolist(), self.scores[shard.rows].tolist()
            for key, items, values in zip(self.keys[shard.start : shard.stop], rows, scores, strict=True):
                for rank, (row, score) in enumerate(zip(items, values, strict=True), start=1):
                    if row >= 0:
                        yield key, item_ids[row], rank, f"{score:.6f}"
            release(self.rows, self.scores)

    def short(self) -> int:
        """How many lists hold fewer items than were asked for."""
        return sum(int((self.rows[shard.rows, -1] < 0).sum()) for shard in plan(len(self.keys), USERS))


@dataclass(frozen=True)
class Asked:
    """What is asked of a recommender for every list.

    Attributes:
        k: length of the lists.
        similar: whether the histories are items that similar ones are wanted for.
        keep_seen: whether items of the history may be recommended.
        identity: all else that decides the lists; see :meth:`adapt.shards.Work.rows`.
    """

    k: int
    similar: bool
    keep_seen: bool
    identity: Mapping[str, Any]


def ranked_lists(
    recommender: Recommender,
    keys: Sequence[str],
    histories: Histories,
    asked: Asked,
    work: Work,
    progress: Progress = SILENT,
) -> RecommendationTable:
    """Recommend for every history, a shard of users at a time; shards that are kept are not asked for again.

    Args:
        recommender: what recommends.
        keys: of the lists.
        histories: each with a usable item, where the recommender needs one.
        asked: what is wanted.
        work: where lists of more than one shard are kept.
        progress: told each list.
    """
    identity = {"asked": {**asked.identity, "k": asked.k, "keep_seen": asked.keep_seen}, "keys": _digest(keys)}
    keep, shape = True if len(keys) > USERS else None, (len(keys), asked.k)
    scores = work.rows("scores", identity, shape, size=USERS, keep=keep)
    rows = work.rows("lists", identity, shape, dtype=np.int64, size=USERS, keep=keep)
    missing = rows.missing
    with progress.task("recommending", sum(map(len, missing)), "lists") as advance:
        for shard in missing:
            found, values = _ranked(recommender, histories[shard.rows], asked)
            scores.write(shard, values)  # first: a shard of rows is a shard of both
            rows.write(shard, found)
            advance(len(shard))
    rows.wait()
    return RecommendationTable(keys, histories, rows.values, scores.values)


def _ranked(
    recommender: Recommender, histories: Sequence[NDArray[np.integer]], asked: Asked
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    if asked.similar:
        return recommender.search_items(np.concatenate(histories), asked.k)
    return recommender.search_histories(histories, asked.k, keep_seen=asked.keep_seen)


def _digest(keys: Sequence[str]) -> str:
    found = hashlib.blake2b(digest_size=16)
    for shard in plan(len(keys), USERS):
        for key in keys[shard.start : shard.stop]:
            found.update(key.encode("utf-8", "surrogatepass") + b"\0")
    return found.hexdigest()

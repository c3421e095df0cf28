"""The rows of one generation as an engine elsewhere holds them: searched there, answered whole."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from adapt.errors import EngineError
from adapt.index.approximate import best_of
from adapt.index.base import Excluded, FloatMatrix, SearchResult, empty_result
from adapt.index.calibrate import SearchBy
from adapt.index.description import Description
from adapt.index.engine import Collection, Identity, RemoteEntry, Server, Wanted
from adapt.index.filters import Condition
from adapt.index.recall import CALIBRATION_K

MOST_LISTED = 10_000
"""Rows that a request names one by one; more of them are searched where the folder is."""
Exactly = Callable[[FloatMatrix, int, "Excluded | None"], SearchResult]


class RemoteRows:
    """Search over rows in an engine; see :meth:`adapt.index.base.Index.search` for what an answer is.

    Args:
        server: of the engine.
        entry: which collection.
        identity: that it must have.
        count: rows that count; an engine may hold more, of a change that is not done.
        alive: bool (count,), False for deleted rows, which an engine may still hold; None = none are.
        collection: where it was made just now.
    """

    def __init__(
        self,
        server: Server,
        entry: RemoteEntry,
        identity: Identity,
        count: int,
        alive: npt.NDArray[np.bool_] | None = None,
        collection: Collection | None = None,
    ) -> None:
        self.server = server
        self.entry = entry
        self.count = count
        self.identity = identity
        self._alive = alive
        self._collection = collection

    @property
    def collection(self) -> Collection:
        """The collection, checked when it is first used.

        Raises:
            EngineError: it is not there, or holds something else.
        """
        if not self.entry.name:
            raise EngineError(
                "expected an index that was carried to its engine, found one that was saved from memory",
                "`adapt.load_index` carries it there; `adapt index build --engine` makes one that stays.",
            )
        if self._collection is None:
            self._collection = self.server.open(self.entry.name, self.identity, self.entry.columns)
        return self._collection

    def filterable(self, condition: Condition) -> bool:
        """Whether the engine can be asked for a condition."""
        return self.server.filterable(condition, self.entry.columns)

    @property
    def search_by(self) -> SearchBy:
        """The engine's search, to be calibrated."""
        settings = self.entry.settings
        return SearchBy(settings.engine, settings.index == "FLAT", self._at)

    def _at(self, queries: FloatMatrix, breadth: int, k: int) -> SearchResult:
        return self._kept(self.collection.search(queries, k, Wanted(), breadth), k, None)

    def search(
        self,
        queries: FloatMatrix,
        k: int,
        exactly: Exactly,
        *,
        seen: Excluded | None = None,
        where: tuple[Condition, ...] = (),
        allow: npt.NDArray[np.bool_] | None = None,
    ) -> SearchResult:
        """The best ``k`` rows of each query; never short of a row that is allowed.

        Longer lists are fetched and what is seen or deleted is dropped. What cannot be asked of the engine, and a list
        that comes out shorter than what the engine holds, is answered exactly from the folder.

        Args:
            queries: float32 (queries, dim).
            k: length of the lists.
            exactly: the truth among the rows that are allowed.
            seen: for each query the rows it must not return.
            where: conditions that :meth:`filterable` accepts.
            allow: bool (count,), False for rows that no query may return; None = ``where`` alone decides.
        """
        only = None
        if allow is not None:
            only = np.flatnonzero(allow if self._alive is None else allow & self._alive)
            if len(only) > MOST_LISTED:
                return exactly(queries, k, seen)
            if not len(only):
                return empty_result(len(queries), k)
        wanted = Wanted(where, only)
        lengths = seen.lengths if seen else np.zeros(len(queries), np.int64)
        # A power of two more than needed for the seen items, so that few different lengths are asked for.
        fetch = k + np.where(lengths > 0, 2 ** np.ceil(np.log2(np.maximum(lengths, 1))), 0).astype(np.int64)
        result, there = empty_result(len(queries), k), -1
        exact = fetch > self.collection.most
        for length in np.unique(fetch[~exact]).tolist():
            chosen = np.flatnonzero(~exact & (fetch == length))
            breadth = math.ceil(self.entry.breadth * max(1.0, length / CALIBRATION_K))
            found = self.collection.search(queries[chosen], length, wanted, breadth)
            kept = self._kept(found, k, seen.take(chosen) if seen else None)
            result.rows[chosen], result.scores[chosen] = kept.rows, kept.scores
            short = kept.rows[:, -1] < 0
            if short.any():
                there = self.collection.count(wanted) if there < 0 else there
                exact[chosen[short & (np.count_nonzero(found.rows >= 0, axis=1) < there)]] = True
        rest = np.flatnonzero(exact)
        if len(rest):
            answered = exactly(queries[rest], k, seen.take(rest) if seen else None)
            result.rows[rest], result.scores[rest] = answered.rows, answered.scores
        return result

    def _kept(self, found: SearchResult, k: int, seen: Excluded | None) -> SearchResult:
        counts = found.rows < self.count
        rows = np.where(counts, found.rows, -1)
        return best_of(SearchResult(rows, found.scores), k, seen, self._alive, self.count)


def identity_of(description: Description, owner: str) -> Identity:
    """What a collection with the rows of a generation says of itself."""
    return Identity(
        fingerprint=description.model.fingerprint,
        dim=description.dim,
        owner=owner,
        lineage=description.lineage,
        format_version=description.format_version,
    )

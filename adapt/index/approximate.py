"""What a graph answers, without the rows that may not be found, and exact answers wherever it would fall short."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from adapt.index.base import Excluded, FloatMatrix, SearchResult, empty_result


@dataclass(frozen=True)
class GraphSearch:
    """Two ways to search the same rows.

    Attributes:
        by_graph: queries and length of the lists to rows and scores; -1 where the graph has no more.
        exactly: queries, length and excluded rows to the truth among the rows that are allowed.
        exact_below: with fewer allowed rows than this, exact search is faster and is used.
    """

    by_graph: Callable[[FloatMatrix, int], SearchResult]
    exactly: Callable[[FloatMatrix, int, Excluded | None], SearchResult]
    exact_below: int

    def __call__(
        self,
        queries: FloatMatrix,
        k: int,
        count: int,
        seen: Excluded | None = None,
        allow: npt.NDArray[np.bool_] | None = None,
    ) -> SearchResult:
        """The best ``k`` rows of each query; never short of a row that is allowed.

        Longer lists are fetched and what is seen or forbidden is dropped; a query for which that is not worth it, or
        which comes out short, is answered exactly.

        Args:
            queries: float32 (queries, dim).
            k: length of the lists.
            count: number of rows.
            seen: for each query the rows it must not return.
            allow: bool (count,), False for rows that no query may return.
        """
        allowed = count if allow is None else int(np.count_nonzero(allow))
        lengths = seen.lengths if seen else np.zeros(len(queries), np.int64)
        # A power of two more than needed for the seen items, so that few different lengths are searched.
        extra = np.where(lengths > 0, 2 ** np.ceil(np.log2(np.maximum(lengths, 1))), 0)
        fetch = k + extra.astype(np.int64)
        if allowed < count:
            fetch = np.ceil(fetch * (1.2 * count / max(allowed, 1))).astype(np.int64) + 8
        exact = (fetch > allowed // 4) | (allowed < max(self.exact_below, count // 20))
        result = empty_result(len(queries), k)
        for length in np.unique(fetch[~exact]):
            chosen = np.flatnonzero(~exact & (fetch == length))
            found = self.by_graph(queries[chosen], int(length))
            kept = best_of(found, k, seen.take(chosen) if seen else None, allow, count)
            result.rows[chosen], result.scores[chosen] = kept.rows, kept.scores
            exact[chosen[kept.rows[:, -1] < 0]] = True
        rest = np.flatnonzero(exact)
        if len(rest):
            answered = self.exactly(queries[rest], k, seen.take(rest) if seen else None)
            result.rows[rest], result.scores[rest] = answered.rows, answered.scores
        return result


def merge(left: SearchResult, right: SearchResult) -> SearchResult:
    """The best of two results over different rows, by (-score, row), in lists of the same length."""
    k = left.rows.shape[1]
    rows = np.concatenate([left.rows, right.rows], axis=1)
    scores = np.concatenate([left.scores, right.scores], axis=1)
    order = np.lexsort((rows, -scores), axis=1)[:, :k]
    return SearchResult(np.take_along_axis(rows, order, axis=1), np.take_along_axis(scores, order, axis=1))


def best_of(
    found: SearchResult,
    k: int,
    seen: Excluded | None,
    allow: npt.NDArray[np.bool_] | None,
    count: int,
) -> SearchResult:
    """The first ``k`` of what the graph gave, without seen and forbidden rows, by (-score, row)."""
    rows, scores = found.rows, found.scores
    kept = rows >= 0
    if allow is not None:
        kept &= allow[rows]
    if seen is not None:
        query, hidden = seen.pairs()
        kept &= ~np.isin(np.arange(len(rows))[:, None] * count + rows, query * count + hidden)
    rows, scores = np.where(kept, rows, -1), np.where(kept, scores, np.float32(-np.inf))
    order = np.lexsort((rows, -scores), axis=1)[:, :k]
    return SearchResult(np.take_along_axis(rows, order, axis=1), np.take_along_axis(scores, order, axis=1))

"""Exact search: every score is computed, in blocks of bounded memory, equal scores in the order of rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from adapt.index.base import (
    Excluded,
    FloatMatrix,
    IndexInfo,
    Kind,
    Rows,
    SearchResult,
    check_search,
    check_vectors,
    empty_result,
)
from adapt.index.batch import search_many, suits
from adapt.index.tabled import TabledIndex
from adapt.index.vectors import DenseVectors, NarrowVectors, Vectors, padded, padded_count
from adapt.top import top_k

BLOCK_BYTES = 64 << 20
# Items that are scored at once: wide enough for the matrix kernel, narrow enough for many queries in a block.
_TILE = 1 << 15
# Below this share of allowed rows they are copied out and searched alone, which costs one read of them.
_SPARSE_ALLOW = 0.5
_MOST_COPIED = 256 << 20


class ExactIndex(TabledIndex):
    """Brute-force search, the fastest choice below some 50,000 items and the truth that HNSW is measured against.

    Scores of one item for one query may differ in the last bit between batches of different size, as matrix kernels
    round differently; within a call, equal embeddings have equal scores.

    Args:
        ids: distinct, not empty.
        embeddings: float32 (len(ids), dim), finite; copied, unless they are mapped from a file.

    Raises:
        UsageError: shapes do not fit or an id is given twice.
        DataError: an embedding is not finite.

    >>> index = ExactIndex(["a", "b"], [[1.0, 0.0], [0.0, 1.0]])
    >>> index.search([[0.2, 0.8]], k=3).rows
    array([[ 1,  0, -1]])
    """

    @property
    def kind(self) -> Kind:
        """Always ``"exact"``."""
        return "exact"

    def info(self) -> IndexInfo:
        """Kind, count and dimension; recall is 1 by construction and therefore not measured."""
        return IndexInfo(kind="exact", count=len(self), dim=self.dim, threads=torch.get_num_threads())

    def search(
        self,
        queries: npt.ArrayLike,
        k: int,
        *,
        exclude: Sequence[Rows] | None = None,
        allow: npt.NDArray[np.bool_] | None = None,
    ) -> SearchResult:
        """See :meth:`adapt.index.base.Index.search`."""
        with self._lock:
            matrix = check_vectors(queries, self.dim, "queries")
            seen = check_search(len(matrix), len(self), k, exclude, allow)
            vectors: Vectors = self._table.vectors
            if suits(len(matrix), len(self), k):  # what no item has adds nothing to a score
                used = self._table.used
                vectors, matrix = NarrowVectors(vectors, used), np.ascontiguousarray(matrix[:, used])
            return search_vectors(vectors, matrix, k, exclude=seen, allow=allow)

    def add(self, ids: Sequence[str], embeddings: npt.ArrayLike) -> None:
        """See :meth:`adapt.index.base.Index.add`."""
        with self._lock:
            self._table.put(ids, embeddings)

    def remove(self, ids: Sequence[str]) -> None:
        """See :meth:`adapt.index.base.Index.remove`."""
        with self._lock:
            self._table.remove(ids)


def search_vectors(
    vectors: Vectors,
    queries: FloatMatrix,
    k: int,
    *,
    exclude: Excluded | None = None,
    allow: npt.NDArray[np.bool_] | None = None,
) -> SearchResult:
    """Exact search over rows whose arguments were checked; see :meth:`adapt.index.base.Index.search`."""
    count, kept = len(vectors), None if allow is None or allow.all() else np.flatnonzero(allow)
    if kept is None or len(kept) >= _SPARSE_ALLOW * count or 4 * len(kept) * vectors.dim > _MOST_COPIED:
        hidden = None if kept is None or allow is None else np.flatnonzero(~allow)
        if not suits(len(queries), count, k):
            return _search(vectors, queries, k, exclude, hidden)
        result, left = search_many(vectors, queries, k, exclude=exclude, hidden=hidden)
        if len(left):
            rest = _search(vectors, queries[left], k, exclude.take(left) if exclude else None, hidden)
            result.rows[left], result.scores[left] = rest.rows, rest.scores
        return result
    dense = DenseVectors(padded(vectors.take(kept), vectors.dim), len(kept))
    found = _search(dense, queries, k, exclude.within(kept, count) if exclude else None, None)
    rows = np.where(found.rows >= 0, kept[found.rows] if len(kept) else -1, -1)
    return SearchResult(rows, found.scores)


def score_vectors(vectors: Vectors, queries: FloatMatrix) -> FloatMatrix:
    """The inner product of each query with every row: float32 (queries, rows)."""
    out = torch.empty((len(queries), len(vectors)), dtype=torch.float32)
    wanted = torch.from_numpy(queries)
    for tile in vectors.tiles(_TILE):
        part = out[:, tile.start : tile.start + tile.rows]
        items = torch.from_numpy(tile.values)
        if tile.rows == len(items):
            torch.mm(wanted, items.T, out=part)
        else:
            part.copy_(torch.mm(wanted, items.T)[:, : tile.rows])
    return out.numpy()


def _search(
    vectors: Vectors,
    queries: FloatMatrix,
    k: int,
    exclude: Excluded | None,
    hidden: npt.NDArray[np.int64] | None,
) -> SearchResult:
    """Block by block; ``hidden`` rows are never found."""
    result = empty_result(len(queries), k)
    if not len(vectors):
        return result
    widest = min(_TILE, padded_count(len(vectors)))
    block = max(1, min(len(queries), BLOCK_BYTES // (4 * widest)))
    buffer = torch.empty(block * widest, dtype=torch.float32)
    wanted = torch.from_numpy(queries)
    for first in range(0, len(queries), block):
        batch = wanted[first : first + block]
        pairs = exclude.block(first, first + len(batch)).pairs() if exclude else None
        best: tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]] | None = None
        for tile in vectors.tiles(widest):
            items = torch.from_numpy(tile.values)
            scores = buffer[: len(batch) * len(items)].view(len(batch), len(items))
            torch.mm(batch, items.T, out=scores)  # [block, dim] @ [dim, tile] -> [block, tile]
            _hide(scores, tile.start, tile.rows, hidden, pairs)
            rows, found = top_k(scores, k)
            best = (rows + tile.start, found) if best is None else _merge(best, (rows + tile.start, found), k)
        assert best is not None
        rows, found = best
        result.rows[first : first + len(batch), : rows.shape[1]] = np.where(np.isneginf(found), -1, rows)
        result.scores[first : first + len(batch), : rows.shape[1]] = found
    return result


def _hide(
    scores: torch.Tensor,
    start: int,
    count: int,
    hidden: npt.NDArray[np.int64] | None,
    pairs: tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]] | None,
) -> None:
    """Give ``-inf`` to padding, to hidden rows and to each query's excluded rows within this tile."""
    scores[:, count:] = -torch.inf
    if hidden is not None:
        first, last = np.searchsorted(hidden, [start, start + count])
        scores[:, torch.from_numpy(hidden[first:last] - start)] = -torch.inf
    if pairs is not None:
        query, row = pairs
        inside = (row >= start) & (row < start + count)
        scores[torch.from_numpy(query[inside]), torch.from_numpy(row[inside] - start)] = -torch.inf


def _merge(
    left: tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]],
    right: tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]],
    k: int,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    rows, scores = _sorted(np.concatenate([left[0], right[0]], axis=1), np.concatenate([left[1], right[1]], axis=1))
    return rows[:, :k], scores[:, :k]


def _sorted(
    rows: npt.NDArray[np.int64], scores: npt.NDArray[np.float32]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    order = np.lexsort((rows, -scores), axis=1)
    return np.take_along_axis(rows, order, axis=1), np.take_along_axis(scores, order, axis=1)

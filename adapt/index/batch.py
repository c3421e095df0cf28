"""Exact search for many queries over many items: a coarse look at every score, an exact one at those that may count.

A search for a thousand users over a million items spends half of its time on choosing from a thousand million scores,
and the rest on computing them. Here scores are computed coarsely (in bfloat16 where the processor multiplies it in
hardware), and of every few items only the largest score is looked at. With ``e`` the largest error of a coarse score
and ``T`` the k-th largest of those maxima, at least ``k`` items score ``T - e`` or more, so an item of the answer has a
coarse score of ``T - 2 e`` or more: only groups whose maximum reaches that are computed again, in float32. The bound is
Cauchy and Schwarz's over the rounding errors that were in fact made, not an estimate. A query for which more groups
reach it than are kept, as with thousands of near-equal items, is left to the plain search.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from adapt.index.base import Excluded, FloatMatrix, SearchResult, empty_result
from adapt.index.vectors import Tile, Vectors

# At 100,000 items the plain search over maxima of groups is twice as fast (256 to 640 dimensions).
FEWEST_QUERIES, FEWEST_ITEMS, MOST_K = 64, 1 << 18, 64
QUERIES = 4096
"""Queries that share one pass over the items."""
_TILE = 4096
_SPARE = 118
_MERGED = 8  # tiles whose groups are compared at once
_RESCORED = 1 << 15  # items that are scored again at once


def group_size(items: int) -> int:
    """Items of a group: larger groups are fewer to choose from, and more to compute again for every query.

    >>> group_size(100_000), group_size(1_000_000)
    (4, 16)
    """
    return 4 if items < 200_000 else 8 if items < 500_000 else 16


def suits(queries: int, items: int, k: int) -> bool:
    """Whether :func:`search_many` is the faster way to the same answers.

    >>> suits(1, 1_000_000, 10), suits(4096, 1_000_000, 10)
    (False, True)
    """
    return queries >= FEWEST_QUERIES and items >= FEWEST_ITEMS and k <= MOST_K


def search_many(
    vectors: Vectors,
    queries: FloatMatrix,
    k: int,
    *,
    exclude: Excluded | None = None,
    hidden: npt.NDArray[np.int64] | None = None,
) -> tuple[SearchResult, npt.NDArray[np.int64]]:
    """Exact answers, by (-score, row).

    Args:
        vectors: the items.
        queries: float32 (queries, dim).
        k: length of the lists.
        exclude: for each query the rows it must not return.
        hidden: int64, rows that no query may return.

    Returns:
        The result, and the queries (int64) that it leaves open.
    """
    result = empty_result(len(queries), k)
    left: list[npt.NDArray[np.int64]] = []
    measured: _Items | None = None
    for first in range(0, len(queries), QUERIES):
        block = slice(first, min(first + QUERIES, len(queries)))
        search = _Pass(vectors, exclude.block(block.start, block.stop) if exclude else None, hidden)
        rows, scores, open_, measured = _block(search, queries[block], k, measured)
        result.rows[block], result.scores[block] = rows, scores
        left.append(first + open_)
    return result, np.concatenate([np.zeros(0, np.int64), *left])


@dataclass(frozen=True, eq=False)
class _Pass:
    """What is searched."""

    vectors: Vectors
    exclude: Excluded | None
    hidden: npt.NDArray[np.int64] | None

    def hide(self, scores: torch.Tensor, tile: Tile) -> None:
        """Give ``-inf`` to what may not be found."""
        scores[:, tile.rows :] = -torch.inf
        if self.hidden is not None:
            first, last = np.searchsorted(self.hidden, [tile.start, tile.start + tile.rows])
            scores[:, torch.from_numpy(self.hidden[first:last] - tile.start)] = -torch.inf
        if self.exclude is not None:
            query, row = self.exclude.pairs()
            inside = np.flatnonzero((row >= tile.start) & (row < tile.start + tile.rows))
            scores[torch.from_numpy(query[inside]), torch.from_numpy(row[inside] - tile.start)] = -torch.inf


@dataclass(frozen=True)
class _Items:
    """What bounds the errors of coarse scores: the longest item, and the most that rounding moves one."""

    length: float = 0.0
    error: float = 0.0

    def and_(self, exact: torch.Tensor, rounded: torch.Tensor) -> _Items:
        """The same with some more items."""
        moved = 0.0 if rounded is exact else float(torch.linalg.vector_norm(exact - rounded.float(), dim=1).max())
        length = float(torch.linalg.vector_norm(exact, dim=1).max())
        return _Items(max(self.length, length), max(self.error, moved))


def _block(
    search: _Pass, queries: FloatMatrix, k: int, known: _Items | None
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32], npt.NDArray[np.int64], _Items]:
    """Rows and scores (queries, k) of one block of queries, which of them are left open, and what bounds errors."""
    coarse = torch.bfloat16 if fast_bfloat16() else torch.float32
    exact = torch.from_numpy(queries)
    rounded = exact.to(coarse)
    top = _Groups(len(queries), k + _SPARE, group_size(len(search.vectors)), coarse)
    measured = known or _Items()
    buffer = torch.empty(len(queries) * _TILE, dtype=coarse)
    for tile in search.vectors.tiles(_TILE):
        items = torch.from_numpy(tile.values)
        near = items.to(coarse)
        if known is None:
            measured = measured.and_(items, near)
        scores = buffer[: len(queries) * len(items)].view(len(queries), len(items))
        torch.mm(rounded, near.T, out=scores)  # [queries, dim] @ [dim, tile] -> [queries, tile]
        search.hide(scores, tile)
        top.add(scores, tile.start)
    bound = _bound(exact, rounded, measured)
    best, rows = top.best()
    least = best[:, k - 1 : k] - 2 * bound  # -inf where there are fewer than k groups
    reached = (best >= least) & ~np.isneginf(best)
    open_ = np.flatnonzero(reached[:, -1] & (top.count > best.shape[1]))
    reached[open_] = False
    query, place = np.nonzero(reached)
    return *_rescored(search, queries, query, rows(query, place), k), open_, measured


class _Groups:
    """The groups of items with the largest maxima of each query.

    Args:
        queries: how many.
        kept: groups a query.
        size: items of a group.
        dtype: of the scores.
    """

    def __init__(self, queries: int, kept: int, size: int, dtype: torch.dtype) -> None:
        self._size = size
        self._best = torch.full((queries, kept), -torch.inf, dtype=dtype)
        self._chosen = torch.zeros((queries, kept), dtype=torch.int64)
        self._starts: list[npt.NDArray[np.int64]] = []
        self._strides: list[npt.NDArray[np.int64]] = []
        self._waiting = torch.empty((queries, _MERGED * _TILE // 4), dtype=dtype)
        self._filled = 0
        self.count = 0

    def add(self, scores: torch.Tensor, start: int) -> None:
        """The scores (queries, n) of the items from ``start`` on; a group is every (n / size)-th of them."""
        stride = scores.shape[1] // self._size
        place = self._waiting[:, self._filled : self._filled + stride]
        torch.amax(scores.view(len(scores), self._size, stride), dim=1, out=place)
        self._filled += stride
        self._starts.append(start + np.arange(stride))
        self._strides.append(np.full(stride, stride))
        if self._filled + _TILE // self._size > self._waiting.shape[1]:
            self._merge()

    def best(self) -> tuple[npt.NDArray[np.float32], Callable[[Any, Any], npt.NDArray[np.int64]]]:
        """The maxima float32 (queries, kept), best first, and what gives rows (n, size) of groups by their place."""
        if self._filled:
            self._merge()
        starts, strides, chosen = np.concatenate(self._starts), np.concatenate(self._strides), self._chosen.numpy()

        def rows(query: npt.NDArray[np.int64], place: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
            group = chosen[query, place]
            found: npt.NDArray[np.int64] = starts[group][:, None] + strides[group][:, None] * np.arange(self._size)
            return found

        return self._best.float().numpy(), rows

    def _merge(self) -> None:
        maxima = self._waiting[:, : self._filled]
        self._filled = 0
        top = maxima.topk(min(self._best.shape[1], maxima.shape[1]), dim=1, sorted=False)
        values = torch.cat([self._best, top.values], dim=1)
        numbers = torch.cat([self._chosen, top.indices + self.count], dim=1)
        again = values.topk(self._best.shape[1], dim=1, sorted=True)
        self._best, self._chosen = again.values, numbers.gather(1, again.indices)
        self.count += maxima.shape[1]


def _bound(exact: torch.Tensor, rounded: torch.Tensor, items: _Items) -> npt.NDArray[np.float32]:
    """The largest error of a coarse score, for each query: float32 (queries, 1).

    ``|x y - x' y'| <= |x - x'| |y| + |x'| |y - y'|``, and what sums and the result are rounded by.
    """
    norm = torch.linalg.vector_norm(exact, dim=1, keepdim=True)
    summed = 2.0 * exact.shape[1] * torch.finfo(torch.float32).eps
    stored = torch.finfo(rounded.dtype).eps if rounded.dtype != torch.float32 else 0.0
    moved = torch.linalg.vector_norm(exact - rounded.float(), dim=1, keepdim=True)
    bound: npt.NDArray[np.float32] = (
        (moved * items.length + (norm + moved) * items.error + (summed + stored) * norm * items.length).float().numpy()
    )
    return bound


def _rescored(
    search: _Pass,
    queries: FloatMatrix,
    query: npt.NDArray[np.int64],
    rows: npt.NDArray[np.int64],
    k: int,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """The best ``k`` of some rows by their exact scores.

    Args:
        search: what is searched.
        queries: float32 (queries, width).
        query: int64 (pairs,), ascending, the query of each group of rows.
        rows: int64 (pairs, group); those past the last item count as none.
        k: length of the lists.
    """
    count = len(search.vectors)
    scores = np.empty(rows.shape, np.float32)
    step = max(1, _RESCORED // rows.shape[1])
    for start in range(0, len(query), step):
        some = slice(start, start + step)
        taken = search.vectors.take(np.minimum(rows[some], count - 1).reshape(-1))
        taken = taken.reshape(*rows[some].shape, -1)
        # One dot product after the other: equal items get equal scores, wherever they stand in a group.
        scores[some] = np.einsum("pgd,pd->pg", taken, queries[query[some]])
    scores[rows >= count] = -np.inf
    owner = np.repeat(query, rows.shape[1])
    flat, value = rows.reshape(-1), scores.reshape(-1)
    if search.hidden is not None:
        value[np.isin(flat, search.hidden)] = -np.inf
    if search.exclude is not None:
        seen, hidden = search.exclude.pairs()
        value[np.isin(owner * count + flat, seen * count + hidden)] = -np.inf
    order = np.lexsort((flat, -value, owner))
    first = np.searchsorted(owner[order], np.arange(len(queries)))
    place = np.arange(len(order)) - first[owner[order]]
    best = order[(place < k) & ~np.isneginf(value[order])]
    found_rows = np.full((len(queries), k), -1, np.int64)
    found_scores = np.full((len(queries), k), -np.inf, np.float32)
    place_of = np.empty(len(order), np.int64)
    place_of[order] = place
    found_rows[owner[best], place_of[best]], found_scores[owner[best], place_of[best]] = flat[best], value[best]
    return found_rows, found_scores


def fast_bfloat16() -> bool:
    """Whether the processor multiplies matrices of bfloat16 in hardware (AMX); elsewhere float32 is faster."""
    supported = getattr(torch.cpu, "_is_amx_tile_supported", None)
    return bool(supported is not None and supported())

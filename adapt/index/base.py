"""The protocol of an index, what a search returns, and the checks that every index makes on what it is given."""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from adapt.errors import DataError, NotFoundError, UsageError
from adapt.ranges import ranges

FloatMatrix = npt.NDArray[np.float32]
Rows = npt.NDArray[np.integer[Any]]
Kind = Literal["exact", "hnsw", "milvus"]

# The inner product of two vectors below this stays finite in float32 up to a million dimensions.
LARGEST_VALUE = 1e15
# Below this many items exact search answers batches faster than HNSW does at a recall of 0.99.
THRESHOLD = 50_000
_COMPARED = 500


@dataclass(frozen=True, eq=False)
class SearchResult:
    """The best rows of each query, best first.

    Attributes:
        rows: int64 (queries, k) rows of the index, -1 where fewer than ``k`` items were allowed.
        scores: float32 (queries, k) inner products, ``-inf`` where the row is -1.
    """

    rows: npt.NDArray[np.int64]
    scores: npt.NDArray[np.float32]


@dataclass(frozen=True)
class IndexInfo:
    """What an index is and how well it searches.

    Attributes:
        kind: ``"exact"``, ``"hnsw"``, or the name of the engine that searches.
        count: number of items.
        dim: length of an embedding.
        space: always ``"ip"``, the inner product.
        ef: breadth of search of HNSW, or of the engine; None for exact search, as all below but ``threads``.
        m: HNSW's links an item.
        ef_construction: HNSW's breadth of search while building.
        recall_target: the share of true neighbours that ``ef`` was chosen to reach.
        recall_measured: the share found on queries that did not take part in choosing ``ef``.
        recall_queries: how many queries it was measured on.
        recall_k: length of the lists it was measured on.
        changes: items added, replaced or removed since it was measured.
        threads: most threads that building and searching may use; with one, the graph is the same on every run.
    """

    kind: Kind
    count: int
    dim: int
    space: Literal["ip"] = "ip"
    ef: int | None = None
    m: int | None = None
    ef_construction: int | None = None
    recall_target: float | None = None
    recall_measured: float | None = None
    recall_queries: int | None = None
    recall_k: int | None = None
    changes: int = 0
    threads: int = 1


class Index(Protocol):
    """Item embeddings that can be searched and changed. Every method may be called from several threads."""

    @property
    def kind(self) -> Kind:
        """How it searches."""
        ...

    @property
    def dim(self) -> int:
        """Length of an embedding."""
        ...

    @property
    def ids(self) -> tuple[str, ...]:
        """Row -> item id."""
        ...

    @property
    def embeddings(self) -> FloatMatrix:
        """float32 (items, dim), read-only, row by row as ``ids``."""
        ...

    def __len__(self) -> int: ...

    def __contains__(self, item_id: object) -> bool: ...

    def row(self, item_id: str) -> int:
        """The row of an item.

        Raises:
            DataError: the item is not in the index.
        """
        ...

    def info(self) -> IndexInfo:
        """What the index is and its measured recall."""
        ...

    def search(
        self,
        queries: npt.ArrayLike,
        k: int,
        *,
        exclude: Sequence[Rows] | None = None,
        allow: npt.NDArray[np.bool_] | None = None,
    ) -> SearchResult:
        """The ``k`` items with the largest inner product for each query, equal scores in the order of rows.

        Args:
            queries: float32 (queries, dim).
            k: at least 1; may exceed the number of items.
            exclude: for each query the rows it must not return (seen items).
            allow: bool (items,) False for rows that no query may return.

        Returns:
            Rows and scores (queries, k); fewer than ``k`` allowed items leave -1 and ``-inf`` at the end.

        Raises:
            UsageError: a shape, ``k`` or a row does not fit.
            DataError: a query is not finite.
        """
        ...

    def add(self, ids: Sequence[str], embeddings: npt.ArrayLike) -> None:
        """Append items; an id that is already there keeps its row and gets the new embedding. All or nothing.

        Args:
            ids: distinct, not empty.
            embeddings: float32 (len(ids), dim), finite.

        Raises:
            UsageError: shapes do not fit or an id is given twice.
            DataError: an embedding is not finite.
        """
        ...

    def close(self) -> None:
        """Let go of what the index holds outside this process; it is not searched any more."""
        ...

    def remove(self, ids: Sequence[str]) -> None:
        """Take items out; the last rows move into the rows that become free. All or nothing.

        Raises:
            DataError: an id is not in the index.
            UsageError: an id is given twice.
        """
        ...


def check_vectors(values: npt.ArrayLike, dim: int | None, what: str) -> FloatMatrix:
    """``values`` as a C-contiguous, writeable float32 matrix of finite numbers; copied only when it is not one.

    Args:
        values: (n, dim).
        dim: the width it must have; None = any of at least 1.
        what: the name in an error, for example ``"embeddings"``.

    Raises:
        UsageError: it is not a matrix of that width.
        DataError: a value is not finite or too large; says the first row.
    """
    try:
        matrix = np.asarray(values)
        if matrix.dtype.kind not in "fiu":
            raise ValueError(f"values of type {matrix.dtype}")
    except ValueError as error:
        raise UsageError(f"expected {what} as a matrix of numbers, found {error}") from error
    wanted = "dim" if dim is None else str(dim)
    if matrix.ndim != 2 or (dim is None and not matrix.shape[1]) or (dim is not None and matrix.shape[1] != dim):
        raise UsageError(f"expected {what} of shape (n, {wanted}), found {matrix.shape}")
    # Extremes propagate NaN, and a comparison with NaN is false: every kind of bad value ends up here.
    if matrix.size and not (matrix.max() < LARGEST_VALUE and matrix.min() > -LARGEST_VALUE):
        row = int(np.argmax(~((matrix < LARGEST_VALUE) & (matrix > -LARGEST_VALUE)).all(axis=1)))
        raise DataError(
            f"expected {what} of finite numbers below {LARGEST_VALUE:g}, found NaN, infinity or larger in row {row}",
            "Leave items without usable features out of the index.",
        )
    return np.require(matrix, np.float32, ["C", "W"])


def check_ids(ids: Sequence[str], count: int) -> tuple[str, ...]:
    """``ids`` as a tuple of ``count`` distinct, non-empty strings.

    Raises:
        UsageError: they are not; says the first that is wrong.
    """
    if isinstance(ids, str):
        raise UsageError(f"expected a sequence of ids, found one string: {ids!r}")
    checked = tuple(ids)
    if len(checked) != count:
        raise UsageError(f"expected one id for each of {count} embeddings, found {len(checked)} ids")
    seen: set[str] = set()
    for position, item_id in enumerate(checked):
        if not isinstance(item_id, str) or not item_id:
            raise UsageError(f"expected ids as non-empty strings, found {item_id!r} at position {position}")
        if item_id in seen:
            raise UsageError(f"expected distinct ids, found {item_id!r} again at position {position}")
        seen.add(item_id)
    return checked


@dataclass(frozen=True, eq=False)
class Excluded:
    """The rows that each query must not return, distinct and ascending.

    Attributes:
        offsets: int64 (queries + 1,): the rows of query ``q`` are ``rows[offsets[q]:offsets[q + 1]]``.
        rows: int64 (n,).
    """

    offsets: npt.NDArray[np.int64]
    rows: npt.NDArray[np.int64]

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """How many rows each query excludes."""
        return np.diff(self.offsets)

    def pairs(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Every (query, row), flat."""
        return np.repeat(np.arange(len(self.offsets) - 1), self.lengths), self.rows

    def block(self, start: int, stop: int) -> Excluded:
        """The same for the queries ``start:stop``."""
        offsets = self.offsets[start : stop + 1]
        return Excluded(offsets - offsets[0], self.rows[offsets[0] : offsets[-1]])

    def take(self, queries: npt.NDArray[np.int64]) -> Excluded:
        """The same for some of the queries, in the order given."""
        lengths = self.lengths[queries]
        return Excluded(np.concatenate([[0], np.cumsum(lengths)]), self.rows[ranges(self.offsets[queries], lengths)])

    def within(self, kept: npt.NDArray[np.int64], items: int) -> Excluded:
        """The same for a table that holds only the rows ``kept`` (ascending) of ``items`` rows."""
        position = np.full(items, -1, np.int64)
        position[kept] = np.arange(len(kept))
        query, row = self.pairs()
        place = position[row]
        there = place >= 0
        counts = np.bincount(query[there], minlength=len(self.offsets) - 1)
        return Excluded(np.concatenate([[0], np.cumsum(counts)]), place[there])


def check_search(
    queries: int, items: int, k: int, exclude: Sequence[Rows] | None, allow: npt.NDArray[np.bool_] | None
) -> Excluded | None:
    """The excluded rows of each query; None when nothing is excluded.

    Raises:
        UsageError: ``k``, ``exclude`` or ``allow`` does not fit the index.
    """
    if k < 1:
        raise UsageError(f"expected k of at least 1, found {k}")
    if allow is not None and (np.shape(allow) != (items,) or np.asarray(allow).dtype != np.bool_):
        raise UsageError(f"expected allow as {items} booleans, one a row, found shape {np.shape(allow)}")
    if exclude is None:
        return None
    if len(exclude) != queries:
        raise UsageError(f"expected excluded rows for each of {queries} queries, found {len(exclude)}")
    rows = [np.asarray(given) for given in exclude]
    flat = np.concatenate([np.zeros(0, np.int64), *(given.reshape(-1) for given in rows if given.size)])
    if flat.dtype.kind not in "iu":
        raise UsageError(f"expected excluded rows as whole numbers, found {flat.dtype}")
    if not flat.size:
        return None
    if flat.min() < 0 or flat.max() >= items:
        raise UsageError(f"expected excluded rows from 0 to {items - 1}, found {flat.min()} to {flat.max()}")
    keys = np.repeat(np.arange(queries) * items, [given.size for given in rows]) + flat.astype(np.int64)
    keys.sort()
    keys = keys[np.concatenate([[True], keys[1:] != keys[:-1]])]
    return Excluded(np.searchsorted(keys, np.arange(queries + 1) * items), keys % items)


def empty_result(queries: int, k: int) -> SearchResult:
    """A result that holds nothing yet.

    >>> empty_result(1, 2).rows
    array([[-1, -1]])
    """
    return SearchResult(np.full((queries, k), -1, np.int64), np.full((queries, k), -np.inf, np.float32))


def row_of(item_id: str, rows: Mapping[str, int], compared: int) -> int:
    """The row of an item by its id.

    Args:
        item_id: of the item.
        rows: id -> row.
        compared: how many ids an unknown one is compared with by spelling.

    Raises:
        NotFoundError: the item is not in the index; the hint names similar ids.

    >>> row_of("b", {"a": 0, "b": 1}, compared=10)
    1
    """
    row = rows.get(item_id)
    if row is None:
        raise no_such_item(item_id, itertools.islice(rows, compared))
    return row


def no_such_item(item_id: str, known: Iterable[str]) -> NotFoundError:
    """The error of an id that is not in the index; its hint names ids that are spelled alike.

    >>> no_such_item("B00CAR", ["A1", "B00CAT"]).hint
    "Did you mean 'B00CAT'?"
    """
    name = str(item_id)
    half = len(name) // 2
    # A slip of one character leaves one half as it is; comparing whole catalogs character by character takes seconds.
    alike = (other for other in known if other.startswith(name[:half]) or other.endswith(name[half:]))
    close = difflib.get_close_matches(name, itertools.islice(alike, _COMPARED), n=3)
    hint = f"Did you mean {', '.join(map(repr, close))}?" if close else ""
    return NotFoundError(f"expected the id of an item in the index, found {item_id!r}", hint)

"""hnswlib behind a guard for each of its defects; no other module imports it.

What hnswlib 0.8.0 does, and what stands here against it:

- ``knn_query`` raises for the whole batch when one query reaches fewer than ``k`` items (deletions, duplicates, a
  graph that fell apart): the batch is split, and :mod:`adapt.index.hnsw` answers the query that stays short exactly.
- A Python filter function is called for every visited node under the interpreter lock: it is never used. Seen
  items are dropped from a longer list, and a selective filter is searched exactly over the rows it allows.
- ``ef`` is not saved with the graph and 10 after loading: it is kept here and set before every search.
- NaN, infinity and ids that repeat are accepted and spoil the graph: the table refuses them first.
- Adding beyond the capacity raises: the capacity is doubled first.
- Adding from several threads gives another graph on every run: one thread is the default.
- Searching while adding crashes: the index serialises both with a lock.
- Updating a point in place wears the graph out, deleted points stay in it: an update is a deletion and an addition,
  and the index rebuilds the graph when more than half of it is deleted.
- A crafted graph file overflows the heap: only files of this machine's cache are opened (:mod:`adapt.index.graphs`),
  and only after every number in them was checked (:mod:`adapt.index.graph_file`).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hnswlib
import numpy as np
import numpy.typing as npt

from adapt.errors import UsageError
from adapt.index.base import FloatMatrix
from adapt.index.graph_file import SMALLEST_CAPACITY, sound_graph_file
from adapt.index.vectors import Vectors
from adapt.progress import SILENT, Progress
from adapt.seeds import DEFAULT_SEED
from adapt.shards import release

_CHUNK = 2_000


@dataclass(frozen=True)
class HnswSettings:
    """How a graph is built and searched.

    Attributes:
        m: links an item; more = better recall, more memory.
        ef_construction: breadth of search while building.
        ef: breadth of search for lists of up to ``CALIBRATION_K``; longer lists scale it.
        seed: of the levels of the graph.
        threads: most threads to use; with more than one the graph differs from run to run.
        exact_below: with fewer allowed items than this, exact search is faster and is used.
    """

    m: int = 16
    ef_construction: int = 200
    ef: int = 200
    seed: int = DEFAULT_SEED
    threads: int = 1
    exact_below: int = 10_000

    def __post_init__(self) -> None:
        if min(self.m - 1, self.ef_construction, self.ef, self.threads) < 1 or self.exact_below < 0:
            raise UsageError(f"expected m of at least 2, ef, ef_construction and threads of at least 1, found {self}")


DEFAULT_SETTINGS = HnswSettings()


class Graph:
    """hnswlib with consecutive labels that are never used twice. Not thread-safe.

    Args:
        dim: length of an embedding.
        settings: how it is built.
        capacity: items to make room for.
        columns: int64, ascending, the only dimensions in which items have something; the graph holds no others, which
            saves their memory and time. None = all.
    """

    def __init__(
        self, dim: int, settings: HnswSettings, capacity: int, columns: npt.NDArray[np.int64] | None = None
    ) -> None:
        self.labels = 0
        self.deleted = 0
        self._threads = settings.threads
        self._columns = columns
        self._native: Any = hnswlib.Index(space="ip", dim=dim if columns is None else len(columns))
        self._native.init_index(
            max_elements=max(capacity, SMALLEST_CAPACITY),
            M=settings.m,
            ef_construction=settings.ef_construction,
            random_seed=settings.seed,
        )

    def add(self, vectors: FloatMatrix, progress: Progress = SILENT) -> npt.NDArray[np.int64]:
        """Add checked vectors and return their labels."""
        wanted = self.labels + len(vectors)
        if wanted > self._native.get_max_elements():
            self._native.resize_index(max(wanted, 2 * self._native.get_max_elements()))
        labels = np.arange(self.labels, wanted)
        with progress.task("building the index", len(vectors), "items") as advance:
            # In pieces, so that an interrupt is heard; one thread adds in the same order either way.
            for start in range(0, len(vectors), _CHUNK):
                piece = labels[start : start + _CHUNK]
                values = self._narrow(vectors[start : start + _CHUNK])
                self._native.add_items(values, piece, num_threads=self._threads)
                release(vectors)
                self.labels += len(piece)
                advance(len(piece))
        return labels

    def covers(self, vectors: FloatMatrix) -> bool:
        """Whether vectors have nothing in the dimensions that the graph leaves out."""
        return self._columns is None or not np.delete(vectors, self._columns, axis=1).any()

    def reserve(self, capacity: int) -> None:
        """Make room for as many items at once, which is cheaper than again and again."""
        if capacity > self._native.get_max_elements():
            self._native.resize_index(capacity)

    def delete(self, label: int) -> None:
        """Mark a label as deleted."""
        self._native.mark_deleted(label)
        self.deleted += 1

    def search(self, queries: FloatMatrix, k: int, ef: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
        """Labels and inner products (queries, k); -1 and ``-inf`` for a query with fewer than ``k`` results."""
        self._native.set_ef(max(ef, k, 1))
        try:
            return self._query(queries, k)
        except RuntimeError:
            labels = np.full((len(queries), k), -1, np.int64)
            scores = np.full((len(queries), k), -np.inf, np.float32)
        if len(queries) == 1:
            return labels, scores
        middle = len(queries) // 2
        for part in (slice(0, middle), slice(middle, None)):
            labels[part], scores[part] = self.search(queries[part], k, ef)
        return labels, scores

    def write(self, path: Path) -> None:
        """Write hnswlib's file."""
        self._native.save_index(str(path))

    @classmethod
    def read(
        cls, path: Path, dim: int, settings: HnswSettings, columns: npt.NDArray[np.int64] | None = None
    ) -> Graph | None:
        """Read a file of our own; None where it is no sound graph of this width that was built in this way."""
        dim = dim if columns is None else len(columns)
        if not sound_graph_file(path, dim, settings.m, settings.ef_construction):
            return None
        graph = cls.__new__(cls)
        graph._threads, graph._columns = settings.threads, columns
        graph._native = hnswlib.Index(space="ip", dim=dim)
        try:
            graph._native.load_index(str(path))
        except RuntimeError:
            return None
        graph.labels = int(graph._native.get_current_count())
        graph.deleted = 0
        return graph

    def holds(self, labels: npt.NDArray[np.int64], vectors: Vectors) -> bool:
        """Whether every label is there, alive, with its vector; counts the others as deleted."""
        if len(labels) > self.labels or (len(labels) and (labels.min() < 0 or labels.max() >= self.labels)):
            return False
        self.deleted = self.labels - len(labels)
        for start in range(0, len(labels), _CHUNK):
            piece = np.arange(start, min(start + _CHUNK, len(labels)))
            try:
                stored = self._native.get_items(labels[piece])
            except RuntimeError:
                return False
            if not np.array_equal(stored, self._narrow(vectors.take(piece))):
                return False
        return True

    def _query(self, queries: FloatMatrix, k: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
        labels, distances = self._native.knn_query(self._narrow(queries), k=k, num_threads=self._threads)
        return labels.astype(np.int64), np.float32(1) - distances

    def _narrow(self, vectors: FloatMatrix) -> FloatMatrix:
        return vectors if self._columns is None else vectors[:, self._columns]


def narrow_columns(used: npt.NDArray[np.int64], dim: int) -> npt.NDArray[np.int64] | None:
    """The dimensions that a graph should hold where items have something in ``used`` alone; None = all of them.

    >>> narrow_columns(np.array([0, 2]), 3), narrow_columns(np.array([0, 1]), 2) is None
    (array([0, 2]), True)
    """
    return used if 0 < len(used) < dim else None

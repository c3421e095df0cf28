"""Graphs that were built before, on this machine, and a graph that grows with an index.

hnswlib's own file is never part of an index, because hnswlib trusts every number in such a file: graphs lie in this
machine's cache, under the hash of the embeddings and settings that they were built from, and are opened only when their
hash is the one written beside them there. Without one the graph is rebuilt.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import numpy.typing as npt

from adapt.errors import CheckpointError, OutputError
from adapt.files import atomic_folder, cache_dir
from adapt.index.base import FloatMatrix, SearchResult
from adapt.index.description import GraphEntry
from adapt.index.graph import Graph, HnswSettings, narrow_columns
from adapt.index.quantise import Encoded
from adapt.index.sealed import SealedFolder, seal, write_tensors
from adapt.index.vectors import Vectors
from adapt.progress import SILENT, Progress

GRAPH, LABELS = "graph.hnsw", "labels.safetensors"
_CHUNK = 8_192
_TILE = 1 << 14
_KEPT_EVERY = 200_000
"""Rows after which a graph that is being built is written down: some minutes of work, some seconds of writing."""
_PIECE = 16
"""Rows that enter a graph at once while others may be searching it: they wait for a few milliseconds at most."""


def graph_cache() -> Path:
    """Where this machine keeps hnswlib's own files."""
    return cache_dir() / "graphs"


def graph_key(parts: Iterable[Encoded], rows: int, settings: HnswSettings) -> str:
    """The name of the graph over the first ``rows`` rows: the same however they are dealt over files."""
    values, scales = hashlib.sha256(), hashlib.sha256()
    left, storage = rows, ""
    for part in parts:
        taken = min(left, len(part))
        values.update(np.ascontiguousarray(part.values[:taken]).data)
        if part.scales is not None:
            scales.update(np.ascontiguousarray(part.scales[:taken]).data)
        storage = part.storage
        left -= taken
    recipe = [
        values.hexdigest(),
        scales.hexdigest(),
        storage,
        rows,
        settings.m,
        settings.ef_construction,
        settings.seed,
    ]
    return hashlib.sha256(json.dumps(recipe).encode()).hexdigest()[:32]


def keep_graph(key: str, write: Callable[[Path], npt.NDArray[np.int64]], progress: Progress) -> None:
    """Put a graph into the cache. A cache that cannot be written costs a rebuild on loading, nothing more.

    Args:
        key: from :func:`graph_key`.
        write: writes hnswlib's file and returns the label of each row.
        progress: told where it could not be kept.
    """
    try:
        with atomic_folder(graph_cache() / key, replace=True) as temporary:
            write_tensors(temporary / LABELS, {"labels": write(temporary / GRAPH)})
            seal(temporary)
    except (OutputError, RuntimeError) as error:
        progress.note(f"The graph is not kept in the cache and will be rebuilt on loading: {error}")


def kept_graph(key: str) -> tuple[Path, npt.NDArray[np.int64]] | None:
    """hnswlib's file and the label of each row, both as they were written here; None where there is none."""
    path = graph_cache() / key
    if not path.is_dir():
        return None
    try:
        folder = SealedFolder(path)
        return folder.file(GRAPH), folder.tensors(LABELS)["labels"].astype(np.int64)
    except (CheckpointError, KeyError):
        shutil.rmtree(path, ignore_errors=True)
        return None


class GrowingGraph:
    """A graph whose labels are the rows of an index, to which rows are only ever added. Thread-safe: hnswlib cannot be
    searched while it grows, so it grows in pieces between searches.

    Args:
        dim: length of an embedding.
        settings: how it is built.
    """

    def __init__(self, dim: int, settings: HnswSettings) -> None:
        self._dim = dim
        self._take(Graph(dim, settings, 0), settings)

    def grow(self, vectors: Vectors, rows: int, progress: Progress = SILENT, kept_as: str = "") -> None:
        """Add the rows that are missing up to ``rows``.

        Args:
            vectors: all rows.
            rows: how many of them.
            progress: told each.
            kept_as: what a build that takes long is kept as from time to time, so that :meth:`begun` goes on with it
                after a kill; "" = nothing.
        """
        with self._growing:
            first = self._graph.labels
            if rows <= first:
                return
            if not first:
                self._anew(vectors, rows)
            size = _CHUNK if not first or kept_as else _PIECE
            kept = first
            with progress.task("building the index", rows - first, "items") as advance:
                while (start := self._graph.labels) < rows:
                    if kept_as and start - kept >= _KEPT_EVERY:
                        self._write(_begun(kept_as), progress)
                        kept = start
                    chunk = np.arange(start, min(start + size, rows))
                    values = vectors.take(chunk)
                    if not self._graph.covers(values):
                        self._anew(vectors, rows)  # rows that are there may be searched again when all are added
                        continue
                    with self._alone():
                        self._graph.add(values)
                    advance(len(chunk))
        if kept_as:
            shutil.rmtree(graph_cache() / _begun(kept_as), ignore_errors=True)

    @classmethod
    def begun(cls, kept_as: str, vectors: Vectors, settings: HnswSettings) -> GrowingGraph:
        """A graph over the first rows that a killed build has kept, or one without rows.

        hnswlib does not keep the state that levels are drawn from: a graph that went on is another one than one that
        was built at once, of the same quality.
        """
        graph = cls.kept(_begun(kept_as), vectors, None, settings, len(vectors)) if kept_as else None
        return graph or cls(vectors.dim, settings)

    def search(self, queries: FloatMatrix, k: int, ef: int, rows: int) -> SearchResult:
        """Rows below ``rows`` and scores (queries, k); -1 where the graph has no more."""
        with self._alone():
            labels, scores = self._graph.search(queries, k, min(ef, self._graph.labels))
        inside = (labels >= 0) & (labels < rows)
        return SearchResult(np.where(inside, labels, -1), np.where(inside, scores, np.float32(-np.inf)))

    def keep(self, key: str, progress: Progress) -> None:
        """Put it into the cache."""

        with self._growing:  # searches may go on: writing changes nothing
            self._write(key, progress)

    @classmethod
    def kept(
        cls, key: str, vectors: Vectors, rows: int | None, settings: HnswSettings, of: int = 0
    ) -> GrowingGraph | None:
        """The graph of the first ``rows`` rows (None: of as many as there are) from the cache, or None.

        ``of`` is how many rows it was to have, where it was kept before it had them all.
        """
        found = kept_graph(key)
        if found is None:
            return None
        path, labels = found
        rows = len(labels) if rows is None else rows
        graph = Graph.read(path, vectors.dim, settings, _columns(vectors, of or rows))
        if graph is None or graph.labels != rows or not np.array_equal(labels, np.arange(rows)):
            return None
        if not graph.holds(labels, vectors):
            return None
        growing = cls.__new__(cls)
        growing._dim = vectors.dim
        growing._take(graph, settings)
        return growing

    def _anew(self, vectors: Vectors, rows: int) -> None:
        """Begin again, in the dimensions that these rows use."""
        graph = Graph(self._dim, self.settings, rows, _columns(vectors, rows))
        with self._alone():
            self._graph = graph

    def _write(self, key: str, progress: Progress) -> None:
        def write(path: Path) -> npt.NDArray[np.int64]:
            self._graph.write(path)
            return np.arange(self._graph.labels)

        keep_graph(key, write, progress)

    def _take(self, graph: Graph, settings: HnswSettings) -> None:
        self.settings = settings
        self._graph = graph
        self._growing = threading.Lock()
        self._turn, self._lock = threading.Lock(), threading.Lock()

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Alone with the graph; whoever waits has the next turn, so that growing does not keep searches out."""
        with self._turn:
            self._lock.acquire()
        try:
            yield
        finally:
            self._lock.release()


def _begun(key: str) -> str:
    return f"{key}-begun"


def _columns(vectors: Vectors, rows: int) -> npt.NDArray[np.int64] | None:
    """The dimensions that the first rows use; None = all."""
    used = np.zeros(vectors.dim, bool)
    for tile in vectors.tiles(_TILE):
        if tile.start < rows:
            used |= tile.values[: min(tile.rows, rows - tile.start)].any(axis=0)
    return narrow_columns(np.flatnonzero(used), vectors.dim)


def opened_graph(
    entry: GraphEntry,
    vectors: Vectors,
    parts: Sequence[Encoded],
    before: GrowingGraph | None,
    progress: Progress = SILENT,
) -> GrowingGraph:
    """The graph of an index on disk: one that is open already and grows, the cached one, or one that is built now.

    Args:
        entry: its settings, and how many rows are in it.
        vectors: of all rows.
        parts: the same as they are stored.
        before: a graph over the first of these rows with the same settings.
        progress: told where it is built, and its items.
    """
    values = asdict(entry)
    rows = values.pop("rows")
    if before is not None:
        before.grow(vectors, rows, progress)
        return before
    settings = HnswSettings(**values)
    key = graph_key(parts, rows, settings)
    graph = GrowingGraph.kept(key, vectors, rows, settings)
    if graph is None:
        if rows:
            progress.note("No graph of this index in the cache: building it from the embeddings.")
        graph = GrowingGraph(vectors.dim, settings)
        graph.grow(vectors, rows, progress)
        graph.keep(key, progress)
    return graph

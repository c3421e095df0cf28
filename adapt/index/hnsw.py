"""Approximate search over a graph, with exact answers wherever the graph could fall short of the promise."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from adapt.errors import UsageError
from adapt.index.approximate import GraphSearch
from adapt.index.base import (
    FloatMatrix,
    IndexInfo,
    Kind,
    Rows,
    SearchResult,
    check_search,
    check_vectors,
)
from adapt.index.exact import search_vectors
from adapt.index.graph import DEFAULT_SETTINGS, Graph, HnswSettings, narrow_columns
from adapt.index.recall import CALIBRATION_K, CALIBRATION_QUERIES, Calibration, choose_ef, sample_queries
from adapt.index.tabled import TabledIndex
from adapt.progress import SILENT, Progress


class HnswIndex(TabledIndex):
    """Approximate search over a navigable graph; the embeddings are kept beside it for exact answers and for saving.

    Args:
        ids: distinct, not empty.
        embeddings: float32 (len(ids), dim), finite; copied.
        settings: how the graph is built and searched.
        progress: told the number of items added.

    Raises:
        UsageError: shapes do not fit or an id is given twice.
        DataError: an embedding is not finite.
    """

    _label_of_row: npt.NDArray[np.int64]
    _row_of_label: npt.NDArray[np.int64]

    def __init__(
        self,
        ids: Sequence[str],
        embeddings: npt.ArrayLike,
        settings: HnswSettings = DEFAULT_SETTINGS,
        progress: Progress = SILENT,
    ) -> None:
        super().__init__(ids, embeddings)
        self._settings = settings
        self._calibration: Calibration | None = None
        self._changes = 0
        self._build(progress)

    @property
    def kind(self) -> Kind:
        """Always ``"hnsw"``."""
        return "hnsw"

    @property
    def settings(self) -> HnswSettings:
        """How the graph is built and searched, the calibrated ``ef`` included."""
        return self._settings

    def info(self) -> IndexInfo:
        """Settings and measured recall."""
        measured = self._calibration
        return IndexInfo(
            kind="hnsw",
            count=len(self),
            dim=self.dim,
            ef=self._settings.ef,
            m=self._settings.m,
            ef_construction=self._settings.ef_construction,
            recall_target=measured.target if measured else None,
            recall_measured=measured.recall if measured else None,
            recall_queries=measured.queries if measured else None,
            recall_k=measured.k if measured else None,
            changes=self._changes if measured else 0,
            threads=self._settings.threads,
        )

    def calibrate(
        self, target: float, queries: npt.ArrayLike | None = None, progress: Progress = SILENT
    ) -> Calibration:
        """Choose ``ef`` for a target recall, keep it, and remember the recall that was measured.

        Args:
            target: share of true neighbours to find, between 0 and 1.
            queries: float32 (n, dim) like those that will be asked, at most 1,000 of which are used; None = drawn
                from the items.
            progress: told each trial.

        Raises:
            UsageError: the index is empty, or ``target`` or the shape of ``queries`` is wrong.
        """
        with self._lock:
            if not len(self):
                raise UsageError("expected items to calibrate on, found an empty index")
            if queries is None:
                asked = sample_queries(self.embeddings, CALIBRATION_QUERIES, self._settings.seed)
            else:
                asked = check_vectors(queries, self.dim, "queries")[:CALIBRATION_QUERIES]
            k = min(CALIBRATION_K, len(self))
            found = choose_ef(
                lambda batch, ef: self._from_graph(batch, k, ef),
                lambda batch: search_vectors(self._table.vectors, batch, k),
                asked,
                target=target,
                k=k,
                progress=progress,
            )
            self.adopt(found, changes=0)
            return found

    def adopt(self, calibration: Calibration, changes: int) -> None:
        """Use a calibration that was made on this index before, ``changes`` items ago."""
        self._settings = dataclasses.replace(self._settings, ef=calibration.ef)
        self._calibration = calibration
        self._changes = changes

    def search(
        self,
        queries: npt.ArrayLike,
        k: int,
        *,
        exclude: Sequence[Rows] | None = None,
        allow: npt.NDArray[np.bool_] | None = None,
    ) -> SearchResult:
        """See :meth:`adapt.index.base.Index.search`; approximate, but never short of an item that is allowed."""
        with self._lock:
            matrix = check_vectors(queries, self.dim, "queries")
            count = len(self)
            seen = check_search(len(matrix), count, k, exclude, allow)
            search = GraphSearch(
                lambda batch, length: self._from_graph(batch, length, self._ef(length)),
                lambda batch, length, hidden: search_vectors(
                    self._table.vectors, batch, length, exclude=hidden, allow=allow
                ),
                self._settings.exact_below,
            )
            return search(matrix, k, count, seen, allow)

    def add(self, ids: Sequence[str], embeddings: npt.ArrayLike) -> None:
        """See :meth:`adapt.index.base.Index.add`; the graph grows, nothing is rebuilt."""
        with self._lock:
            before = len(self)
            rows = self._table.put(ids, embeddings)
            for row in rows[rows < before]:
                self._drop(int(self._label_of_row[row]))
            if not self._graph.covers(self._table.embeddings[rows]):
                self._changes += len(rows)
                self._build()
                return
            labels = self._graph.add(self._table.embeddings[rows])
            self._row_of_label = np.concatenate([self._row_of_label, rows])
            self._label_of_row = np.concatenate([self._label_of_row, np.full(len(self) - before, -1, np.int64)])
            self._label_of_row[rows] = labels
            self._changes += len(rows)
            self._tidy()

    def remove(self, ids: Sequence[str]) -> None:
        """See :meth:`adapt.index.base.Index.remove`; rebuilds the graph once more than half of it is deleted."""
        with self._lock:
            for step in self._table.remove(ids):
                self._drop(int(self._label_of_row[step.row]))
                if step.moved >= 0:
                    label = self._label_of_row[step.moved]
                    self._label_of_row[step.row] = label
                    self._row_of_label[label] = step.row
                self._changes += 1
            self._label_of_row = self._label_of_row[: len(self)]
            self._tidy()

    def write_graph(self, path: Path) -> npt.NDArray[np.int64]:
        """Write hnswlib's own file, for this machine only; returns the label of each row (items,)."""
        with self._lock:
            self._graph.write(path)
            return self._label_of_row.copy()

    @classmethod
    def from_graph(
        cls,
        ids: Sequence[str],
        embeddings: npt.ArrayLike,
        settings: HnswSettings,
        path: Path,
        labels: npt.NDArray[np.int64],
    ) -> HnswIndex | None:
        """The index whose graph :meth:`write_graph` wrote, or None where the graph is not that of these embeddings.

        Only for a file whose bytes are known to be our own: hnswlib trusts every number in it.
        """
        index = cls.__new__(cls)
        TabledIndex.__init__(index, ids, embeddings)
        index._settings = settings
        index._calibration = None
        index._changes = 0
        graph = Graph.read(path, index.dim, settings, narrow_columns(index._table.used, index.dim))
        if graph is None or len(labels) != len(index) or not graph.holds(labels, index._table.vectors):
            return None
        index._graph = graph
        index._label_of_row = labels.astype(np.int64)
        index._row_of_label = np.full(graph.labels, -1, np.int64)
        index._row_of_label[labels] = np.arange(len(labels))
        return index

    def _ef(self, length: int) -> int:
        return math.ceil(self._settings.ef * max(1.0, length / CALIBRATION_K))

    def _from_graph(self, queries: FloatMatrix, k: int, ef: int) -> SearchResult:
        """Rows and scores as the graph gives them; a query that it cannot answer in full has rows of -1."""
        labels, scores = self._graph.search(queries, k, min(ef, self._graph.labels))
        rows = np.where(labels >= 0, self._row_of_label[labels], -1)
        return SearchResult(rows, scores)

    def _drop(self, label: int) -> None:
        self._graph.delete(label)
        self._row_of_label[label] = -1

    def _tidy(self) -> None:
        if self._graph.deleted > len(self):
            self._build()

    def _build(self, progress: Progress = SILENT) -> None:
        """The graph of all rows, anew."""
        self._graph = Graph(self.dim, self._settings, len(self), narrow_columns(self._table.used, self.dim))
        self._label_of_row = self._graph.add(self.embeddings, progress)
        self._row_of_label = np.arange(len(self))

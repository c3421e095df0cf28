"""An index in memory whose search is in an engine elsewhere, in a collection of its own that goes with it."""

from __future__ import annotations

import contextlib
import os
import socket
import uuid
import weakref
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from adapt.errors import EngineError
from adapt.files import sha256_bytes
from adapt.index.base import IndexInfo, Kind, Rows, SearchResult, check_search, check_vectors
from adapt.index.calibrate import Measured, SearchChoice, calibrate
from adapt.index.engine import Identity, RemoteEntry, RemoteSettings, Server, connect
from adapt.index.engine import Rows as StoredRows
from adapt.index.exact import search_vectors
from adapt.index.generations import FORMAT_VERSION
from adapt.index.remote import RemoteRows
from adapt.index.tabled import TabledIndex
from adapt.progress import SILENT, Progress

TEMPORARY = "adapt_temporary"
_BLOCK = 8_192


class RemoteIndex(TabledIndex):
    """Item embeddings kept here and searched by an engine; made by :func:`adapt.index.build_index`.

    The collection is removed by :meth:`close` and when the program ends; one of a program that was killed is removed by
    the next index that this machine makes under the same collection name.

    Args:
        ids: distinct, not empty.
        embeddings: float32 (len(ids), dim), finite; copied.
        settings: of the engine; the collection's name begins those of temporary ones.
        fingerprint: of the model whose embeddings these are, where it is known.
        progress: told the number of items carried.

    Raises:
        UsageError: shapes do not fit or an id is given twice.
        DataError: an embedding is not finite.
        EngineError: the engine is away or refuses.
    """

    def __init__(
        self,
        ids: Sequence[str],
        embeddings: npt.ArrayLike,
        settings: RemoteSettings,
        fingerprint: str = "",
        progress: Progress = SILENT,
    ) -> None:
        super().__init__(ids, embeddings)
        self._measured = Measured(settings.engine, None, None)
        settings = replace(settings, collection=settings.collection or TEMPORARY)
        self._server = connect(settings)
        owner = _owner(os.getpid())
        _remove_orphans(self._server, settings)
        lineage = uuid.uuid4().hex
        name = f"{settings.collection}_{owner}_{lineage[:12]}"
        self._entry = RemoteEntry(settings=settings, name=name, owner=owner).searching(settings.first_breadth)
        self._identity = Identity(fingerprint, self._table.dim, owner, lineage, FORMAT_VERSION)
        self._collection = self._server.create(name, self._identity, ())
        self._drop = weakref.finalize(self, _drop, self._server, name)
        self._changed: set[int] = set()
        self._stored = len(self._table)
        with progress.task(f"carrying items to {settings.engine}", len(self._table), "items") as advance:
            for start in range(0, len(self._table), _BLOCK):
                stop = min(start + _BLOCK, len(self._table))
                self._collection.put(StoredRows(start, self._table.ids[start:stop], self.embeddings[start:stop]))
                advance(stop - start)
        self._collection.settle()

    @property
    def kind(self) -> Kind:
        """The engine's name."""
        return self._entry.settings.engine

    @property
    def settings(self) -> RemoteSettings:
        """Where the engine is."""
        return self._entry.settings

    @property
    def saved(self) -> RemoteEntry:
        """The same engine without this collection, which lives no longer than this object."""
        return replace(self._entry, name="", owner="")

    def info(self) -> IndexInfo:
        """Settings and measured recall."""
        recall = self._measured.recall
        return IndexInfo(
            kind=self.kind,
            count=len(self),
            dim=self.dim,
            ef=self._entry.breadth or None,
            m=self.settings.m,
            ef_construction=self.settings.ef_construction,
            recall_target=recall.target if recall else None,
            recall_measured=recall.recall if recall else None,
            recall_queries=recall.queries if recall else None,
            recall_k=recall.k if recall else None,
            changes=recall.changes if recall else 0,
        )

    def calibrate(
        self, choice: SearchChoice, queries: npt.ArrayLike | None = None, progress: Progress = SILENT
    ) -> Measured:
        """Choose the breadth of search for a target recall, keep it, and remember the recall that was measured.

        Args:
            choice: what is asked of the search.
            queries: float32 (n, dim) like those that will be asked; None = drawn from the items.
            progress: told each trial.
        """
        with self._lock:
            self._bring()
            asked = check_vectors(queries, self.dim, "queries") if queries is not None else None
            alive = np.ones(len(self), bool)
            engine = self._rows().search_by
            self.adopt(calibrate(self._table.vectors, alive, asked, choice, engine=engine, progress=progress))
            return self._measured

    def adopt(self, measured: Measured) -> None:
        """Use a calibration that was made on this index before."""
        self._measured = measured
        self._entry = self._entry.searching(measured.breadth)

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
            self._bring()
            return self._rows().search(
                matrix,
                k,
                lambda batch, length, hidden: search_vectors(
                    self._table.vectors, batch, length, exclude=hidden, allow=allow
                ),
                seen=seen,
                allow=allow,
            )

    def add(self, ids: Sequence[str], embeddings: npt.ArrayLike) -> None:
        """See :meth:`adapt.index.base.Index.add`."""
        with self._lock:
            self._count(self._table.put(ids, embeddings).tolist(), len(ids))

    def remove(self, ids: Sequence[str]) -> None:
        """See :meth:`adapt.index.base.Index.remove`."""
        with self._lock:
            self._count([step.row for step in self._table.remove(ids) if step.moved >= 0], len(ids))

    def close(self) -> None:
        """Remove the collection; nothing can be searched after that."""
        self._drop()

    def _rows(self) -> RemoteRows:
        return RemoteRows(self._server, self._entry, self._identity, len(self), collection=self._collection)

    def _count(self, rows: Sequence[int], changes: int) -> None:
        """Bring rows that have changed, and count the items that did since recall was measured."""
        if (recall := self._measured.recall) is not None:
            self._measured = replace(self._measured, recall=replace(recall, changes=recall.changes + changes))
        self._changed.update(rows)
        self._bring()

    def _bring(self) -> None:
        """Bring changed rows to the engine; what fails is brought by the next call."""
        count = len(self)
        if self._stored > count:
            self._collection.delete_from(count)
            self._stored = count
        rows = np.array(sorted(row for row in self._changed if row < count), np.int64)
        for run in np.split(rows, np.flatnonzero(np.diff(rows) != 1) + 1) if len(rows) else ():
            first, last = int(run[0]), int(run[-1]) + 1
            self._collection.put(StoredRows(first, self._table.ids[first:last], self.embeddings[first:last]))
            self._stored = max(self._stored, last)
        self._changed.clear()


def _owner(process: int) -> str:
    """A process on this machine, as a part of a collection's name."""
    return f"{_machine()}_{process}"


def _machine() -> str:
    return sha256_bytes(socket.gethostname().encode())[:8]


def _remove_orphans(server: Server, settings: RemoteSettings) -> None:
    """Remove the collections of programs on this machine that have ended without doing so."""
    start = f"{settings.collection}_{_machine()}_"
    for name in server.names():
        process = name.removeprefix(start).partition("_")[0]
        if name.startswith(start) and process.isdecimal() and not _runs(int(process)):
            server.drop(name)


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _drop(server: Server, name: str) -> None:
    with contextlib.suppress(EngineError):
        server.drop(name)

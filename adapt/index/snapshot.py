"""One generation of an index, searched where it lies; it never changes, so any number of threads may ask it."""

from __future__ import annotations

import bisect
import itertools
import math
from collections.abc import Iterator, Sequence
from functools import cached_property

import numpy as np
import numpy.typing as npt

from adapt.errors import CheckpointError
from adapt.index.approximate import GraphSearch, merge
from adapt.index.base import (
    Excluded,
    FloatMatrix,
    IndexInfo,
    Rows,
    SearchResult,
    check_search,
    check_vectors,
    no_such_item,
)
from adapt.index.description import Description, info_of, read_description
from adapt.index.engine import connect
from adapt.index.exact import score_vectors, search_vectors
from adapt.index.filters import Condition, Selection, check_columns
from adapt.index.generations import Generations, Held
from adapt.index.graphs import GrowingGraph, graph_key, opened_graph
from adapt.index.recall import CALIBRATION_K
from adapt.index.remote import RemoteRows, identity_of
from adapt.index.sealed import REBUILD, SealedFolder
from adapt.index.segments import DENSE_BYTES, RawFeatures, Segment, open_segment, searched
from adapt.index.storage import alive_rows
from adapt.index.vectors import StoredVectors
from adapt.progress import SILENT, Progress

_COMPARED = 20_000  # ids that an unknown one is compared with by spelling


class Snapshot:
    """What an index is at one moment; rows are those of its parts, deleted ones included.

    Embeddings stay on disk and are memory-mapped; a graph, where there is one, holds its own copy in float32, and so
    does memory of what is stored in fewer bytes, as far as it is allowed to. Rows that came after the graph was built
    are searched exactly beside it.

    Args:
        folder: the index.
        held: the generation.
        known: an earlier snapshot, whose open parts and graph are used again.
        progress: told where a graph is built.
        dense_bytes: how much memory float32 copies of float16 and int8 embeddings may take; what they leave out is
            converted anew, block by block, by every search.

    Raises:
        CheckpointError: a part is damaged, or does not fit the others.

    Attributes:
        description: what ``index.json`` holds.
        segments: in the order of their rows.
        vectors: the stored embeddings of every row.
        remote: the same rows in the engine that searches, where that is not this machine.
        alive: bool (rows,), False for deleted rows.
    """

    def __init__(
        self,
        folder: Generations,
        held: Held,
        known: Snapshot | None = None,
        progress: Progress = SILENT,
        dense_bytes: int = DENSE_BYTES,
    ) -> None:
        self._folder = folder
        self._held = held
        self.description: Description = read_description(held.folder)
        opened = {segment.entry: segment for segment in known.segments} if known is not None else {}
        dim, storage = self.description.dim, self.description.storage
        self.segments: tuple[Segment, ...] = tuple(
            opened.get(entry) or open_segment(folder, entry, dim, storage)
            for entry in self.description.parts
            if entry.role == "items"
        )
        parts = searched(self.segments, dim, dense_bytes)
        self.vectors: StoredVectors = StoredVectors(parts, dim, known.vectors if known is not None else None)
        self._starts = [0, *itertools.accumulate(len(segment) for segment in self.segments)]
        self.alive = np.zeros(len(self.vectors), bool)
        self.alive[alive_rows(held.folder, self.description)] = True
        self._check_ids(known)
        self._graph = self._open_graph(known, progress)
        self.remote: RemoteRows | None = self._open_remote(known)

    @classmethod
    def open(
        cls,
        folder: Generations,
        known: Snapshot | None = None,
        progress: Progress = SILENT,
        dense_bytes: int = DENSE_BYTES,
    ) -> Snapshot:
        """The generation that counts now.

        Raises:
            CheckpointError: there is no index, or it is damaged.
        """
        return cls(folder, folder.hold(), known, progress, dense_bytes)

    @property
    def generation(self) -> str:
        """Its name, which counts up."""
        return self._held.pointer.generation

    @cached_property
    def model_part(self) -> SealedFolder | None:
        """What the index keeps of its model; None where nothing is kept."""
        entry = next((part for part in self.description.parts if part.role == "model"), None)
        return None if entry is None else self._folder.part(entry.part)

    def __len__(self) -> int:
        return self.description.count

    def __contains__(self, item_id: object) -> bool:
        return isinstance(item_id, str) and self._find(item_id) is not None

    @cached_property
    def ids(self) -> tuple[str, ...]:
        """The ids of items that can be found, in the order of rows."""
        return tuple(self._alive_ids())

    @cached_property
    def rows(self) -> npt.NDArray[np.int64]:
        """The rows of :attr:`ids`."""
        return np.flatnonzero(self.alive)

    def id(self, row: int) -> str:
        """The id in a row."""
        number, inside = self._locate(row)
        return self.segments[number].ids[inside]

    def title(self, row: int) -> str:
        """What a person reads of the item in a row."""
        number, inside = self._locate(row)
        return self.segments[number].titles[inside]

    def row(self, item_id: str) -> int:
        """The row of an item.

        Raises:
            NotFoundError: the item is not in the index; the hint names similar ids.
        """
        row = self._find(item_id)
        if row is None:
            raise no_such_item(item_id, itertools.islice(self._alive_ids(), _COMPARED))
        return row

    @cached_property
    def column_names(self) -> tuple[str, ...]:
        """Columns that items can be filtered by."""
        return tuple(dict.fromkeys(name for segment in self.segments for name in segment.column_names))

    def satisfying(self, conditions: Sequence[Condition]) -> npt.NDArray[np.bool_]:
        """Which rows satisfy every condition: bool (rows,).

        Raises:
            UsageError: there is no such column.
        """
        check_columns(conditions, self.column_names)
        allowed = np.ones(len(self.vectors), bool)
        for condition in conditions:
            for start, segment in zip(self._starts[:-1], self.segments, strict=True):
                allowed[start : start + len(segment)] &= segment.satisfying(condition)
        return allowed

    def columns_of(self, row: int) -> dict[str, str]:
        """Every column of the item in a row, as text; empty where it has no such column."""
        number, inside = self._locate(row)
        known = self.segments[number].columns_of(inside)
        return {name: known.get(name, "") for name in self.column_names}

    def features(self, rows: npt.NDArray[np.int64]) -> dict[str, RawFeatures]:
        """Modality -> raw features of some rows, as far as the index keeps them."""
        widths = {name: raw.values.shape[1] for part in self.segments for name, raw in part.features.items()}
        out = {
            name: RawFeatures(np.zeros((len(rows), width), np.float32), np.zeros(len(rows), bool))
            for name, width in widths.items()
        }
        owner = np.searchsorted(self._starts, rows, side="right") - 1
        for number in np.unique(owner):
            mine = owner == number
            inside = rows[mine] - self._starts[number]
            for name, raw in self.segments[number].features.items():
                out[name].values[mine], out[name].present[mine] = raw.values[inside], raw.present[inside]
        return out

    def info(self) -> IndexInfo:
        """Kind, size and the recall that was measured."""
        return info_of(self.description)

    def search(
        self,
        queries: npt.ArrayLike,
        k: int,
        *,
        exclude: Sequence[Rows] | None = None,
        allow: npt.NDArray[np.bool_] | None = None,
    ) -> SearchResult:
        """As :meth:`adapt.index.base.Index.search`; with ``allow`` the answer is exact, however many rows it allows."""
        matrix = check_vectors(queries, self.description.dim, "queries")
        seen = check_search(len(matrix), len(self.vectors), k, exclude, allow)
        if self.remote is not None:
            return self.remote.search(
                matrix,
                k,
                lambda batch, length, hidden: self._among(batch, length, hidden, allow),
                seen=seen,
                allow=allow,
            )
        if allow is not None or self._graph is None or self.description.graph is None:
            return self._among(matrix, k, seen, allow)
        count, covered = len(self.vectors), self.description.graph.rows
        inside, outside = self._covered_masks
        graph = GraphSearch(
            self.by_graph,
            lambda batch, length, hidden: search_vectors(self.vectors, batch, length, exclude=hidden, allow=inside),
            self.description.graph.exact_below,
        )
        found = graph(matrix, k, count, seen, inside)
        if covered == count:
            return found
        return merge(found, search_vectors(self.vectors, matrix, k, exclude=seen, allow=outside))

    def check_engine(self) -> None:
        """Raises EngineError where the engine that searches is away or holds something else than this index."""
        if self.remote is not None:
            _ = self.remote.collection

    def find(
        self, queries: npt.ArrayLike, k: int, selection: Selection, *, exclude: Sequence[Rows] | None = None
    ) -> SearchResult:
        """As :meth:`search` among a selection of rows; an engine elsewhere is asked for its conditions.

        Raises:
            UsageError: there is no column of a condition; and as :meth:`search`.
        """
        remote = self.remote
        if remote is None:
            return self.search(queries, k, exclude=exclude, allow=self.allowed(selection))
        check_columns(selection.where, self.column_names)
        matrix = check_vectors(queries, self.description.dim, "queries")
        seen = check_search(len(matrix), len(self.vectors), k, selection.hidden(len(matrix), exclude), None)
        asked = tuple(condition for condition in selection.where if remote.filterable(condition))
        rest = tuple(condition for condition in selection.where if condition not in asked)
        return remote.search(
            matrix,
            k,
            lambda batch, length, hidden: self._among(batch, length, hidden, self.allowed(selection)),
            seen=seen,
            where=asked,
            allow=self.allowed(Selection(rest, selection.allow)),
        )

    def allowed(self, selection: Selection) -> npt.NDArray[np.bool_] | None:
        """bool (rows,) of a selection, deleted rows not looked at; None = all.

        Raises:
            UsageError: there is no column of a condition.
        """
        if not selection.where and selection.allow is None and not len(selection.deny):
            return None
        allowed = self.satisfying(selection.where)
        if selection.allow is not None:
            listed = np.zeros(len(allowed), bool)
            listed[selection.allow] = True
            allowed &= listed
        allowed[selection.deny] = False
        return allowed

    def _among(
        self, queries: FloatMatrix, k: int, seen: Excluded | None, allow: npt.NDArray[np.bool_] | None
    ) -> SearchResult:
        """The truth among the stored embeddings of rows that are allowed."""
        alive = self._alive_mask
        allowed = allow if alive is None else alive if allow is None else alive & allow
        return search_vectors(self.vectors, queries, k, exclude=seen, allow=allowed)

    def scores(self, queries: npt.ArrayLike) -> FloatMatrix:
        """The inner product, for unit queries the cosine, of each query with every row, deleted rows too.

        Args:
            queries: float32 (queries, dim).

        Returns:
            float32 (queries, rows).

        Raises:
            UsageError: the shape does not fit.
            DataError: a query is not finite.
        """
        return score_vectors(self.vectors, check_vectors(queries, self.description.dim, "queries"))

    def by_graph(self, queries: FloatMatrix, length: int, ef: int | None = None) -> SearchResult:
        """What the graph alone gives: rows and scores, deleted rows too; for calibration.

        Raises:
            CheckpointError: there is no graph.
        """
        entry = self.description.graph
        if self._graph is None or entry is None:
            raise CheckpointError(f"expected an index with a graph, found none in {self._folder.path}", REBUILD)
        breadth = ef or math.ceil(entry.ef * max(1.0, length / CALIBRATION_K))
        return self._graph.search(queries, length, breadth, entry.rows)

    def exactly(self, queries: FloatMatrix, k: int) -> SearchResult:
        """The truth among the stored embeddings."""
        return self._among(queries, k, None, None)

    def _find(self, item_id: str) -> int | None:
        """The row in which an item can be found, the newest parts being looked at first."""
        for start, segment in zip(reversed(self._starts[:-1]), reversed(self.segments), strict=True):
            for inside in segment.rows_of(item_id):
                if self.alive[start + inside]:
                    return start + inside
        return None

    def _alive_ids(self) -> Iterator[str]:
        return itertools.compress(itertools.chain.from_iterable(part.ids for part in self.segments), self.alive)

    def _check_ids(self, known: Snapshot | None) -> None:
        """Raises CheckpointError for an id that is empty or in two rows; looks only at what ``known`` did not have."""
        if known is None:
            distinct = set(self._alive_ids())
            sound = len(distinct) == len(self) and "" not in distinct
        else:
            shared = [one is other for one, other in zip(self.segments, known.segments, strict=False)]
            same = self._starts[[*shared, False].index(False)]  # rows that both have, under the same numbers
            fresh = self.alive.copy()
            fresh[:same] &= ~known.alive[:same]
            ids = [self.id(row) for row in np.flatnonzero(fresh).tolist()]
            sound = "" not in ids and all(self._alive_rows_of(item_id) == 1 for item_id in ids)
        if not sound:
            raise CheckpointError(f"expected distinct ids in {self._folder.path}, found one twice or empty", REBUILD)

    def _alive_rows_of(self, item_id: str) -> int:
        parts = zip(self._starts[:-1], self.segments, strict=True)
        return sum(bool(self.alive[start + inside]) for start, part in parts for inside in part.rows_of(item_id))

    @cached_property
    def _alive_mask(self) -> npt.NDArray[np.bool_] | None:
        return None if self.alive.all() else self.alive

    @cached_property
    def _covered_masks(self) -> tuple[npt.NDArray[np.bool_] | None, npt.NDArray[np.bool_]]:
        """Rows that can be found: those in the graph (None: all there are), and the others."""
        assert self.description.graph is not None
        inside, outside = self.alive.copy(), self.alive.copy()
        inside[self.description.graph.rows :] = False
        outside[: self.description.graph.rows] = False
        return None if inside.all() else inside, outside

    def keep_graph(self, progress: Progress = SILENT) -> None:
        """Put the graph, where there is one, into this machine's cache, for processes to come."""
        if self._graph is not None and self.description.graph is not None:
            rows = self.description.graph.rows
            key = graph_key([part.embeddings for part in self.segments], rows, self._graph.settings)
            self._graph.keep(key, progress)

    def _locate(self, row: int) -> tuple[int, int]:
        number = bisect.bisect_right(self._starts, row) - 1
        return number, row - self._starts[number]

    def _open_remote(self, known: Snapshot | None) -> RemoteRows | None:
        """The rows in their engine, which is not asked for anything yet; its connection is that of ``known``."""
        entry = self.description.remote
        if entry is None:
            return None
        before = known.remote if known is not None else None
        same = before is not None and before.entry.settings == entry.settings
        server = before.server if same and before is not None else connect(entry.settings)
        identity = identity_of(self.description, entry.owner)
        return RemoteRows(server, entry, identity, len(self.vectors), self._alive_mask)

    def _open_graph(self, known: Snapshot | None, progress: Progress) -> GrowingGraph | None:
        entry = self.description.graph
        if entry is None:
            return None
        before = known._graph if known is not None and self._continues(known) else None
        return opened_graph(entry, self.vectors, [segment.embeddings for segment in self.segments], before, progress)

    def _continues(self, known: Snapshot) -> bool:
        """Whether the rows of an earlier snapshot are the first rows of this one, in a graph of the same settings."""
        here, there = self.description, known.description
        if here.graph is None or there.graph is None or here.lineage != there.lineage:
            return False
        same = ("m", "ef_construction", "seed")
        return all(getattr(here.graph, name) == getattr(there.graph, name) for name in same) and here.rows >= there.rows

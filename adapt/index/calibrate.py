"""How an index will be searched, chosen and measured on queries like those that will be asked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from adapt.index.approximate import GraphSearch
from adapt.index.base import THRESHOLD, FloatMatrix, Kind, SearchResult
from adapt.index.description import GraphEntry, RecallEntry
from adapt.index.exact import search_vectors
from adapt.index.graph import HnswSettings
from adapt.index.graphs import GrowingGraph
from adapt.index.recall import CALIBRATION_K, CALIBRATION_QUERIES, choose_ef, measure_recall, sample_queries
from adapt.index.vectors import Vectors
from adapt.progress import SILENT, Progress

_FEWEST_QUERIES = 64
Choice = Literal["auto", "exact", "hnsw"]


@dataclass(frozen=True)
class SearchChoice:
    """What is asked of the search.

    Attributes:
        kind: ``"auto"`` is exact below ``threshold`` items and HNSW from there on.
        target: share of true neighbours that HNSW's breadth of search is chosen for.
        seed: of the graph and of queries that are drawn.
        threads: for building the graph; with one it is the same on every run.
        threshold: see ``kind``.
    """

    kind: Choice = "auto"
    target: float = 0.99
    seed: int = 0
    threads: int = 1
    threshold: int = THRESHOLD


@dataclass(frozen=True, eq=False)
class SearchBy:
    """Search by an engine elsewhere.

    Attributes:
        kind: its name.
        exact: whether it always finds the truth, so that there is no breadth to choose.
        at: queries, breadth of search and length of the lists to what it finds.
    """

    kind: Kind
    exact: bool
    at: Callable[[FloatMatrix, int, int], SearchResult]


@dataclass(frozen=True, eq=False)
class Measured:
    """How an index is searched, and how well.

    Attributes:
        kind: exact or HNSW.
        graph: its settings; None for exact search.
        recall: what was measured; None for an index without items.
        built: the graph, to keep for later.
    """

    kind: Kind
    graph: GraphEntry | None
    recall: RecallEntry | None
    built: GrowingGraph | None = None

    @property
    def breadth(self) -> int | None:
        """The breadth of search that was chosen."""
        return self.recall.ef if self.recall is not None else None


def calibrate(
    stored: Vectors,
    alive: npt.NDArray[np.bool_],
    queries: FloatMatrix | None,
    choice: SearchChoice,
    *,
    truth: Vectors | None = None,
    engine: SearchBy | None = None,
    kept_as: str = "",
    progress: Progress = SILENT,
) -> Measured:
    """Choose how to search and measure the recall on queries that took no part in the choice.

    Args:
        stored: the embeddings as they are stored.
        alive: bool (rows,), the items that can be found.
        queries: float32 (n, dim) like those that will be asked; fewer than two = drawn from the items.
        choice: what is asked for.
        truth: the embeddings in float32, where ``stored`` holds them in fewer bytes.
        engine: how an engine elsewhere, which holds the rows, is searched; None = this machine searches.
        kept_as: see :meth:`adapt.index.graphs.GrowingGraph.grow`.
        progress: told the items added and the trials, and a recall below the target.
    """
    count = int(alive.sum())
    if not count:
        return Measured(engine.kind if engine is not None else "exact", None, None)
    asked = _queries(stored, alive, queries, choice.seed)
    if engine is not None:  # a request for every query: few items need no thousand
        asked = asked[: max(_FEWEST_QUERIES, 2 * count)]
    k = min(CALIBRATION_K, count)
    held_out = asked[1::2]
    allow = None if alive.all() else alive
    true = search_vectors(truth or stored, held_out, k, allow=allow)
    exact = search_vectors(stored, held_out, k, allow=allow)
    storage = measure_recall(_by_truth(exact, held_out, truth), true) if truth is not None else 1.0
    recall = RecallEntry(
        ef=0, recall=storage, target=choice.target, queries=len(held_out), k=k, count=count, storage=storage
    )
    if engine is not None:
        return _by_engine(
            engine,
            asked,
            lambda batch: search_vectors(stored, batch, k, allow=allow),
            lambda found, batch: measure_recall(_by_truth(found, batch, truth), true),
            recall,
            progress,
        )
    if choice.kind == "exact" or (choice.kind == "auto" and count < choice.threshold):
        return Measured("exact", None, recall)
    settings = HnswSettings(seed=choice.seed, threads=choice.threads)
    graph = GrowingGraph.begun(kept_as, stored, settings)
    graph.grow(stored, len(stored), progress, kept_as)

    def search_at(batch: FloatMatrix, ef: int) -> SearchResult:
        by_graph = GraphSearch(
            lambda some, length: graph.search(some, length, max(ef, length), len(stored)),
            lambda some, length, hidden: search_vectors(stored, some, length, exclude=hidden, allow=allow),
            exact_below=0,
        )
        return by_graph(batch, k, len(stored), None, allow)

    found = choose_ef(
        search_at,
        lambda batch: search_vectors(stored, batch, k, allow=allow),
        asked,
        target=choice.target,
        k=k,
        progress=progress,
    )
    if not found.reached:
        reached = f"HNSW reaches a recall of {found.recall:.3f} at ef {found.ef}, below {choice.target}"
        if choice.kind == "auto":
            progress.note(f"{reached}: searching exactly instead.")
            return Measured("exact", None, recall)
        progress.note(f"{reached}.")
    settings = replace(settings, ef=found.ef)
    overall = measure_recall(_by_truth(search_at(held_out, found.ef), held_out, truth), true)
    entry = GraphEntry(**asdict(settings), rows=len(stored))
    return Measured("hnsw", entry, replace(recall, ef=found.ef, recall=overall), graph)


def _by_engine(
    engine: SearchBy,
    asked: FloatMatrix,
    exactly: Callable[[FloatMatrix], SearchResult],
    share: Callable[[SearchResult, FloatMatrix], float],
    recall: RecallEntry,
    progress: Progress,
) -> Measured:
    """Choose and measure an engine's breadth of search.

    Args:
        engine: that holds the rows.
        asked: float32 (n, dim), every other one held out.
        exactly: the neighbours among the stored embeddings.
        share: of the true neighbours of held-out queries, what was found.
        recall: what is known of it.
        progress: told the trials, and a recall below the target.
    """
    k, held_out = recall.k, asked[1::2]
    breadth = 0
    if not engine.exact:
        chosen = choose_ef(
            lambda batch, breadth: engine.at(batch, breadth, k),
            exactly,
            asked,
            target=recall.target,
            k=k,
            progress=progress,
        )
        breadth = chosen.ef
        if not chosen.reached:
            progress.note(
                f"{engine.kind} reaches a recall of {chosen.recall:.3f} at a breadth of search of {breadth}, below "
                f"{recall.target}."
            )
    return Measured(
        engine.kind, None, replace(recall, ef=breadth, recall=share(engine.at(held_out, breadth, k), held_out))
    )


def recall_of(found: SearchResult, queries: FloatMatrix, truth: Vectors, alive: npt.NDArray[np.bool_]) -> float:
    """The share of the true neighbours among ``truth`` that a search found, whatever scores it gave them."""
    true = search_vectors(truth, queries, found.rows.shape[1], allow=alive)
    return measure_recall(_by_truth(found, queries, truth), true)


def _queries(stored: Vectors, alive: npt.NDArray[np.bool_], queries: FloatMatrix | None, seed: int) -> FloatMatrix:
    if queries is not None and len(queries) > 1:
        return queries[:CALIBRATION_QUERIES]
    rows = np.flatnonzero(alive)
    if len(rows) > 4 * CALIBRATION_QUERIES:
        rows = rows[:: len(rows) // (4 * CALIBRATION_QUERIES)]
    return sample_queries(stored.take(rows), CALIBRATION_QUERIES, seed)


def _by_truth(found: SearchResult, queries: FloatMatrix, truth: Vectors | None) -> SearchResult:
    """The rows that were found with their scores by ``truth``."""
    if truth is None:
        return found
    safe = np.maximum(found.rows, 0)
    distinct, place = np.unique(safe, return_inverse=True)
    vectors = truth.take(distinct)[place.reshape(safe.shape)]
    scores = np.einsum("qd,qkd->qk", queries, vectors).astype(np.float32)
    return SearchResult(found.rows, np.where(found.rows >= 0, scores, np.float32(-np.inf)))

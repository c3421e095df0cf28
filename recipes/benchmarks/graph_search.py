"""Approximate search at equal recall: HNSW here beside raw hnswlib, faiss and usearch, built and searched.

    python recipes/benchmarks/graph_search.py [--items 20000] [--queries 1000] [--recall 0.95] [--rounds 9]

All build a graph of float32 inner products with 16 links an item and a breadth of 200. Then each library's breadth of
search grows until it finds the wanted share of the true first 10, found by exact search; those settings are compared,
so all are equally right. One thread each, in seconds of processor time; sides take turns at searching, and a ratio is
the median over rounds. Building is measured once for each library, `--builds` times in turn.

`pip install -r recipes/benchmarks/requirements.txt` brings faiss and usearch; one that is not there is named as not
measured. About a minute on 2 cores.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.util
import time
from collections.abc import Callable
from typing import Any, Protocol

import hnswlib
import numpy as np
import torch
from measuring import Ratio, ratio_of, report, take_turns
from search import DIM, K, clustered

from adapt.index import ExactIndex
from adapt.index.graph import HnswSettings
from adapt.index.hnsw import HnswIndex

LINKS, BREADTH = 16, 200
SMALLEST, LARGEST, STEP = 10, 2_048, 1.15


class Built(Protocol):
    """A graph that can be searched."""

    def search(self, queries: np.ndarray, ef: int) -> np.ndarray:
        """Rows of the first ``K``, int64 (queries, K)."""
        ...


class Ours:
    """The index of this library; it drops no guard and keeps the embeddings for exact answers."""

    def __init__(self, points: np.ndarray) -> None:
        settings = HnswSettings(m=LINKS, ef_construction=BREADTH, threads=1)
        self._index = HnswIndex([str(row) for row in range(len(points))], points, settings)

    def search(self, queries: np.ndarray, ef: int) -> np.ndarray:
        if self._index.settings.ef != ef:
            self._index._settings = dataclasses.replace(self._index.settings, ef=ef)
        return self._index.search(queries, K).rows


class Hnswlib:
    """hnswlib, which this library builds on."""

    def __init__(self, points: np.ndarray) -> None:
        self._index = hnswlib.Index(space="ip", dim=DIM)
        self._index.init_index(max_elements=len(points), M=LINKS, ef_construction=BREADTH, random_seed=0)
        self._index.add_items(points, num_threads=1)

    def search(self, queries: np.ndarray, ef: int) -> np.ndarray:
        self._index.set_ef(ef)
        return self._index.knn_query(queries, k=K, num_threads=1)[0].astype(np.int64)


class Faiss:
    """faiss, `IndexHNSWFlat`."""

    def __init__(self, points: np.ndarray) -> None:
        import faiss

        faiss.omp_set_num_threads(1)
        self._index: Any = faiss.IndexHNSWFlat(DIM, LINKS, faiss.METRIC_INNER_PRODUCT)
        self._index.hnsw.efConstruction = BREADTH
        self._index.add(points)

    def search(self, queries: np.ndarray, ef: int) -> np.ndarray:
        self._index.hnsw.efSearch = ef
        return self._index.search(queries, K)[1]


class Usearch:
    """usearch."""

    def __init__(self, points: np.ndarray) -> None:
        from usearch.index import Index

        # usearch puts `connectivity` links on the upper levels and twice that on the lowest, as the others do.
        self._index: Any = Index(
            ndim=DIM, metric="ip", dtype="f32", connectivity=LINKS, expansion_add=BREADTH, expansion_search=BREADTH
        )
        self._index.add(np.arange(len(points)), points, threads=1)

    def search(self, queries: np.ndarray, ef: int) -> np.ndarray:
        self._index.expansion_search = ef
        return self._index.search(queries, K, threads=1).keys.astype(np.int64)


SIDES: dict[str, tuple[str, Callable[[np.ndarray], Built]]] = {
    "adapt": ("hnswlib", Ours),
    "hnswlib": ("hnswlib", Hnswlib),
    "faiss": ("faiss", Faiss),
    "usearch": ("usearch", Usearch),
}
"""Name -> the module it needs, and how it is built."""


def share_found(found: np.ndarray, true: np.ndarray) -> float:
    """The share of the true neighbours that were found.

    >>> share_found(np.array([[1, 2], [3, 4]]), np.array([[2, 1], [3, 5]]))
    0.75
    """
    hits = [len(set(some) & set(all_of)) for some, all_of in zip(found.tolist(), true.tolist(), strict=True)]
    return sum(hits) / true.size


def breadth_for(recall_at: Callable[[int], float], wanted: float) -> tuple[int, float]:
    """The smallest breadth of search on a scale of 15 % steps that reaches a recall, and the recall it has.

    Raises:
        ValueError: none does.

    >>> breadth_for(lambda ef: min(1.0, ef / 20), 0.9)
    (18, 0.9)
    """
    ef = SMALLEST
    while ef <= LARGEST:
        if (recall := recall_at(ef)) >= wanted:
            return ef, recall
        ef = max(ef + 1, round(ef * STEP))
    raise ValueError(f"expected a recall of {wanted}, found {recall} at the largest breadth of {LARGEST}")


def build(points: np.ndarray, builds: int) -> tuple[dict[str, Built], dict[str, list[float]], dict[str, str]]:
    """Every library's graph, seconds of processor time of each build, and what is not installed."""
    graphs: dict[str, Built] = {}
    seconds: dict[str, list[float]] = {}
    missing = {
        name: f"it is not installed (pip install -r recipes/benchmarks/requirements.txt brings {module})"
        for name, (module, _) in SIDES.items()
        if importlib.util.find_spec(module) is None
    }
    for _ in range(builds):
        for name, (_, make) in SIDES.items():
            if name not in missing:
                started = time.process_time()
                graphs[name] = make(points)
                seconds.setdefault(name, []).append(time.process_time() - started)
    return graphs, seconds, missing


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=20_000)
    parser.add_argument("--queries", type=int, default=1_000)
    parser.add_argument("--recall", type=float, default=0.95, help="share of the true first 10 that all must find")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--builds", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    points, queries = clustered(arguments.items, arguments.queries)
    true = ExactIndex([str(row) for row in range(len(points))], points).search(queries, K).rows
    graphs, built, missing = build(points, arguments.builds)
    chosen = {
        name: breadth_for(lambda ef, graph=graph: share_found(graph.search(queries, ef), true), arguments.recall)
        for name, graph in graphs.items()
    }
    runs = {name: lambda graph=graph, ef=chosen[name][0]: graph.search(queries, ef) for name, graph in graphs.items()}
    searched = take_turns(runs, arguments.rounds, time.process_time)
    size = f"{arguments.items:,} items, recall {arguments.recall:g}"
    ratios: list[Ratio] = []
    for name in graphs:
        if name != "adapt":
            ratios.append(ratio_of(f"HNSW queries/s to {name}, {size}", searched[name], searched["adapt"]))
            ratios.append(ratio_of(f"HNSW items built/s to {name}, {size}", built[name], built["adapt"]))
    rows = [
        {
            "library": name,
            "build_s": round(float(np.median(built[name])), 2),
            "ef": chosen[name][0],
            f"recall@{K}": round(chosen[name][1], 4),
            "queries_per_s": round(len(queries) / float(np.median(searched[name]))),
        }
        for name in graphs
    ]
    report("graph_search", ratios, rows, missing, dim=DIM, k=K, items=arguments.items)


if __name__ == "__main__":
    main()

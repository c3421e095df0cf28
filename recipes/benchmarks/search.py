"""How fast the index searches, as ratios to the libraries below it on the same machine in the same run.

    python recipes/benchmarks/search.py [--quick]

About two minutes on 2 cores. Exact search stands beside `torch.matmul` + `torch.topk` (which holds the whole score
matrix and picks any of several equal scores), HNSW beside plain hnswlib with the same graph and the same ef, so at
equal recall. Rounds of both alternate and the best of each counts, which keeps other load on the machine out. A ratio
of 1 is equal, above 1 is faster than the library below. Prints a table, and one line of JSON last.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import Callable

import hnswlib
import numpy as np
import torch

from adapt.index import ExactIndex, build_index
from adapt.index.graph import HnswSettings
from adapt.index.hnsw import HnswIndex
from adapt.index.recall import measure_recall

DIM, K, ROUNDS = 256, 10, 5


def catalog(items: int, queries: int) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors in clusters, as embeddings of real catalogs lie, and queries from the same clusters."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(max(8, items // 100), DIM))
    points = centres[rng.integers(len(centres), size=items + queries)] + 0.8 * rng.normal(size=(items + queries, DIM))
    points = (points / np.linalg.norm(points, axis=1, keepdims=True)).astype(np.float32)
    return points[:items], points[items:]


def best_times(ours: Callable[[], object], theirs: Callable[[], object]) -> tuple[float, float]:
    """Seconds of the best round of each, taking turns."""
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(ROUNDS + 1):
        for run, record in zip((ours, theirs), times, strict=True):
            start = time.perf_counter()
            run()
            record.append(time.perf_counter() - start)
    return min(times[0][1:]), min(times[1][1:])


def exact(items: int, queries: int, seen: int = 0) -> dict[str, object]:
    """Exact search against the two torch calls; with ``seen`` rows to exclude both mask them."""
    points, wanted = catalog(items, queries)
    index = ExactIndex([str(row) for row in range(items)], points)
    table, asked = torch.from_numpy(points), torch.from_numpy(wanted)
    exclude = [np.random.default_rng(query).integers(items, size=seen) for query in range(queries)] if seen else None
    hidden = (np.repeat(np.arange(queries), seen), np.concatenate(exclude)) if exclude else None

    def plain() -> None:
        scores = asked @ table.T
        if hidden:
            scores[hidden] = -torch.inf
        scores.topk(K)

    ours, theirs = best_times(lambda: index.search(wanted, K, exclude=exclude), plain)
    what = f"exact, {seen} seen" if seen else "exact"
    return row(what, items, queries, ours, theirs, recall=1.0, below="torch")


def graph(items: int, queries: int) -> list[dict[str, object]]:
    """HNSW against plain hnswlib, and against exact search, at the recall that was calibrated."""
    points, wanted = catalog(items, queries)
    ids = [str(row) for row in range(items)]
    index = build_index(ids, points, kind="hnsw", threads=2)
    assert isinstance(index, HnswIndex)
    settings, standard = index.settings, HnswSettings()
    plain = hnswlib.Index(space="ip", dim=DIM)
    plain.init_index(items, M=standard.m, ef_construction=standard.ef_construction, random_seed=standard.seed)
    plain.add_items(points, num_threads=2)
    plain.set_ef(settings.ef)
    brute = ExactIndex(ids, points)
    recall = measure_recall(index.search(wanted, K), brute.search(wanted, K))
    ours, theirs = best_times(lambda: index.search(wanted, K), lambda: plain.knn_query(wanted, k=K, num_threads=2))
    ours_again, exactly = best_times(lambda: index.search(wanted, K), lambda: brute.search(wanted, K))
    what = f"hnsw, ef {settings.ef}"
    return [
        row(what, items, queries, ours, theirs, recall=recall, below="hnswlib"),
        row(what, items, queries, ours_again, exactly, recall=recall, below="exact"),
    ]


def row(
    what: str, items: int, queries: int, ours: float, theirs: float, *, recall: float, below: str
) -> dict[str, object]:
    """One line of the table."""
    return {
        "search": what,
        "items": items,
        "queries": queries,
        "queries_per_s": round(queries / ours),
        "against": below,
        "against_queries_per_s": round(queries / theirs),
        "ratio": round(theirs / ours, 2),
        f"recall@{K}": round(recall, 4),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="small sizes only: a few seconds")
    quick = parser.parse_args().quick
    rows = [exact(12_000, 2_000), exact(12_000, 2_000, seen=20), exact(12_000, 1)]
    if quick:
        rows += graph(12_000, 500)
    else:
        rows += [exact(100_000, 1_000), *graph(60_000, 1_000)]
    names = list(rows[0])
    widths = [max(len(name), *(len(str(line[name])) for line in rows)) for name in names]
    print("  ".join(name.rjust(width) for name, width in zip(names, widths, strict=True)))
    for line in rows:
        print("  ".join(str(line[name]).rjust(width) for name, width in zip(names, widths, strict=True)))
    machine = {"cpus": os.cpu_count(), "machine": platform.machine(), "torch": torch.__version__}
    print(json.dumps({"benchmark": "search", "dim": DIM, "k": K, **machine, "rows": rows}))


if __name__ == "__main__":
    main()

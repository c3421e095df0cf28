"""Milvus beside HNSW on this machine: searching and adding the same points at the same recall.

    python recipes/benchmarks/milvus.py [--uri URI] [--items N]

Without `--uri` an embedded Milvus Lite in a temporary folder is measured. It is written in Python, for trying and for
tests: its figures say what a search through the whole path costs there, and nothing of a Milvus server. Both engines
hold the same clustered points in graphs of the same settings, the breadth of search of each chosen for a recall of
0.95 on the same queries. Batches of 100 and single queries take turns; the median is shown. One thread for HNSW; a
server takes what it has. Prints a table, and one line of JSON last.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from adapt.index import Index, build_index
from adapt.index.engine import RemoteSettings
from adapt.index.remote_index import RemoteIndex

DIM, K, BATCH, ROUNDS, RECALL = 256, 10, 100, 7, 0.95


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--uri", default="", help="Of a server; without it Milvus Lite is measured.")
    parser.add_argument("--items", type=int, default=10_000)
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        asked = RemoteSettings(uri=options.uri or str(Path(folder) / "milvus.db"), collection="adapt_benchmark")
        print(json.dumps(compare(asked, options.items)))


def compare(asked: RemoteSettings, items: int) -> dict[str, object]:
    """Both engines over the same points.

    Args:
        asked: of Milvus.
        items: how many points.
    """
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(max(8, items // 200), DIM)).astype(np.float32)
    points = unit(centres[rng.integers(len(centres), size=items)] + 0.7 * rng.normal(size=(items, DIM)))
    queries = unit(points[rng.integers(items, size=BATCH)] + 0.05 * rng.normal(size=(BATCH, DIM)))
    new = unit(rng.normal(size=(2 * BATCH, DIM)))
    ids = [str(number) for number in range(items)]
    indexes: dict[str, Index] = {}
    built = {}
    for name, kind in (("hnsw", "hnsw"), ("milvus", asked)):
        started = time.perf_counter()
        indexes[name] = build_index(ids, points, kind=kind, recall_target=RECALL, queries=queries)  # type: ignore[arg-type]
        built[name] = time.perf_counter() - started
    version = indexes["milvus"]._server.state() if isinstance(indexes["milvus"], RemoteIndex) else ""
    one = {name: taken(lambda index=index: index.search(queries[:1], K)) for name, index in indexes.items()}
    many = {name: taken(lambda index=index: index.search(queries, K)) / BATCH for name, index in indexes.items()}
    added = {}
    for name, index in indexes.items():
        started = time.perf_counter()
        index.add([f"new {number}" for number in range(len(new))], new)
        found = index.search(new[-1:], 1)
        added[name] = (time.perf_counter() - started) / len(new)
        assert index.ids[found.rows[0, 0]] == f"new {len(new) - 1}"
    recall = {name: index.info().recall_measured for name, index in indexes.items()}
    for index in indexes.values():
        index.close()
    print(f"{items:,} items of {DIM} dimensions; {version}")
    print(f"{'':<28}{'hnsw':>10}{'milvus':>10}{'ratio':>8}")
    rows = {"build, s": built, "one query, ms": scaled(one), "a query of 100, ms": scaled(many)}
    rows["add and find, ms an item"] = scaled(added)
    for label, values in rows.items():
        print(f"{label:<28}{values['hnsw']:>10.3f}{values['milvus']:>10.3f}{values['milvus'] / values['hnsw']:>8.1f}")
    print(f"{'recall':<28}{recall['hnsw']:>10.3f}{recall['milvus']:>10.3f}")
    return {
        "items": items,
        "server": version,
        "recall": recall,
        **rows,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "machine": platform.machine(),
    }


def unit(values: np.ndarray) -> np.ndarray:
    """Rows of length 1, float32."""
    return (values / np.linalg.norm(values, axis=1, keepdims=True)).astype(np.float32)


def taken(work: Callable[[], object]) -> float:
    """Median seconds of some rounds, after one that does not count."""
    work()
    seconds = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


def scaled(seconds: dict[str, float]) -> dict[str, float]:
    """In milliseconds."""
    return {name: 1_000 * value for name, value in seconds.items()}


if __name__ == "__main__":
    main()

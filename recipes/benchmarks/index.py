"""A living index: what building, adding, removing and searching take, and what storing in fewer bytes loses.

    python recipes/benchmarks/index.py [--data FOLDER] [--items N]

With `--data` a real data set is embedded by the default checkpoint, its users ask, and each change is the real one,
from texts to the disk (features come from the cache where it holds them: `encode_texts.py` has the time of encoding).
Without it only the part below the model is measured, on `--items` clustered points. Searches stand beside raw hnswlib
with the same points, graph settings and ef, in batches of 1,000, one thread each, in rounds that take turns in seconds
of processor time, so that what else a machine does counts little: the median of their ratios. `graph_search.py`
compares libraries at equal recall. Prints tables, and one line of JSON last.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import hnswlib
import numpy as np
import torch
from graph_search import share_found
from measuring import Ratio, ratio_of, take_turns
from search import clustered

from adapt import load_dataset
from adapt.data.catalog import Catalog
from adapt.index.calibrate import SearchChoice, calibrate, recall_of
from adapt.index.changes import delete, put
from adapt.index.description import Description, ModelEntry, new_lineage
from adapt.index.exact import search_vectors
from adapt.index.generations import FORMAT_VERSION, Generations
from adapt.index.graphs import graph_key
from adapt.index.quantise import STORAGES, Storage, encode
from adapt.index.segments import Items, write_items
from adapt.index.snapshot import Snapshot
from adapt.index.storage import write_deleted
from adapt.index.vectors import DenseVectors, StoredVectors, padded
from adapt.progress import SILENT
from adapt.workflows.index_build import BuildOptions, build
from adapt.workflows.living_index import LivingIndex, SearchOptions

DIM, K, BATCH, ROUNDS = 256, 10, 1_000, 20


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=None, help="A data set with interactions.")
    parser.add_argument("--items", type=int, default=50_000)
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        result = whole(options.data, Path(folder)) if options.data is not None else below(options.items, Path(folder))
    result |= {"python": platform.python_version(), "machine": platform.machine()}
    print(json.dumps(result))


def whole(data: Path, folder: Path) -> dict[str, Any]:
    """Every stored type over a real data set, and changes from texts to the disk."""
    dataset = load_dataset(data)
    assert dataset.interactions is not None
    rng = np.random.default_rng(0)
    users = rng.permutation(dataset.interactions.n_users)[:500]
    histories = [[dataset.catalog.ids[row] for row in dataset.interactions.history(int(u))[-10:]] for u in users]
    found: dict[str, Any] = {"benchmark": "index", "data": data.name, "items": len(dataset.catalog)}
    for storage in STORAGES:
        path = folder / storage
        result, seconds = timed(build, BuildOptions(dataset=str(data), output=str(path), storage=storage))
        recall = result.description.recall
        assert recall is not None
        living = LivingIndex.open(path)
        living.by_histories(histories[:1])
        _, batched = timed(living.by_histories, histories, SearchOptions(k=K))
        single = [timed(living.by_history, history, SearchOptions(k=K))[1] for history in histories[:200]]
        found[storage] = {
            "build_s": seconds,
            "index_s": result.timings["index"],
            "recall": recall.recall,
            "recall_k": recall.k,
            "queries": recall.queries,
            "embeddings_mb": sum(file.stat().st_size for file in path.rglob("embeddings.safetensors")) / 1e6,
            "history_ms_p50": 1e3 * float(np.median(single)),
            "history_ms_p99": 1e3 * float(np.quantile(single, 0.99)),
            "histories_per_s_batched": len(histories) / batched,
            **changes(living, dataset.catalog),
        }
        row = ", ".join(f"{name} {value:.4g}" for name, value in found[storage].items())
        print(f"{storage:8} {row}")
    found["peak_memory_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    return found


def changes(living: LivingIndex, catalog: Catalog) -> dict[str, float]:
    """Milliseconds of one change on disk and of its work on a processor, the median of several."""
    adds, removes, busy = [], [], []
    living.add(rows(catalog, [0], "first"))  # loads the encoder
    for number in range(30):
        new = rows(catalog, [number], f"new {number}")
        begun = time.process_time()
        adds.append(timed(living.add, new)[1])
        busy.append(time.process_time() - begun)
        removes.append(timed(living.remove, new.ids)[1])
    many = rows(catalog, list(range(min(100, len(catalog)))), "many")
    _, hundred = timed(living.add, many)
    _, compact = timed(living.compact)
    return {
        "add_one_ms": 1e3 * float(np.median(adds)),
        "add_one_cpu_ms": 1e3 * float(np.median(busy)),
        "remove_one_ms": 1e3 * float(np.median(removes)),
        "add_100_ms": 1e3 * hundred,
        "compact_s": compact,
    }


def rows(catalog: Catalog, chosen: list[int], prefix: str) -> Catalog:
    """Some items of a catalog under new ids."""
    return replace(
        catalog,
        ids=tuple(f"{prefix} {row}" for row in chosen),
        texts=tuple(catalog.texts[row] for row in chosen),
        images=tuple(catalog.images[row] for row in chosen),
        titles=tuple(catalog.titles[row] for row in chosen),
        columns={name: tuple(cells[row] for row in chosen) for name, cells in catalog.columns.items()},
        text_features=None if catalog.text_features is None else catalog.text_features[chosen],
        image_features=None if catalog.image_features is None else catalog.image_features[chosen],
    )


def below(items: int, folder: Path) -> dict[str, Any]:
    """The index without a model: recall by type, changes on disk, and search beside the libraries."""
    points, queries = clustered(items, BATCH)
    found: dict[str, Any] = {"benchmark": "index", "items": items, "dim": DIM}
    for storage in STORAGES:
        stored = StoredVectors([encode(points, storage)], DIM)
        truth = DenseVectors(padded(points, DIM), items)
        result = search_vectors(stored, queries, K)
        _, seconds = timed(search_vectors, stored, queries, K)
        recall = recall_of(result, queries, truth, np.ones(items, bool))
        found[f"exact_{storage}"] = {"recall_at_10": recall, "queries_per_s": len(queries) / seconds}
        print(f"exact {storage:8} Recall@{K} against float32 {recall:.4f}, {len(queries) / seconds:,.0f} queries/s")
    index, seconds = timed(graph_index, points, folder / "graph")
    found["build_s"] = seconds
    ef = index.description.graph.ef if index.description.graph is not None else 0
    facts, ratio = beside_hnswlib(index, points, queries, ef)
    found |= {"ef": ef, "recall": index.info().recall_measured, **facts, "ratios": [ratio.to_dict()]}
    found |= raw_changes(folder / "graph", points)
    print(", ".join(f"{name} {value:.4g}" for name, value in found.items() if isinstance(value, (int, float))))
    return found


def graph_index(points: np.ndarray, path: Path, storage: Storage = "float32") -> Snapshot:
    """An HNSW index of points on disk, calibrated for the default recall."""
    folder, encoded = Generations(path), encode(points, storage)
    measured = calibrate(StoredVectors([encoded], DIM), np.ones(len(points), bool), None, SearchChoice("hnsw", seed=0))
    assert measured.graph is not None
    assert measured.built is not None
    with folder.writing() as writer:
        part = write_items(writer, Items([str(row) for row in range(len(points))], encoded))
        description = Description(
            format_version=FORMAT_VERSION,
            kind="hnsw",
            choice="hnsw",
            count=len(points),
            rows=len(points),
            dim=DIM,
            lineage=new_lineage(),
            storage=storage,
            model=ModelEntry(fingerprint="benchmark"),
            parts=(part,),
            graph=measured.graph,
            recall=measured.recall,
        )
        writer.commit(description.to_dict(), lambda path: write_deleted(path, np.zeros(0, np.int64)))
    measured.built.keep(graph_key([encoded], len(points), measured.built.settings), SILENT)
    return Snapshot.open(folder)


def beside_hnswlib(index: Snapshot, points: np.ndarray, queries: np.ndarray, ef: int) -> tuple[dict[str, float], Ratio]:
    """Batched searches beside raw hnswlib with the same graph and ef."""
    raw = hnswlib.Index(space="ip", dim=DIM)
    raw.init_index(max_elements=len(points), M=16, ef_construction=200, random_seed=0)
    raw.add_items(points, num_threads=1)
    raw.set_ef(ef)
    true = index.exactly(queries, K).rows
    runs = {
        "ours": lambda: index.search(queries, K),
        "hnswlib": lambda: raw.knn_query(queries, k=K, num_threads=1),
    }
    seconds = take_turns(runs, ROUNDS, time.process_time)
    what = f"queries/s of a living index to hnswlib with the same graph and breadth, {len(points):,} items"
    facts = {
        "queries_per_s": len(queries) / min(seconds["ours"]),
        "hnswlib_queries_per_s": len(queries) / min(seconds["hnswlib"]),
        "recall_at_10": share_found(index.search(queries, K).rows, true),
        "hnswlib_recall_at_10": share_found(raw.knn_query(queries, k=K, num_threads=1)[0], true),
    }
    return facts, ratio_of(what, seconds["hnswlib"], seconds["ours"])


def raw_changes(path: Path, points: np.ndarray) -> dict[str, float]:
    """Milliseconds until one embedding is on disk or gone, the median of several."""
    folder = Generations(path)
    now = Snapshot.open(folder)
    adds, removes = [], []
    for number in range(10):
        items = Items([f"new {number}"], encode(points[number : number + 1], "float32"))
        with folder.writing() as writer:
            adds.append(timed(put, writer, now, items)[1])
            now, opened = timed(Snapshot.open, folder, now)
            adds[-1] += opened
            removes.append(timed(delete, writer, now, items.ids)[1])
            now = Snapshot.open(folder, now)
    return {"raw_add_one_ms": 1e3 * float(np.median(adds)), "raw_remove_one_ms": 1e3 * float(np.median(removes))}


def timed(work: Callable[..., Any], *arguments: Any) -> tuple[Any, float]:
    """What ``work`` returns and its seconds."""
    start = time.perf_counter()
    result = work(*arguments)
    return result, time.perf_counter() - start


if __name__ == "__main__":
    main()

"""What an index loses and costs when it is split over machines: recall and fan-out against shards and over-fetch.

    python recipes/benchmarks/shards.py [--items 100000] [--shards 2,4,8,16,32,64] [--graph-shards 8]

Items are dealt out to shards, each shard answers with its best few, the answers are merged. Dealt out at random, how
many of the true ten nearest a shard holds is binomial, which gives the recall for any number of items: computed, and
checked against shards that are really searched, over the embeddings of a made-up catalog (`scale_data.py`) with the
states of its users as queries. With items dealt out by content (k-means) a query need not go to every shard: how many
it takes is measured. A query is as slow as its slowest shard: the latency of one shard is measured, and that of many is
drawn from it.

About two minutes at 100,000 items on 2 cores. Prints tables, and one line of JSON last.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scale_data import make
from scipy.stats import binom

from adapt import Checkpoint, load_dataset, zero_shot
from adapt.hub.card import markdown_table
from adapt.index import build_index
from adapt.machine import peak_memory, processor
from adapt.top import top_k

K = 10
ANSWERS = (1, 2, 3, 4, 5, 10)  # of each shard
FAN_OUT = (1, 2, 4, 8, 16, 32)
RECALL = 0.95
_BLOCK = 64  # queries scored at a time
_ROUNDS = 8  # of k-means
_TRIED = 500  # single queries that are timed

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Catalog:
    """What is split: float32 (items, dim), float32 (queries, dim), and the true neighbours, int64 (queries, K)."""

    items: Floats
    queries: Floats
    nearest: Ints


def expected_recall(shards: int, answers: int, k: int = K) -> float:
    """Recall of the merged answers of exact shards, over a catalog that was dealt out at random.

    ``E = shards / k * sum_x min(x, answers) P(X = x)`` with ``X ~ Binomial(k, 1 / shards)``.

    >>> round(expected_recall(1, 10), 3), round(expected_recall(2, 5), 3), round(expected_recall(1000, 1), 3)
    (1.0, 0.877, 0.996)
    """
    x = np.arange(k + 1)
    return float(shards / k * (np.minimum(x, answers) * binom.pmf(x, k, 1 / shards)).sum())


def least_overfetch(shards: int, target: float, k: int = K) -> float:
    """The least over-fetch that reaches a recall.

    >>> least_overfetch(4, 0.99), least_overfetch(4, 0.9)
    (2.0, 1.6)
    """
    answers = next(m for m in range(1, k + 1) if expected_recall(shards, m, k) >= target)
    return answers * shards / k


def slowest(latencies: Floats, shards: int, draws: int = 20_000, seed: int = 0) -> tuple[float, float]:
    """Median and 99th percentile of the slowest of several shards that answer independently of each other."""
    random = np.random.default_rng(seed)
    worst = np.zeros(draws)
    for _ in range(shards):
        worst = np.maximum(worst, random.choice(latencies, draws))
    return float(np.median(worst)), float(np.quantile(worst, 0.99))


def best(queries: Floats, items: Floats, k: int) -> tuple[Ints, Floats]:
    """Rows and scores of the best items of each query, exactly, in bounded memory."""
    rows = np.full((len(queries), k), -1, np.int64)
    scores = np.full((len(queries), k), -np.inf, np.float32)
    for start in range(0, len(queries), _BLOCK):
        some = slice(start, start + _BLOCK)
        rows[some], scores[some] = top_k(queries[some] @ items.T, k)
    return rows, scores


def recall(found: Ints, nearest: Ints) -> float:
    """The share of the true neighbours that were found."""
    return float(np.mean([np.isin(true, mine).mean() for true, mine in zip(nearest, found, strict=True)]))


def merged(answers: list[tuple[Ints, Floats]], k: int = K) -> Ints:
    """The best of what shards answered: rows of the whole catalog, int64 (queries, k)."""
    rows = np.concatenate([found for found, _ in answers], axis=1)
    scores = np.concatenate([score for _, score in answers], axis=1)
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(rows, order, axis=1)


def at_random(catalog: Catalog, shards: int) -> list[dict[str, object]]:
    """Shards that are really searched, beside what the formula says."""
    owner = np.random.default_rng(shards).permutation(len(catalog.items)) % shards
    members = [np.flatnonzero(owner == shard) for shard in range(shards)]
    whole = []
    for rows in members:
        found, scores = best(catalog.queries, catalog.items[rows], K)
        whole.append((rows[found], scores))
    lines: list[dict[str, object]] = []
    for answers in ANSWERS:
        measured = recall(merged([(found[:, :answers], score[:, :answers]) for found, score in whole]), catalog.nearest)
        lines.append(
            {
                "shards": shards,
                "answers_a_shard": answers,
                "overfetch": round(answers * shards / K, 1),
                "expected_recall": round(expected_recall(shards, answers), 4),
                "measured_recall": round(measured, 4),
            }
        )
    return lines


def clusters(items: Floats, shards: int) -> tuple[Floats, Ints]:
    """Spherical k-means on a sample: centres (shards, dim), and the shard of every item."""
    random = np.random.default_rng(0)
    sample = items[random.choice(len(items), min(len(items), 400 * shards), replace=False)]
    centres = sample[random.choice(len(sample), shards, replace=False)].copy()
    for _ in range(_ROUNDS):
        owner = (sample @ centres.T).argmax(axis=1)
        for shard in range(shards):
            if (mine := owner == shard).any():
                mean = sample[mine].sum(axis=0)
                centres[shard] = mean / max(float(np.linalg.norm(mean)), 1e-12)
    owner = np.concatenate(
        [(items[start : start + 8192] @ centres.T).argmax(axis=1) for start in range(0, len(items), 8192)]
    )
    return centres, owner


def by_content(catalog: Catalog, shards: int) -> list[dict[str, object]]:
    """How many shards a query has to go to where items were dealt out by content."""
    centres, owner = clusters(catalog.items, shards)
    rank = np.argsort(np.argsort(-(catalog.queries @ centres.T), axis=1), axis=1)  # of every shard for every query
    needed = np.take_along_axis(rank, owner[catalog.nearest], axis=1)  # (queries, K)
    largest = np.bincount(owner, minlength=shards).max() / (len(owner) / shards)
    return [
        {
            "shards": shards,
            "fan_out": fan,
            "recall": round(float((needed < fan).mean()), 4),
            "largest_over_mean": round(float(largest), 2),
        }
        for fan in FAN_OUT
        if fan < shards
    ]


def graphs(catalog: Catalog, shards: int) -> dict[str, object]:
    """A graph in each of several shards of equal size: recall after the merge, and the latency of one shard."""
    owner = np.random.default_rng(shards).permutation(len(catalog.items)) % shards
    answers, calibrated = [], []
    latencies = np.zeros(0, np.float32)
    started = time.perf_counter()
    for shard in range(shards):
        rows = np.flatnonzero(owner == shard)
        index = build_index(
            [str(row) for row in rows], catalog.items[rows], kind="hnsw", recall_target=RECALL, threads=2,
            queries=catalog.queries[:500],
        )  # fmt: skip
        result = index.search(catalog.queries, K)
        answers.append((np.where(result.rows >= 0, rows[result.rows], -1), result.scores))
        calibrated.append(index.info().recall_measured or 0.0)
        if not len(latencies):
            latencies = timed(index, catalog.queries[:_TRIED])
    seconds = time.perf_counter() - started
    alone = [float(np.median(latencies)), float(np.quantile(latencies, 0.99))]
    return {
        "shards": shards,
        "recall_of_a_shard": round(float(np.mean(calibrated)), 4),
        "recall_merged": round(recall(merged(answers), catalog.nearest), 4),
        "seconds": round(seconds, 1),
        "latency_ms_p50_p99": {
            str(count): [round(1000 * value, 3) for value in (slowest(latencies, count) if count > 1 else alone)]
            for count in (1, 8, 64, 512)
        },
    }


def timed(index: object, queries: Floats) -> Floats:
    """Seconds of single queries."""
    found = []
    for query in queries:
        began = time.perf_counter()
        index.search(query[None], K)  # type: ignore[attr-defined]
        found.append(time.perf_counter() - began)
    return np.array(found, np.float32)


def prepare(items: int, queries: int) -> Catalog:
    """The embeddings of a made-up catalog, and the states of some of its users."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "shop"
        make(folder, items=items, interactions=20 * queries, users=queries)
        data = load_dataset(folder)
        zero = zero_shot(Checkpoint.from_pretrained("adapt-mini"), data, index="exact")
        assert data.interactions is not None
        histories = [data.interactions.history(user) for user in range(min(queries, data.interactions.n_users))]
        states = zero.states([history for history in histories if len(history)])
        table = np.ascontiguousarray(zero.embedded.embeddings[:, zero.used])
    return Catalog(table, states, best(states, table, K)[0])


def show(title: str, lines: list[dict[str, object]]) -> None:
    """A table on the screen."""
    print(f"\n{title}")
    print(markdown_table(list(lines[0]), [[str(value) for value in line.values()] for line in lines]), flush=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--queries", type=int, default=1_000)
    parser.add_argument("--shards", default="2,4,8,16,32,64", help="numbers of shards, separated by commas")
    parser.add_argument("--graph-shards", default="8", help="numbers of shards that get a graph each; empty = none")
    args = parser.parse_args()
    torch.set_grad_enabled(False)
    catalog = prepare(args.items, args.queries)
    counts = [int(count) for count in args.shards.split(",")]
    random = [line for count in counts for line in at_random(catalog, count)]
    show(f"{args.items:,} items dealt out at random, every shard asked", random)
    content = [line for count in counts if count > 2 for line in by_content(catalog, count)]
    show("dealt out by content, only the nearest shards asked", content)
    graph = [graphs(catalog, int(count)) for count in args.graph_shards.split(",") if count]
    if graph:
        show("a graph in every shard, all asked; latency of the slowest of 1, 8, 64, 512 shards in ms", graph)
    worst = max(abs(float(line["expected_recall"]) - float(line["measured_recall"])) for line in random)  # type: ignore[arg-type]
    print(f"\nexpected and measured recall differ by at most {worst:.4f}")
    line = {
        "benchmark": "shards",
        "items": args.items,
        "queries": len(catalog.queries),
        "dim": catalog.items.shape[1],
        "at_random": random,
        "by_content": content,
        "graphs": graph,
        "largest_difference": round(worst, 4),
        "peak_mb": round(peak_memory() / 2**20),
        "machine": processor(),
    }
    print(json.dumps(line))


if __name__ == "__main__":
    main()

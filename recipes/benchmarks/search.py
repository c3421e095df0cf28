"""Exact search as ratios to `torch.matmul` + `torch.topk`: speed and memory, in the same run, with the same results.

    python recipes/benchmarks/search.py [--items 10000,100000] [--queries 1000] [--rounds 5]

Plain torch holds the whole score matrix and picks any of several equal scores. Here scores are computed in blocks of
bounded size, equal ones come in the order of rows, and each query's seen items are left out; both must find the same
scores. Sides take turns; a ratio is the median over rounds; extra memory is what a search makes resident beyond the
embeddings and the queries. Half a minute on 2 cores. Approximate search is in `graph_search.py`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np
import torch
from measuring import Ratio, extra_memory, ratio_of, report, take_turns

from adapt.index import ExactIndex

DIM, K, SEEN = 256, 10, 20


def clustered(items: int, queries: int, dim: int = DIM) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors in clusters, as embeddings of real catalogs lie, and queries from the same clusters."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(max(8, items // 100), dim)).astype(np.float32)
    points = centres[rng.integers(len(centres), size=items + queries)]
    points += 0.8 * rng.normal(size=points.shape).astype(np.float32)
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    return points[:items], points[items:]


def seen_rows(items: int, queries: int, seen: int) -> list[np.ndarray]:
    """Rows that each query must not find."""
    return [np.random.default_rng(query).integers(items, size=seen) for query in range(queries)]


def plain_search(
    table: torch.Tensor, asked: torch.Tensor, hidden: list[np.ndarray] | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Scores and rows as two calls of torch give them."""
    scores = asked @ table.T
    if hidden is not None:
        places = np.repeat(np.arange(len(hidden)), [len(rows) for rows in hidden])
        scores[torch.from_numpy(places), torch.from_numpy(np.concatenate(hidden))] = -torch.inf
    found = scores.topk(K)
    return found.values, found.indices


def measure(items: int, queries: int, seen: int, rounds: int) -> tuple[Ratio, list[dict[str, object]]]:
    """One size, both sides."""
    points, wanted = clustered(items, queries)
    index = ExactIndex([str(row) for row in range(items)], points)
    table, asked = torch.from_numpy(points), torch.from_numpy(wanted)
    hidden = seen_rows(items, queries, seen) if seen else None
    ours, theirs = index.search(wanted, K, exclude=hidden), plain_search(table, asked, hidden)
    if not np.allclose(ours.scores, theirs[0].numpy(), atol=1e-5):
        raise SystemExit("expected the scores of torch, found others")
    runs: dict[str, Callable[[], object]] = {
        "adapt": lambda: index.search(wanted, K, exclude=hidden),
        "torch": lambda: plain_search(table, asked, hidden),
    }
    del ours, theirs
    seconds = take_turns(runs, rounds)
    what = f"exact search, {items:,} items, {queries:,} quer{'y' if queries == 1 else 'ies'}"
    what += f", {seen} seen" if seen else ""
    # A single query is latency, where blocks and seen items cost and save nothing: nothing is promised of it.
    bar = 1.0 if queries > 1 else None
    rows: list[dict[str, object]] = [
        {
            "search": what,
            "side": side,
            "queries_per_s": round(queries / float(np.median(seconds[side]))),
            "extra_mb": None if (memory := extra_memory(run)) is None else round(memory, 1),
        }
        for side, run in runs.items()
    ]
    return ratio_of(f"queries/s of {what} to torch matmul + topk", seconds["torch"], seconds["adapt"], bar), rows


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", default="10000,100000", help="sizes, separated by commas")
    parser.add_argument("--queries", type=int, default=1_000)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    ratios, rows = [], []
    for items in map(int, arguments.items.split(",")):
        for queries, seen in ((arguments.queries, 0), (arguments.queries, SEEN), (1, 0)):
            ratio, lines = measure(items, queries, seen, arguments.rounds if queries > 1 else 40)
            ratios.append(ratio)
            rows += lines
    report("search", ratios, rows, dim=DIM, k=K, threads=torch.get_num_threads())


if __name__ == "__main__":
    main()

"""What a catalog past one machine takes: the measured cost of each stage, carried on to its size, with the arithmetic.

    python recipes/benchmarks/plan.py [--items 100000000] [--users 1000000000] [--measured FILE]

Reads what `scale.py` measured (`results/full.json`, else `short.json`, or the output of `scale.py` itself). A stage
over items takes its processor time at the largest measured size times `(items / measured) ^ exponent`, with the fitted
exponent but at least 1: nothing is carried on to be cheaper. User states cost the same for every user. Answering users
is reckoned in three ways: scored against every item, by graphs that each hold one shard of the items, and by graphs
that each hold a million; a query of a graph grows by its fitted exponent, but with the logarithm of the items at least.
A graph is built for each shard. Core-hours are of the cores that were measured on; where the work is shared out by
shards, `n` cores take `core-hours / n` hours. Prints tables, and one line of JSON last.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from measuring import table
from results import read, results_file
from shards import K, expected_recall

OVER_ITEMS = ("read", "encode", "normalise", "embed", "index hnsw")
LINK_BYTES = 4
LINKS = 2 * 16  # of an item in the lowest layer of a graph, by the M that is built with
MILLION = 1_000_000
ID_BYTES, TIME_BYTES = 4, 8
LINE_BYTES = 34  # of a line of recommendations.csv


@dataclass(frozen=True)
class Measured:
    """The cost of one stage at the largest size that was measured.

    Attributes:
        items: of that size.
        cpu_seconds: processor time of all it went through.
        each: processor seconds of one item, user or step.
        exponent: of the time over the number of items.
    """

    items: int
    cpu_seconds: float
    each: float
    exponent: float

    def at(self, items: float) -> float:
        """Processor seconds of a stage over so many items.

        >>> Measured(1000, 10.0, 0.01, 1.0).at(10_000)
        100.0
        """
        return self.cpu_seconds * (items / self.items) ** max(1.0, self.exponent)

    def each_at(self, items: float) -> float:
        """Processor seconds of one query of a graph over so many items: it grows with their logarithm at the least.

        >>> round(Measured(1000, 1.0, 0.001, 0.4).each_at(1_000_000), 5)
        0.01585
        >>> round(Measured(1000, 1.0, 0.001, 0.0).each_at(1_000_000), 5)
        0.002
        """
        return self.each * max(math.log(items) / math.log(self.items), (items / self.items) ** self.exponent)


def stages_of(line: Mapping[str, Any]) -> dict[str, Measured]:
    """Stage -> its cost, from the line of `scale.py`."""
    slopes = {fit["stage"]: float(fit["by processor time"]) for fit in line["exponents"]}
    largest = max(row["items"] for row in line["rows"])
    found = {}
    for row in line["rows"]:
        if row["items"] == largest:
            cpu, counted = row["cpu_seconds"], row["seconds"] / max(row["ms_each"] / 1000, 1e-12)
            found[row["stage"]] = Measured(largest, cpu, cpu / max(counted, 1.0), slopes.get(row["stage"], 1.0))
    return found


def over_items(stages: Mapping[str, Measured], items: int, shard: int) -> list[dict[str, object]]:
    """Core-hours of what is done once for a catalog, its graph for each shard."""
    lines: list[dict[str, object]] = []
    for name in OVER_ITEMS:
        cost = stages[name]
        pieces = math.ceil(items / shard) if name == "index hnsw" else 1
        size = items / pieces
        power = max(1.0, cost.exponent)
        times = f"{pieces} x " if pieces > 1 else ""
        lines.append(
            {
                "stage": name,
                "CPU s at " + f"{cost.items:,}": round(cost.cpu_seconds, 1),
                "exponent": cost.exponent,
                "arithmetic": f"{times}{cost.cpu_seconds:.1f} s x {size / cost.items:g}^{power:g} / 3600",
                "core-hours": round(pieces * cost.at(size) / 3600, 1),
            }
        )
    return lines


def over_users(stages: Mapping[str, Measured], items: int, users: int, shard: int) -> list[dict[str, object]]:
    """Core-hours of what is done for every user, with three ways to search."""
    states, exact, graph = stages["user states"], stages["search exact"], stages["search hnsw"]
    lines: list[dict[str, object]] = [
        {
            "what": "user states",
            "arithmetic": f"{1000 * states.each:.3f} ms x users",
            "ms of CPU a user": round(1000 * states.each, 3),
            "core-hours": round(states.each * users / 3600, 1),
        }
    ]
    each = exact.each * items / exact.items
    ways = [("every item scored", f"{1000 * exact.each:.3f} ms x {items / exact.items:g}", each)]
    for size in dict.fromkeys((shard, MILLION)):
        if size > items:
            continue
        count = math.ceil(items / size)
        one = graph.each_at(size)
        ways.append((f"{count} graphs of {size:,}", f"{count} x {1000 * one:.3f} ms", one * count))
    for name, arithmetic, seconds in ways:
        lines.append(
            {
                "what": name,
                "arithmetic": f"{arithmetic} x users",
                "ms of CPU a user": round(1000 * seconds, 3),
                "core-hours": round(seconds * users / 3600, 1),
            }
        )
    return lines


def memory(items: int, users: int, dim: int, history: float) -> list[dict[str, object]]:
    """Gigabytes that have to lie somewhere."""
    each = {
        "embeddings, float32": (4 * dim, items),
        "embeddings, float16": (2 * dim, items),
        "embeddings, int8": (dim, items),
        "links of graphs": (LINK_BYTES * LINKS, items),
        "interactions, item and time": (round(history * (ID_BYTES + TIME_BYTES)), users),
        "recommendations.csv, 10 a user": (LINE_BYTES * K, users),
    }
    return [
        {"what": what, "bytes each": size, "GB": round(size * count / 1e9, 1)} for what, (size, count) in each.items()
    ]


def fan_out(items: int, shard: int) -> list[dict[str, object]]:
    """What the merge of shards loses by how many items each answers with."""
    count = math.ceil(items / shard)
    return [
        {
            "answers a shard": answers,
            "over-fetch": round(answers * count / K, 1),
            "recall of the merge": round(expected_recall(count, answers), 4),
            "bytes a query": answers * count * (8 + LINK_BYTES),
        }
        for answers in (1, 2, 3, 5, 10)
    ]


def scale_line(path: Path | None) -> dict[str, Any]:
    """The line of `scale.py` in results, or in its own output.

    Raises:
        SystemExit: there is none.
    """
    for place in [path] if path else [results_file(full=True), results_file(full=False)]:
        if not place.is_file():
            continue
        if place.suffix == ".json":
            lines: Sequence[Any] = (read(place) or {}).get("benchmarks", ())
        else:
            lines = [
                json.loads(line) for line in place.read_text(encoding="utf-8").splitlines() if line.startswith("{")
            ]
        for line in lines:
            if line.get("benchmark") == "scale":
                found: dict[str, Any] = line
                return found
    raise SystemExit("expected what scale.py measured, found nothing: run `python recipes/benchmarks/scale.py` first")


def main() -> None:
    """Reckon and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=100_000_000)
    parser.add_argument("--users", type=int, default=1_000_000_000)
    parser.add_argument("--shard-items", type=int, default=12_500_000, help="items of one machine's index")
    parser.add_argument("--dim", type=int, default=512, help="dimensions that the catalog uses")
    parser.add_argument("--history", type=float, default=10.0, help="interactions a user")
    parser.add_argument("--measured", type=Path, help="results of the benchmarks, or the output of scale.py")
    args = parser.parse_args()
    stages = stages_of(scale_line(args.measured))
    parts = {
        f"once for {args.items:,} items": over_items(stages, args.items, args.shard_items),
        f"for {args.users:,} users": over_users(stages, args.items, args.users, args.shard_items),
        "what has to lie somewhere": memory(args.items, args.users, args.dim, args.history),
        f"merging shards of {args.shard_items:,} items": fan_out(args.items, args.shard_items),
    }
    for title, lines in parts.items():
        print(f"\n{title}\n{table(lines)}")
    print(json.dumps({"benchmark": "plan", "items": args.items, "users": args.users, "parts": parts}))


if __name__ == "__main__":
    main()

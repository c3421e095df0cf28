#!/usr/bin/env python3
"""How long `adapt data check` takes, how much memory, and what pandas and pyarrow take to read the same files.

    python recipes/benchmarks/data_check.py [--full]

Data sets of `scale_data.py` with 10^3 to 10^5 items (`--full`: 10^6), ten times as many interactions, as CSV and as
parquet. Every measurement is a process of its own, and no import is on the clock; those of one size take turns, and the
best round counts. Beside ours stand

- pandas: both files read as text, the ids of users and items numbered, items found in the catalog, histories sorted by
  user and time. It makes no texts, and finds no fault but unknown items. Left out where pandas is not installed.
- pyarrow: both files read into memory, and nothing done with them.

A ratio is their time by ours, for the items and for the interactions: above 1 we are faster. Rows a second are those of
the whole, of the items, and of the interactions alone; the last also by processor second, which other work on the
machine changes less. The bars, at 10^6 items and 10^7 interactions on 2 cores: 3 minutes and 2,000 MB. Prints a table,
and one line of JSON last.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from scale_data import make

BAR_SECONDS, BAR_MB, BAR_ITEMS = 180.0, 2000.0, 1_000_000
FORMS = ("csv", "parquet")

# Linux keeps ru_maxrss across exec, so a child would report its parent's peak: VmHWM is its own.
_REPORT = """
import json, pathlib, resource, sys, time
def now():
    return time.perf_counter(), time.process_time()
def report(start, between, end, rows):
    status = pathlib.Path("/proc/self/status")
    if status.is_file():
        lines = status.read_text().splitlines()
        peak = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024
    else:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    items_s, interactions_s, cpu_s = between[0] - start[0], end[0] - between[0], end[1] - between[1]
    took = {"items_s": items_s, "interactions_s": interactions_s, "interactions_cpu_s": cpu_s}
    print(json.dumps({**took, "peak_mb": peak, "rows": rows}))
folder, form = pathlib.Path(sys.argv[1]), sys.argv[2]
items_file, events_file = folder / f"items.{form}", folder / f"interactions.{form}"
"""
_CHILDREN = {
    "adapt": """
import contextlib
import numpy, pyarrow.compute, pyarrow.csv, pyarrow.parquet
from adapt.data import check, items, load
from adapt.progress import Silent
from adapt.workflows.data_check import data_check
pyarrow.array([1])  # has pyarrow import pandas, where that is installed
class Clock(Silent):
    @contextlib.contextmanager
    def task(self, name, total, unit):
        self.started = now()
        yield lambda amount: None
clock = Clock()
start = now()
found = data_check(folder, progress=clock)
assert found.usable
report(start, clock.started, now(), [found.items, found.interactions])
""",
    "pandas": """
import numpy as np, pandas as pd, pyarrow.parquet
def read(path):
    if form == "csv":
        return pd.read_csv(path, dtype=str, keep_default_na=False)
    return pd.read_parquet(path)
start = now()
catalog = pd.Index(read(items_file)["item_id"])
assert catalog.is_unique
between = now()
rows = read(events_file)
users, names = pd.factorize(rows["user_id"])
codes, values = pd.factorize(rows["item_id"])
item = catalog.get_indexer(values)[codes]
when = rows["timestamp"].astype("int64").to_numpy()
order = np.lexsort((when, users))
histories = item[order], when[order], rows["rating"].astype("float32").to_numpy()[order]
lengths = np.bincount(users)
report(start, between, now(), [len(catalog), int((histories[0] >= 0).sum())])
""",
    "pyarrow": """
from pyarrow import csv, parquet
read = csv.read_csv if form == "csv" else parquet.read_table
start = now()
catalog = read(items_file)
between = now()
rows = read(events_file)
report(start, between, now(), [len(catalog), len(rows)])
""",
}


def measure(folder: Path, form: str, rounds: int) -> dict[str, dict[str, float]]:
    """The best round of each reader, which take turns."""
    readers = [name for name in _CHILDREN if name != "pandas" or importlib.util.find_spec("pandas")]
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in readers}
    for _ in range(rounds):
        for name in readers:
            command = [sys.executable, "-c", _REPORT + _CHILDREN[name], str(folder), form]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            found[name].append(json.loads(done.stdout))
    (rows,) = {tuple(one["rows"]) for rounds_of in found.values() for one in rounds_of}
    assert rows[1] == 10 * rows[0], rows
    keys = ("items_s", "interactions_s", "interactions_cpu_s", "peak_mb")
    return {name: {key: min(one[key] for one in several) for key in keys} for name, several in found.items()}


def compare(items: int, form: str, rounds: int) -> dict[str, Any]:
    """Make a data set and measure it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "shop"
        make(folder, items=items, interactions=10 * items, form=form)
        size = sum(path.stat().st_size for path in folder.iterdir()) / 1e6
        found = measure(folder, form, rounds)
    ours = found["adapt"]
    seconds = ours["items_s"] + ours["interactions_s"]
    others = {name: one for name, one in found.items() if name != "adapt"}
    ratios = {
        f"{part}_vs_{name}": round(one[f"{part}_s"] / ours[f"{part}_s"], 2)
        for name, one in others.items()
        for part in ("items", "interactions")
    }
    return {
        "items": items,
        "form": form,
        "size_mb": round(size, 1),
        "seconds": round(seconds, 3),
        "rows_per_s": round(11 * items / seconds),
        "items_per_s": round(items / ours["items_s"]),
        "interactions_per_s": round(10 * items / ours["interactions_s"]),
        "interactions_per_cpu_s": round(10 * items / ours["interactions_cpu_s"]),
        **{f"{name}_interactions_per_s": round(10 * items / one["interactions_s"]) for name, one in others.items()},
        **{f"{name}_peak_mb": round(one["peak_mb"]) for name, one in found.items()},
        **ratios,
    }


def exponent(rows: list[dict[str, Any]], form: str) -> float | None:
    """The slope of time over size on logarithmic scales, from 10^4 items on; None where there are fewer than two."""
    points = [(math.log(row["items"]), math.log(row["seconds"])) for row in rows if row["form"] == form]
    points = [point for point in points if point[0] >= math.log(10_000) - 1e-9]
    if len(points) < 2:
        return None
    middle = [sum(values) / len(points) for values in zip(*points, strict=True)]
    spread = sum((x - middle[0]) ** 2 for x, _ in points)
    return round(sum((x - middle[0]) * (y - middle[1]) for x, y in points) / spread, 2)


def ratio_lines(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The ratios to pandas of the largest data set that was measured, ready for JSON."""
    largest = max(row["items"] for row in rows)
    return [
        {
            "what": f"reading {unit} as {row['form']} to pandas, {largest:,} items",
            "ratio": row[f"{unit}_vs_pandas"],
        }
        for row in rows
        if row["items"] == largest
        for unit in ("items", "interactions")
        if f"{unit}_vs_pandas" in row
    ]


def main(arguments: list[str] | None = None) -> int:
    """Measure every size and form, and print what that took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="up to 10^6 items and 10^7 interactions: 10 minutes")
    parser.add_argument("--largest", type=int, default=100_000, help="number of items of the largest data set")
    parser.add_argument("--rounds", type=int, default=2)
    given = parser.parse_args(arguments)
    largest = BAR_ITEMS if given.full else given.largest
    began, rows = time.perf_counter(), []
    events = ("interactions_per_s", "interactions_per_cpu_s", "pandas_interactions_per_s")
    columns = ("items", "form", "seconds", "rows_per_s", "items_per_s", *events, "adapt_peak_mb", "pandas_peak_mb")
    ratios = ("items_vs_pandas", "interactions_vs_pandas", "items_vs_pyarrow", "interactions_vs_pyarrow")
    print("  ".join(f"{name.replace('interactions', 'events'):>19}" for name in (*columns, *ratios)))
    items = 1000
    while items <= largest:
        for form in FORMS:
            rows.append(compare(items, form, given.rounds))
            print("  ".join(f"{rows[-1].get(name, '-'):>19}" for name in (*columns, *ratios)), flush=True)
        items *= 10
    at_bar = [row for row in rows if row["items"] == BAR_ITEMS]
    passed = all(row["seconds"] < BAR_SECONDS and row["adapt_peak_mb"] < BAR_MB for row in at_bar)
    if at_bar:
        print(f"bars at 10^6 items: {BAR_SECONDS:.0f} s, {BAR_MB:,.0f} MB: {'met' if passed else 'NOT met'}")
    result = {"benchmark": "data_check", "rows": rows, "exponent": {form: exponent(rows, form) for form in FORMS}}
    result["ratios"] = ratio_lines(rows)
    facts = {"cores": os.cpu_count(), "machine": platform.machine(), "python": platform.python_version()}
    print(json.dumps({**result, **facts, "took_s": round(time.perf_counter() - began, 1), "passed": passed}))
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""How long `adapt data check` takes on a large interactions file, and how much memory.

    python recipes/benchmarks/data_check.py [--rows 1000000] [--quoted]

The file is made in a temporary folder: users and items drawn from long-tailed distributions, ISO timestamps, and one
row in ten thousand with an item that is not in the catalog. `--quoted` puts every field in quotes, which takes the
exact reader. On 2 cores: about 3 s and 400 MB, quoted or not; the bar is 20 s and 1,500 MB.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ITEMS = 50_000
BAR_SECONDS, BAR_MB = 20.0, 1500.0
# Linux keeps ru_maxrss across exec, so a child would report its parent's peak: VmHWM is its own.
_CHILD = """
import json, pathlib, resource, sys, time
start = time.perf_counter()
from adapt.workflows.data_check import data_check
report = data_check(sys.argv[1])
seconds = time.perf_counter() - start
status = pathlib.Path("/proc/self/status")
if status.is_file():
    peak = next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM")) / 1024
else:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
facts = {"items": report.items, "users": report.users, "interactions": report.interactions, "usable": report.usable}
print(json.dumps({**facts, "seconds": round(seconds, 2), "peak_mb": round(peak, 1)}))
"""


def make(folder: Path, rows: int, quoting: int) -> None:
    """Write items.csv and interactions.csv."""
    random = np.random.default_rng(0)
    with (folder / "items.csv").open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle, quoting=quoting)
        writer.writerow(["item_id", "title", "category"])
        writer.writerows([f"{item:09d}", f"Thing number {item}", f"Shelf {item % 97}"] for item in range(ITEMS))
    items = (ITEMS * random.power(0.4, rows)).astype(np.int64)
    items[random.integers(rows, size=max(1, rows // 10_000))] += 10 * ITEMS
    users = (rows / 12 * random.power(0.7, rows)).astype(np.int64)
    moments = np.datetime64("2020-01-01T00:00:00") + random.integers(0, 100_000_000, rows).astype("timedelta64[s]")
    ratings = random.integers(1, 6, rows)
    with (folder / "interactions.csv").open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle, quoting=quoting)
        writer.writerow(["user_id", "item_id", "timestamp", "rating"])
        columns = (users.tolist(), items.tolist(), moments.astype(str).tolist(), ratings.tolist())
        writer.writerows(
            [f"u{user}", f"{item:09d}", f"{moment}Z", rating]
            for user, item, moment, rating in zip(*columns, strict=True)
        )


def main() -> int:
    """Make the file, check it in a process of its own, and print what that took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--quoted", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        start = time.perf_counter()
        make(folder, arguments.rows, csv.QUOTE_ALL if arguments.quoted else csv.QUOTE_MINIMAL)
        made = time.perf_counter() - start
        size = (folder / "interactions.csv").stat().st_size / 1e6
        command = [sys.executable, "-c", _CHILD, str(folder)]
        result = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    result = {"benchmark": "data_check", "rows": arguments.rows, "quoted": arguments.quoted, **result}
    result["cores"] = os.cpu_count()
    result["passed"] = result["seconds"] < BAR_SECONDS and result["peak_mb"] < BAR_MB
    print(f"data check of {arguments.rows:,} interactions ({size:.0f} MB, made in {made:.1f} s)")
    for label, value, bar in (("seconds", result["seconds"], BAR_SECONDS), ("peak MB", result["peak_mb"], BAR_MB)):
        print(f"  {label:<10}{value:>10,.1f}   bar {bar:,.0f}")
    print(json.dumps(result))
    return 0 if result["passed"] else 1


if __name__ == "__main__":
    sys.exit(main())

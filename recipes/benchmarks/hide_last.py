"""Hide each user's last item, so that a `recommendations.csv` can be scored by any program, and time the command.

    python recipes/benchmarks/hide_last.py --data DIR --output OUT

Writes OUT/data (the data set without the hidden events), OUT/test.csv and OUT/train.csv (`user_id,item_id`), runs
`adapt zero-shot` on it twice, with an empty cache and again with what the first run left in it, and prints the seconds
and peak memory of both, as a line and as JSON. OUT/results holds what the command wrote.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from adapt import load_dataset


def write_rows(path: Path, header: list[str], rows: list[list[str]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle)
        writer.writerow(header)
        writer.writerows(rows)


def split(source: Path, output: Path) -> int:
    """Write the data set without each user's last item; returns the number of users whose item was hidden."""
    data = load_dataset(source)
    assert data.interactions is not None, f"{source} has no interactions"
    ids, known, hidden = data.catalog.ids, [], []
    for number, user in enumerate(data.interactions.user_ids):
        history = [ids[row] for row in data.interactions.history(number)]
        keep = history[:-1] if len(history) > 1 else history
        known += [[user, item, str(place)] for place, item in enumerate(keep)]
        hidden += [[user, history[-1]]] if len(history) > 1 else []
    folder = output / "data"
    folder.mkdir(parents=True)
    shutil.copy(source / "items.csv", folder / "items.csv")
    if (source / "images").is_dir():
        shutil.copytree(source / "images", folder / "images")
    write_rows(folder / "interactions.csv", ["user_id", "item_id", "timestamp"], known)
    write_rows(output / "train.csv", ["user_id", "item_id"], [row[:2] for row in known])
    write_rows(output / "test.csv", ["user_id", "item_id"], hidden)
    return len(hidden)


def timed(output: Path, cache: str) -> float:
    """Seconds of one run of the command."""
    started = time.monotonic()
    command = [sys.executable, "-m", "adapt", "zero-shot", "--dataset", str(output / "data"), "--k", "50"]
    subprocess.run(
        [*command, "--output", str(output / "results")],
        env={**os.environ, "ADAPT_CACHE": cache},
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return time.monotonic() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args()
    users = split(args.data, args.output)
    with tempfile.TemporaryDirectory() as cache:
        cold = timed(args.output, cache)
        warm = timed(args.output, cache)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(f"{args.data.name}: {users:,} users, cold cache {cold:.1f} s, warm {warm:.1f} s, peak {peak:,.0f} MB")
    print(
        json.dumps(
            {
                "benchmark": "hide_last",
                "data": args.data.name,
                "users": users,
                "cold_s": round(cold, 1),
                "warm_s": round(warm, 1),
                "peak_mb": round(peak),
            }
        )
    )


if __name__ == "__main__":
    main()

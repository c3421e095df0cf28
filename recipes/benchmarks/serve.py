"""`adapt serve` under load: latency at a steady rate, most requests a second, reads beside changes, memory over time.

    python recipes/benchmarks/serve.py --data FOLDER [--index FOLDER] [--seconds 20] [--workers N] [--soak MINUTES]

The real command is started over a copy of the index of a data set with interactions (built where none is given), and
asked over loopback by two load generators that Debian packages: `hey` for a steady rate (one process a history, each
asking ten times a second, so that requests neither come in bursts nor are all the same) and `wrk` for as many requests
as 32 connections get answered. Histories are the last ten items of the data set's users. Reads with and without ten
added items a second take turns; generators and service share the machine. Prints what the generators print, a table,
and one line of JSON last. Memory over time (`--soak`) is measured while 8 connections ask without pause, items come and
go, and events are recorded.
"""

from __future__ import annotations

import argparse
import csv
import http.client
import io
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import numpy as np

from adapt import load_dataset
from adapt.data.load import Dataset
from adapt.machine import processor

K, LENGTH, RATE, CONNECTIONS, ADDS = 10, 10, 100, 32, 10
BARS = {"p50_ms": 8.0, "p99_ms": 40.0, "requests_per_s": 300.0, "p99_ratio": 2.0, "growth": 0.05}
JSON = {"Content-Type": "application/json"}
LUA = """
local bodies, next = {}, 0
function init(arguments)
  for line in io.lines(arguments[1]) do bodies[#bodies + 1] = line end
end
function request()
  next = next % #bodies + 1
  return wrk.format("POST", "/v1/recommend", {["Content-Type"] = "application/json"}, bodies[next])
end
function done(summary, latency)
  local errors = summary.errors
  local failed = errors.connect + errors.read + errors.write + errors.status + errors.timeout
  io.write(string.format("figures %d %d %d %d %d\\n", summary.requests, summary.duration, failed,
    latency:percentile(50), latency:percentile(99)))
end
"""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="a data set with interactions")
    parser.add_argument("--index", type=Path, default=None, help="its index; without it one is built")
    parser.add_argument("--seconds", type=int, default=20, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=3, help="of reads with and without changes")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--soak", type=float, default=0.0, help="minutes")
    options = parser.parse_args()
    for program in ("wrk", "hey"):
        if shutil.which(program) is None:
            sys.exit(f"expected the load generator {program}, found none: apt-get install {program}")
    dataset = load_dataset(options.data)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        histories = write_bodies(dataset, folder / "bodies.txt")
        (folder / "ask.lua").write_text(LUA, encoding="utf-8")
        with serving(options, folder) as (url, started):
            found: dict[str, Any] = {"benchmark": "serve", "data": options.data.name, "items": len(dataset.catalog)}
            found |= {"workers": options.workers, "histories": histories, "started_s": round(started, 1)}
            hammer(url, folder, CONNECTIONS, 3, quiet=True)  # everything is loaded and every page of the index touched
            found |= steady_and_changing(url, folder, dataset, options)
            found |= {"most": hammer(url, folder, CONNECTIONS, options.seconds)}
            if options.soak:
                found |= {"soak": soak(url, folder, dataset, options.soak)}
    print_table(found)
    found |= {"machine": processor(), "python": platform.python_version(), "load_before": round(os.getloadavg()[2], 2)}
    print(json.dumps(found))


def write_bodies(dataset: Dataset, path: Path) -> int:
    """Requests with the latest items of up to 1,000 users who have enough of them, a line each; how many."""
    assert dataset.interactions is not None
    users = np.random.default_rng(0).permutation(dataset.interactions.n_users)
    lines: list[str] = []
    for user in users.tolist():
        rows = dataset.interactions.history(user)[-LENGTH:]
        if len(rows) == LENGTH:
            lines.append(json.dumps({"history": [dataset.catalog.ids[row] for row in rows], "k": K}))
        if len(lines) == 1_000:
            break
    if not lines:
        sys.exit(f"expected users with at least {LENGTH} interactions, found none in {dataset.name}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return len(lines)


@contextmanager
def serving(options: argparse.Namespace, folder: Path) -> Iterator[tuple[str, float]]:
    """The command in a process of its own: its URL, and the seconds until it was ready."""
    index = folder / "index"
    adapt = [sys.executable, "-m", "adapt"]
    if options.index is None:
        command = [*adapt, "index", "build", "--dataset", str(options.data), "--output", str(index)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    else:
        shutil.copytree(options.index, index)
    command = [*adapt, "serve", "--index", str(index), "--dataset", str(options.data), "--port", "0"]
    start = time.perf_counter()
    process = subprocess.Popen([*command, "--workers", str(options.workers)], stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        for line in process.stderr:
            if ready := re.search(r"ready: (http://\S+)", line):
                break
            print(line, end="", file=sys.stderr)
        else:
            sys.exit("expected the service to start, found that it ended")
        threading.Thread(target=shutil.copyfileobj, args=(process.stderr, sys.stderr), daemon=True).start()
        yield ready[1], time.perf_counter() - start
    finally:
        process.terminate()
        process.wait(60)


def steady_and_changing(url: str, folder: Path, dataset: Dataset, options: argparse.Namespace) -> dict[str, Any]:
    """Latency at the steady rate, without and with added items, in turns."""
    rounds: dict[str, list[dict[str, Any]]] = {"steady": [], "changing": []}
    for number in range(options.rounds):
        rounds["steady"].append(at_rate(url, folder, options.seconds))
        with changing(url, added_items(dataset, f"round {number}"), ADDS) as done:
            rounds["changing"].append(at_rate(url, folder, options.seconds))
        rounds["changing"][-1] |= done.figures()
    for name, several in rounds.items():
        for number, figures in enumerate(several):
            print(f"hey, {name}, round {number}: {figures}")
    middle = {
        name: sorted(several, key=lambda one: float(one["p99_ms"]))[len(several) // 2]
        for name, several in rounds.items()
    }
    ratios = sorted(
        with_adds["p99_ms"] / without["p99_ms"]
        for without, with_adds in zip(rounds["steady"], rounds["changing"], strict=True)
    )
    return {
        **middle,
        "p99_ratio": round(ratios[len(ratios) // 2], 2),
        "p99_ratios": [round(ratio, 2) for ratio in ratios],
    }


def at_rate(url: str, folder: Path, seconds: int) -> dict[str, Any]:
    """Latencies of a steady rate, by processes of `hey` that ask ten times a second each."""
    bodies = (folder / "bodies.txt").read_text(encoding="utf-8").splitlines()
    processes = []
    for number in range(RATE // 10):
        file = folder / f"body {number}.json"
        file.write_text(bodies[number % len(bodies)], encoding="utf-8")
        command = ["hey", "-z", f"{seconds}s", "-c", "1", "-q", "10", "-m", "POST", "-T", JSON["Content-Type"]]
        command += ["-D", str(file), "-o", "csv", f"{url}/v1/recommend"]
        processes.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        time.sleep(0.1 * 10 / RATE)  # so that not all of them ask at the same moment
    rows = [row for process in processes for row in csv.DictReader(io.StringIO(process.communicate()[0]))]
    taken = 1e3 * np.array([float(row["response-time"]) for row in rows])
    return {
        "requests": len(rows),
        "rate": round(len(rows) / seconds, 1),
        "failed": sum(row["status-code"] != "200" for row in rows),
        **{f"p{part}_ms": round(float(np.percentile(taken, part)), 2) for part in (50, 90, 99)},
    }


def hammer(url: str, folder: Path, connections: int, seconds: int, *, quiet: bool = False) -> dict[str, Any]:
    """As many requests as so many connections get answered, by `wrk`."""
    command = [
        "wrk",
        "-t",
        "1",
        "-c",
        str(connections),
        "-d",
        f"{seconds}s",
        "--latency",
        "-s",
        str(folder / "ask.lua"),
    ]
    text = subprocess.run(
        [*command, url, "--", str(folder / "bodies.txt")], check=True, capture_output=True, text=True
    ).stdout
    if not quiet:
        print(text)
    figures = re.search(r"figures (\d+) (\d+) (\d+) (\d+) (\d+)", text)
    assert figures is not None, text
    requests, duration, failed, p50, p99 = map(int, figures.groups())
    return {
        "connections": connections,
        "requests": requests,
        "failed": failed,
        "requests_per_s": round(requests / (duration / 1e6), 1),
        "p50_ms": p50 / 1e3,
        "p99_ms": p99 / 1e3,
    }


@dataclass
class Changes:
    """What was changed beside the reads."""

    seconds: list[float] = field(default_factory=list)
    failed: int = 0
    started: float = field(default_factory=time.perf_counter)

    def figures(self) -> dict[str, Any]:
        """Adds a second and their latency."""
        rate = len(self.seconds) / (time.perf_counter() - self.started)
        median = round(1e3 * float(np.median(self.seconds)), 1) if self.seconds else None
        return {"adds_per_s": round(rate, 1), "add_p50_ms": median, "adds_failed": self.failed}


@contextmanager
def changing(url: str, requests: Callable[[], tuple[str, str, Any]], rate: float) -> Iterator[Changes]:
    """So many changes a second, one after another, by a thread of this program."""
    done, stop = Changes(), threading.Event()

    def work() -> None:
        connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
        number = 0
        while not stop.wait(max(0.0, done.started + number / rate - time.perf_counter())):
            method, path, body = requests()
            start = time.perf_counter()
            connection.request(method, path, json.dumps(body) if body is not None else None, JSON)
            answer = connection.getresponse()
            answer.read()
            done.seconds.append(time.perf_counter() - start)
            done.failed += answer.status != 200
            number += 1
        connection.close()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield done
    finally:
        stop.set()
        thread.join()


def added_items(dataset: Dataset, prefix: str) -> Callable[[], tuple[str, str, Any]]:
    """One new item after another, with the texts of those that are there."""
    titles, number = dataset.catalog.titles, 0

    def request() -> tuple[str, str, Any]:
        nonlocal number
        number += 1
        return "PUT", f"/v1/items/{quote(f'{prefix} {number}')}", {"title": f"{titles[number % len(titles)]} {number}"}

    return request


def soaked(dataset: Dataset) -> Callable[[], tuple[str, str, Any]]:
    """An item is added, an event recorded, the item removed: over and over, so that the catalog stays as it is."""
    ids, step = dataset.catalog.ids, 0

    def request() -> tuple[str, str, Any]:
        nonlocal step
        step += 1
        if step % 3 == 1:
            return "PUT", "/v1/items/passing", {"title": f"passing {step}"}
        if step % 3 == 2:
            return "POST", "/v1/events", {"user_id": f"soak {step % 50}", "item_id": ids[step % len(ids)]}
        return "DELETE", "/v1/items/passing", None

    return request


def soak(url: str, folder: Path, dataset: Dataset, minutes: float) -> dict[str, Any]:
    """Resident memory of the service, every ten seconds, while it is asked without pause."""
    samples: list[tuple[float, float]] = []
    start = time.perf_counter()
    with changing(url, soaked(dataset), 6) as done:
        while (passed := time.perf_counter() - start) < 60 * minutes:
            hammer(url, folder, 8, 10, quiet=True)
            samples.append((passed + 10, resident(url)))
    settled = [size for at, size in samples if at >= 6 * minutes]  # the first tenth fills caches
    edge = max(1, len(settled) // 10)
    before, after = float(np.median(settled[:edge])), float(np.median(settled[-edge:]))
    for at, size in samples[:: max(1, len(samples) // 30)]:
        print(f"{at / 60:6.1f} min {size / 1e6:8.1f} MB")
    return {
        "minutes": minutes,
        "start_mb": round(before / 1e6, 1),
        "end_mb": round(after / 1e6, 1),
        "peak_mb": round(max(size for _, size in samples) / 1e6, 1),
        "growth": round(after / before - 1, 4),
        "changes": len(done.seconds),
        "changes_failed": done.failed,
    }


def resident(url: str) -> float:
    """Bytes that the service holds, by its own metrics."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()
    found = re.search(r"^adapt_memory_bytes (\S+)$", text, re.MULTILINE)
    assert found is not None
    return float(found[1])


def print_table(found: dict[str, Any]) -> None:
    """What was measured beside its bar."""
    steady, changed, most = found["steady"], found["changing"], found["most"]
    rows: list[tuple[str, Any, str]] = [
        (f"p50 at {RATE} requests/s, ms", steady["p50_ms"], f"< {BARS['p50_ms']:g}"),
        (f"p99 at {RATE} requests/s, ms", steady["p99_ms"], f"< {BARS['p99_ms']:g}"),
        ("requests/s that were sent", steady["rate"], f"{RATE}"),
        (f"requests/s by {CONNECTIONS} connections", most["requests_per_s"], f">= {BARS['requests_per_s']:g}"),
        (f"p99 with {changed['adds_per_s']} adds/s, ms", changed["p99_ms"], ""),
        ("ratio of p99 with adds to without", found["p99_ratio"], f"<= {BARS['p99_ratio']:g}"),
        ("failed requests", steady["failed"] + changed["failed"] + most["failed"], "0"),
    ]
    if "soak" in found:
        rows.append(
            (f"growth of memory in {found['soak']['minutes']:g} min", found["soak"]["growth"], f"<= {BARS['growth']:g}")
        )
    for name, value, bar in rows:
        print(f"{name:40} {value:>10} {bar:>10}")


if __name__ == "__main__":
    main()

"""Run the benchmarks one after another, keep what they found, and compare it with the last committed results.

    python recipes/benchmarks/run_all.py [--full] [--only NAME ...] [--list] [--output FILE]

Every benchmark is a program of this folder that prints tables for people and a line of JSON; both are shown, and the
lines are collected in `results/short.json` (or `full.json`) with processor, versions, date and commit. A benchmark that
needs real data (`ADAPT_DATA`: the folder that holds the data sets) or another program runs where that is there and is
named as skipped where it is not. Seconds differ from machine to machine; the ratios are what is compared.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from guard import told
from measuring import table
from results import commit, read_committed, results_file

from adapt.files import write_json
from adapt.machine import processor, versions

HERE = Path(__file__).resolve().parent
RIVALS = ("sentence-transformers", "torchvision", "faiss-cpu", "usearch", "onnxruntime", "openvino", "pandas")


@dataclass(frozen=True)
class Benchmark:
    """One program with its arguments.

    Attributes:
        script: file of this folder.
        short: arguments of a short run; None: only in a full one.
        full: arguments of a full run; None: as the short one.
        data: the data set of real data that ``{data}`` in the arguments stands for; empty: needs none.
        programs: other programs it needs.
        modules: libraries it needs.
    """

    script: str
    short: tuple[str, ...] | None = ()
    full: tuple[str, ...] | None = None
    data: str = ""
    programs: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Script, and the data set if there is one."""
        stem = self.script.removesuffix(".py")
        return f"{stem}:{self.data}" if self.data else stem

    def arguments(self, full: bool) -> tuple[str, ...] | None:
        """Of a short or of a full run; None where it takes no part."""
        return self.full if full and self.full is not None else self.short if self.short is not None or full else None


TARGETS = ("amazon_beauty_2014", "amazon_industrial_2018", "ml100k")
BENCHMARKS = (
    Benchmark("data_check.py", ("--largest", "10000"), full=("--full",)),
    Benchmark("encode_texts.py", full=("--texts", "4096")),
    Benchmark("encode_images.py", ("--images", "160"), full=("--images", "512")),
    Benchmark("encode_precision.py", full=("--texts", "2048")),
    Benchmark("search.py", full=("--rounds", "15")),
    Benchmark("graph_search.py", full=("--items", "100000", "--builds", "3")),
    Benchmark("index.py", ("--items", "20000"), full=("--items", "50000")),
    Benchmark("pretrain.py", ("--quick", "--rounds", "2"), full=()),
    Benchmark("bad_input.py"),
    Benchmark("shards.py", None, full=()),
    Benchmark("scale.py", ("--sizes", "1000", "10000"), full=("--full",)),
    Benchmark("milvus.py", None, full=(), modules=("pymilvus", "milvus_lite")),
    *(Benchmark("transfer.py", None, ("--minilm", "--data", "{data}"), data=name) for name in TARGETS),
    *(Benchmark("few_shot.py", None, ("--data", "{data}"), data=name) for name in TARGETS),
    *(Benchmark("finetune.py", None, ("--data", "{data}"), data=name) for name in TARGETS),
    Benchmark("index.py", None, ("--data", "{data}"), data="amazon_beauty_2014"),
    Benchmark("crossmodal.py", None, ("--data", "{data}"), data="fashion_catalog"),
    Benchmark("serve.py", ("--data", "{data}", "--seconds", "5", "--rounds", "1"), ("--data", "{data}"),
              data="amazon_beauty_2014", programs=("wrk", "hey")),
)  # fmt: skip


@dataclass(frozen=True)
class Outcome:
    """What became of one benchmark.

    Attributes:
        name: of the benchmark.
        state: ``done``, ``failed`` or ``skipped``.
        why: of a failure or a skip.
        seconds: it took.
        lines: of JSON.
    """

    name: str
    state: str
    why: str = ""
    seconds: float = 0.0
    lines: tuple[dict[str, Any], ...] = ()


def lacks(benchmark: Benchmark, data: str | None) -> str:
    """What a benchmark needs and does not find; empty where it can run.

    Args:
        benchmark: to be run.
        data: the folder of real data sets; None: there is none.
    """
    if not (HERE / benchmark.script).is_file():
        return f"there is no {benchmark.script}"
    if benchmark.data and not data:
        return "set ADAPT_DATA to the folder of the real data sets"
    if benchmark.data and not (Path(str(data)) / benchmark.data).is_dir():
        return f"ADAPT_DATA holds no {benchmark.data}"
    absent = [program for program in benchmark.programs if shutil.which(program) is None]
    if absent:
        return f"{' and '.join(absent)} not found on the PATH"
    absent = [module for module in benchmark.modules if importlib.util.find_spec(module) is None]
    return f"{' and '.join(absent)} not installed" if absent else ""


def json_lines(output: str) -> tuple[dict[str, Any], ...]:
    """The lines of JSON that name a benchmark, among what people read.

    >>> json_lines('a table' + chr(10) + '{"benchmark": "search"}' + chr(10) + '{"other": 1}')
    ({'benchmark': 'search'},)
    """
    found = []
    for line in output.splitlines():
        if line.startswith("{"):
            try:
                value = json.loads(line)
            except ValueError:
                continue
            if "benchmark" in value:
                found.append(value)
    return tuple(found)


def run(benchmark: Benchmark, arguments: Sequence[str], data: str | None) -> Outcome:
    """One benchmark in a process of its own; what it prints is shown as it comes."""
    filled = [part.format(data=Path(data or "") / benchmark.data) for part in arguments]
    command = [sys.executable, "-u", str(HERE / benchmark.script), *filled]
    print(f"\n== {benchmark.name} {' '.join(filled)}", flush=True)
    started = time.monotonic()
    printed = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            printed.append(line)
            print(line, end="", flush=True)
    seconds = time.monotonic() - started
    lines = json_lines("".join(printed))
    if process.returncode:
        return Outcome(benchmark.name, "failed", f"it ended with {process.returncode}", seconds, lines)
    return Outcome(benchmark.name, "done", "", seconds, lines)


def run_all(chosen: Sequence[Benchmark], full: bool, data: str | None) -> list[Outcome]:
    """Every benchmark that takes part, in turn."""
    outcomes = []
    for benchmark in chosen:
        arguments = benchmark.arguments(full)
        if arguments is None:
            outcomes.append(Outcome(benchmark.name, "skipped", "takes long: FULL=1 runs it"))
        elif why := lacks(benchmark, data):
            outcomes.append(Outcome(benchmark.name, "skipped", why))
        else:
            outcomes.append(run(benchmark, arguments, data))
    return outcomes


def collected(outcomes: Sequence[Outcome], full: bool) -> dict[str, Any]:
    """The results file."""
    rivals = {}
    for name in RIVALS:
        try:
            rivals[name] = version(name)
        except PackageNotFoundError:
            rivals[name] = "not installed"
    return {
        "mode": "full" if full else "short",
        "date": datetime.now(timezone.utc).isoformat(timespec="minutes"),
        "commit": commit(),
        "machine": processor(),
        "load": round(os.getloadavg()[2], 2),
        "versions": {**versions(), **rivals},
        "benchmarks": [line for outcome in outcomes for line in outcome.lines],
        "not_run": {outcome.name: outcome.why for outcome in outcomes if outcome.state != "done"},
    }


def main() -> int:
    """Run, write and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="all of them at full size: an hour and more")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="some; nothing is written without --output")
    parser.add_argument("--list", action="store_true", help="names only")
    parser.add_argument("--output", type=Path, help="where the results go")
    arguments = parser.parse_args()
    names = [benchmark.name for benchmark in BENCHMARKS]
    if arguments.list:
        print("\n".join(names))
        return 0
    if unknown := set(arguments.only or ()) - set(names):
        parser.error(f"expected names of --list, found {', '.join(sorted(unknown))}")
    chosen = [benchmark for benchmark in BENCHMARKS if not arguments.only or benchmark.name in arguments.only]
    outcomes = run_all(chosen, arguments.full, os.environ.get("ADAPT_DATA"))
    results = collected(outcomes, arguments.full)
    file = results_file(arguments.full)
    output = arguments.output or (None if arguments.only else file)
    print(f"\n{summary(outcomes)}\n")
    if (old := read_committed(file)) is not None and not arguments.only:
        print(told(old, results) + "\n")
    if output is not None:
        output.parent.mkdir(parents=True, exist_ok=True)
        write_json(output, results)
        print(f"results written: {output}; `make bench-readme` puts the ratios of short runs into the README")
    return int(any(outcome.state == "failed" for outcome in outcomes))


def summary(outcomes: Sequence[Outcome]) -> str:
    """What ran, what did not, and why."""
    return table(
        [
            {
                "benchmark": outcome.name,
                "": outcome.state,
                "s": round(outcome.seconds) if outcome.seconds else None,
                "why": outcome.why,
            }
            for outcome in outcomes
        ]
    )


if __name__ == "__main__":
    sys.exit(main())

"""Results of the benchmarks on disk: where they lie, what they hold, and the ratios in them."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent / "results"
ROOT = FOLDER.parent.parent.parent


def results_file(full: bool) -> Path:
    """The file of short or of full runs; each run of all benchmarks replaces it, and git keeps the older ones."""
    return FOLDER / ("full.json" if full else "short.json")


def ratios_of(results: Mapping[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    """(benchmark, what) -> ratio, in the order of the results.

    >>> ratios_of({"benchmarks": [{"benchmark": "a", "ratios": [{"what": "x", "ratio": 2.0}]}, {"benchmark": "b"}]})
    {('a', 'x'): {'what': 'x', 'ratio': 2.0}}
    """
    return {
        (line["benchmark"], ratio["what"]): ratio for line in results["benchmarks"] for ratio in line.get("ratios", ())
    }


def read(path: Path) -> dict[str, Any] | None:
    """Results as they lie on disk; None where there are none."""
    if not path.is_file():
        return None
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def read_committed(path: Path) -> dict[str, Any] | None:
    """Results as they were last committed; None where they never were, or where there is no git."""
    try:
        name = path.resolve().relative_to(ROOT)
        done = subprocess.run(
            ["git", "show", f"HEAD:{name.as_posix()}"], cwd=ROOT, capture_output=True, text=True, check=True
        )
    except (OSError, ValueError, subprocess.CalledProcessError):
        return None
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def commit() -> str:
    """The commit that is checked out, with a plus where tracked files differ from it; empty without git."""
    try:
        name = subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout.strip()
        changed = subprocess.run(
            ["git", "status", "--porcelain", "--untracked-files=no", "--", ".", ":!recipes/benchmarks/results"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""
    return name + ("+" if changed else "")

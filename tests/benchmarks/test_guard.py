"""The guard compares ratios with older ones, and says what is worse, better, gone and new."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.benchmarks.conftest import FOLDER

Find = Callable[[str], ModuleType]


def results(machine: str = "a processor", **ratios: float | dict[str, float]) -> dict[str, Any]:
    """Made-up results of one benchmark."""
    lines = [
        {"what": what, **(found if isinstance(found, dict) else {"ratio": found})} for what, found in ratios.items()
    ]
    benchmarks = [{"benchmark": "made up", "ratios": lines}, {"benchmark": "without ratios", "seconds": 3}]
    return {"date": "2026-01-02T03:04", "commit": "abc", "machine": machine, "benchmarks": benchmarks}


@pytest.mark.parametrize(
    ("then", "now", "state"),
    [(2.0, 1.6, "worse"), (2.0, 1.75, "steady"), (2.0, 2.3, "steady"), (2.0, 2.4, "better"), (1.0, 1.0, "steady")],
)
def test_a_change_counts_beyond_the_tolerance(benchmark_module: Find, then: float, now: float, state: str) -> None:
    (change,) = benchmark_module("guard").compare(results(x=then), results(x=now), tolerance=0.15)
    assert (change.what, change.then, change.now, change.state) == ("x", then, now, state)
    assert change.change == pytest.approx(now / then - 1)


def test_less_is_better_where_a_ratio_promises_to_be_at_most_something(benchmark_module: Find) -> None:
    def growth(ratio: float) -> dict[str, Any]:
        return results(x={"ratio": ratio, "at_most": 1.5})

    compare = benchmark_module("guard").compare
    assert compare(growth(1.1), growth(1.4))[0].state == "worse"
    assert compare(growth(1.4), growth(1.1))[0].state == "better"


def test_what_is_gone_and_what_is_new_are_named(benchmark_module: Find) -> None:
    guard = benchmark_module("guard")
    old, new = results(kept=1.0, gone=3.0), results(kept=1.0, added=2.0)
    assert {change.what: change.state for change in guard.compare(old, new)} == {
        "kept": "steady",
        "gone": "missing",
        "added": "new",
    }
    said = guard.told(old, new)
    assert "1 measured before and not now" in said
    assert "worse than before" not in said


def test_the_words_give_both_ratios_the_tolerance_and_another_machine(benchmark_module: Find) -> None:
    guard = benchmark_module("guard")
    said = guard.told(results(search=2.0), results("another one", search=1.0), tolerance=0.2)
    assert "20%" in said
    assert "2026-01-02T03:04 (abc)" in said
    assert "another machine (a processor)" in said
    row = next(line for line in said.splitlines() if "search" in line)
    assert row.split()[-4:] == ["2.00", "1.00", "-50%", "WORSE"]
    assert "WARNING: 1 worse than before." in said
    assert "Nothing is worse than before." in guard.told(results(search=2.0), results(search=2.0))


def test_the_command_warns_and_succeeds(tmp_path: Path) -> None:
    for name, value in (("old", 2.0), ("new", 1.0)):
        (tmp_path / f"{name}.json").write_text(json.dumps(results(search=value)))
    command = [sys.executable, str(FOLDER / "guard.py"), str(tmp_path / "new.json")]
    done = subprocess.run(
        [*command, "--against", str(tmp_path / "old.json")], capture_output=True, text=True, check=True
    )
    assert "WARNING: 1 worse" in done.stdout
    never_committed = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "no older results" in never_committed.stdout

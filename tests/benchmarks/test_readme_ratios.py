"""The README's ratios are those of the committed results file, and of nothing else."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from tests.benchmarks.conftest import FOLDER

Find = Callable[[str], ModuleType]
RESULTS: dict[str, Any] = {
    "date": "2026-01-02T03:04",
    "commit": "abc",
    "machine": "a processor, 2 cores",
    "benchmarks": [
        {
            "benchmark": "search",
            "ratios": [
                {"what": "fast to slow", "ratio": 1.234, "quartiles": [1.1, 1.3], "at_least": 1.5, "met": False},
                {"what": "large to small", "ratio": 1.1, "at_most": 1.5, "met": True},
            ],
            "not_measured": {"usearch": "it is not installed"},
        }
    ],
}


def test_the_readme_has_the_ratios_of_the_results_file() -> None:
    done = subprocess.run(
        [sys.executable, str(FOLDER / "readme_ratios.py"), "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_ratios_bars_machine_and_gaps_are_written(benchmark_module: Find) -> None:
    said = benchmark_module("readme_ratios").section(RESULTS)
    assert "| fast to slow | 1.23 (1.10 to 1.30) | 1.5, missed |" in said
    assert "| large to small | 1.10 | at most 1.5 |" in said
    assert "a processor, 2 cores, 2026-01-02, commit abc" in said
    assert "Not measured: usearch (search)" in said


def test_the_part_between_the_marks_is_replaced_and_the_rest_kept(benchmark_module: Find) -> None:
    module = benchmark_module("readme_ratios")
    readme = f"before\n\n{module.BEGIN}\nold figures\n{module.END}\n\nafter\n"
    new = module.with_section(readme, RESULTS)
    assert new.startswith("before\n\n" + module.BEGIN)
    assert new.endswith(module.END + "\n\nafter\n")
    assert "old figures" not in new
    assert module.with_section(new, RESULTS) == new
    with pytest.raises(ValueError, match="expected the lines"):
        module.with_section("no marks", RESULTS)

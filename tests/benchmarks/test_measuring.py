"""Turns, ratios, memory and tables that every benchmark relies on."""

from __future__ import annotations

import doctest
import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

Find = Callable[[str], ModuleType]


@pytest.mark.parametrize("name", ["measuring", "results", "run_all", "graph_search", "encode_precision"])
def test_examples_in_the_programs_hold(benchmark_module: Find, name: str) -> None:
    module = benchmark_module(name)
    found = doctest.testmod(module, extraglobs={"np": np})
    assert found.attempted
    assert not found.failed


def test_sides_take_turns_at_going_first_and_the_warm_up_does_not_count(benchmark_module: Find) -> None:
    now, order = [0.0], []

    def side(name: str, seconds: float) -> Callable[[], None]:
        def work() -> None:
            order.append(name)
            now[0] += seconds

        return work

    runs = {"a": side("a", 1.0), "b": side("b", 2.0)}
    seconds = benchmark_module("measuring").take_turns(runs, 3, clock=lambda: now[0])
    assert "".join(order) == "ab" + "ba" + "ab" + "ba"
    assert seconds == {"a": [1.0] * 3, "b": [2.0] * 3}


def test_a_ratio_is_the_median_of_the_rounds(benchmark_module: Find) -> None:
    ratio_of = benchmark_module("measuring").ratio_of
    found = ratio_of("speed", [2.0, 2.0, 8.0], [1.0, 2.0, 2.0], at_least=2.5)
    assert found.to_dict() == {"what": "speed", "ratio": 2.0, "quartiles": [1.5, 3.0], "at_least": 2.5, "met": False}
    assert ratio_of("more work", [2.0], [1.0], work=20).ratio == 40.0
    assert "met" not in ratio_of("no bar", [2.0], [1.0]).to_dict()


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux")
def test_extra_memory_is_what_the_work_makes_resident(benchmark_module: Find) -> None:
    extra_memory = benchmark_module("measuring").extra_memory
    assert extra_memory(lambda: np.ones(8 << 20)) == pytest.approx(64, abs=8)
    assert extra_memory(lambda: None) < 4


def test_the_report_ends_with_one_line_of_json(benchmark_module: Find, capsys: pytest.CaptureFixture[str]) -> None:
    measuring = benchmark_module("measuring")
    ratio = measuring.ratio_of("speed", [1.0], [2.0], at_least=1.0)
    measuring.report("made up", [ratio], [{"side": "ours", "per_s": 1234.5}], {"a rival": "it is not installed"}, k=3)
    *shown, last = capsys.readouterr().out.splitlines()
    line = json.loads(last)
    assert (line["benchmark"], line["k"], line["ratios"][0]["met"]) == ("made up", 3, False)
    assert line["not_measured"] == {"a rival": "it is not installed"}
    text = "\n".join(shown)
    assert "MISSED" in text
    assert "a rival was not measured: it is not installed" in text

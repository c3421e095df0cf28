"""The runner runs what it can, names what it cannot, and collects what the programs print."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

Find = Callable[[str], ModuleType]


@pytest.fixture
def runner(benchmark_module: Find, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The runner over a folder of made-up programs."""
    found = benchmark_module("run_all")
    monkeypatch.setattr(found, "HERE", tmp_path)
    line = json.dumps({"benchmark": "good", "ratios": [{"what": "x", "ratio": 2.0}]})
    (tmp_path / "good.py").write_text(f"import sys\nprint('for people', sys.argv[1:])\nprint({line!r})\n")
    (tmp_path / "bad.py").write_text('print(\'{"benchmark": "bad"}\')\nraise SystemExit(3)\n')
    return found


def test_every_listed_program_is_there_and_every_program_is_listed(benchmark_module: Find) -> None:
    module = benchmark_module("run_all")
    listed = {benchmark.script for benchmark in module.BENCHMARKS}
    programs = {path.name for path in module.HERE.glob("*.py") if "ArgumentParser" in path.read_text("utf-8")}
    programs |= {"bad_input.py"}
    helpers = {"run_all.py", "guard.py", "readme_ratios.py", "scale_data.py", "hide_last.py", "plan.py"}
    assert listed == programs - helpers


def test_what_is_lacking_is_named_and_the_rest_runs(
    runner: ModuleType, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "data" / "shop").mkdir(parents=True)
    chosen = [
        runner.Benchmark("good.py", ("--short",), ("--long",)),
        runner.Benchmark("bad.py"),
        runner.Benchmark("absent.py"),
        runner.Benchmark("good.py", None, ("--long",)),
        runner.Benchmark("good.py", ("--data", "{data}"), data="shop"),
        runner.Benchmark("good.py", data="nowhere"),
        runner.Benchmark("good.py", programs=("no-such-program",)),
        runner.Benchmark("good.py", modules=("no_such_module",)),
    ]
    outcomes = runner.run_all(chosen, full=False, data=str(tmp_path / "data"))
    said = capfd.readouterr().out
    assert [outcome.state for outcome in outcomes] == [
        "done", "failed", "skipped", "skipped", "done", "skipped", "skipped", "skipped"
    ]  # fmt: skip
    reasons = [outcome.why for outcome in outcomes if outcome.state == "skipped"]
    named = ("absent.py", "FULL=1", "nowhere", "no-such-program", "no_such_module")
    assert all(word in why for word, why in zip(named, reasons, strict=True)), reasons
    assert "for people ['--short']" in said
    assert f"['--data', '{tmp_path / 'data' / 'shop'}']" in said
    assert outcomes[1].why == "it ended with 3"
    assert "set ADAPT_DATA" in runner.lacks(chosen[4], None)
    assert [outcome.state for outcome in runner.run_all(chosen[3:4], full=True, data=None)] == ["done"]

    found = runner.collected(outcomes, full=False)
    assert [line["benchmark"] for line in found["benchmarks"]] == ["good", "bad", "good"]
    assert set(found["not_run"]) == {"bad", "absent", "good", "good:nowhere"}
    assert found["mode"] == "short"
    assert found["machine"]
    assert {"adapt", "python", "torch", "faiss-cpu"} <= set(found["versions"])
    json.dumps(found, allow_nan=False)

"""What a run tells the screen, its log and its trackers."""

from __future__ import annotations

import contextlib
import importlib.util
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from adapt.errors import MissingExtraError, UsageError
from adapt.progress import SILENT, Advance
from adapt.train.accelerator import make_accelerator
from adapt.train.log import read_log
from adapt.train.loop import run_loop

from .regression import OPTIONS, ROWS, Regression


class Listener:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    @contextlib.contextmanager
    def task(self, name: str, total: int | None, unit: str) -> Iterator[Advance]:
        with SILENT.task(name, total, unit) as advance:
            yield advance

    def note(self, message: str) -> None:
        pass

    def status(self, line: str) -> None:
        self.lines.append(line)


def test_the_screen_shows_losses_speed_rate_and_the_left_out_metric(tmp_path: Path) -> None:
    listener = Listener()
    run_loop(Regression(), OPTIONS, tmp_path, device="cpu", progress=listener)
    assert len(listener.lines) == OPTIONS.steps
    assert "loss" in listener.lines[0]
    assert "sequences/s" in listener.lines[0]
    assert "left-out" not in listener.lines[0]  # before the first validation
    metric = read_log(tmp_path / "log.jsonl")[OPTIONS.evaluate_every - 1]["validation"]
    assert f"left-out {metric:.4f}" in listener.lines[OPTIONS.evaluate_every - 1]


def test_the_loop_says_what_it_trained_and_what_it_cost(tmp_path: Path) -> None:
    result = run_loop(Regression(), OPTIONS, tmp_path, device="cpu")
    facts = json.loads((tmp_path / "loop.json").read_text())
    assert facts["parameters"] == facts["trainable"] == 4 * 8 + 8 + 8 + 1
    assert (facts["steps"], facts["device"], facts["precision"]) == (result.steps, "cpu", "no")
    assert facts["peak_memory_bytes"] > 10_000_000
    last = read_log(tmp_path / "log.jsonl")[-1]
    assert last["sequences_per_second"] == pytest.approx(ROWS * OPTIONS.steps / last["seconds"], rel=0.2)


def test_tensorboard_gets_every_step_and_a_resumed_run_goes_on(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    options = replace(OPTIONS, tracker="tensorboard")

    def stop(step: int) -> None:
        if step == 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_loop(Regression(), options, tmp_path, device="cpu", on_step=stop)
    run_loop(Regression(), options, tmp_path, resume=True, device="cpu")
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    log = read_log(tmp_path / "log.jsonl")
    points = {point.step: point.value for point in events.Scalars("loss/total")}
    assert list(points) == [record["step"] for record in log]
    assert list(points.values()) == pytest.approx([record["losses"]["total"] for record in log], rel=1e-6)
    rates = [point.value for point in events.Scalars("learning_rate")]
    assert rates[-1] == pytest.approx(log[-1]["learning_rate"])
    assert [point.step for point in events.Scalars("validation")] == [3, 6, 9, 12]


def test_a_tracker_that_is_not_installed_is_a_missing_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(MissingExtraError, match="tensorboard") as caught:
        run_loop(Regression(), replace(OPTIONS, tracker="tensorboard"), tmp_path, device="cpu")
    assert "adapt-mmrec[trackers]" in caught.value.hint
    assert not list(tmp_path.iterdir())


def test_a_device_without_bf16_is_a_usage_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: object) -> None:
        raise ValueError("bf16 mixed precision requires PyTorch >= 1.10 and a supported device.")

    monkeypatch.setattr("accelerate.Accelerator", refuse)
    with pytest.raises(UsageError, match="bf16") as caught:
        make_accelerator("bf16", 1, "cpu")
    assert "precision" in caught.value.hint


def test_two_runs_of_one_process_may_differ_in_precision(tmp_path: Path) -> None:
    results = [
        run_loop(Regression(), replace(OPTIONS, precision=precision), tmp_path / precision, device="cpu").curve
        for precision in ("no", "bf16", "no")
    ]
    assert results[0] == results[2] != results[1]
    assert results[1][-1][1] == pytest.approx(results[0][-1][1], rel=0.1)

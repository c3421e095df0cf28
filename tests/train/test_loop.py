"""The loop: its schedule, what it keeps, and that nothing is lost or changed when it is killed or spread out."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from adapt.errors import CheckpointError, UsageError
from adapt.seeds import generator
from adapt.train.log import RunLog, read_log
from adapt.train.loop import LoopOptions, rate_at, run_loop
from tests.launching import alone

from .regression import OPTIONS, Regression

pytestmark = pytest.mark.usefixtures("one_thread")


def run_program(folder: Path, weights: Path, dies_at: int = 0, decay: float = 0.0) -> int:
    program = ["-m", "tests.train.regression", folder, weights, str(dies_at), str(decay)]
    return alone(program, folder.parent).returncode


def interrupted(folder: Path, options: LoopOptions, at: int) -> None:
    """Start a run and break it off after a step."""

    def stop(step: int) -> None:
        if step == at:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_loop(Regression(), options, folder, device="cpu", on_step=stop)


def weights_of(task: Regression) -> list[torch.Tensor]:
    return [parameter.detach().clone() for parameter in task.module.parameters()]


def test_a_killed_run_that_is_resumed_ends_bit_identical(tmp_path: Path) -> None:
    dies_at = int(generator(os.getpid()).integers(2, OPTIONS.steps))
    whole, resumed = Regression(), Regression()
    run_loop(whole, OPTIONS, tmp_path / "whole", device="cpu")
    assert run_program(tmp_path / "killed", tmp_path / "killed.safetensors", dies_at) == -signal.SIGKILL
    assert not (tmp_path / "killed.safetensors").exists()
    run_loop(resumed, OPTIONS, tmp_path / "killed", resume=True, device="cpu")
    assert all(torch.equal(*pair) for pair in zip(weights_of(whole), weights_of(resumed), strict=True)), dies_at
    logs = [read_log(tmp_path / name / "log.jsonl") for name in ("whole", "killed")]
    assert [record["losses"] for record in logs[0]] == [record["losses"] for record in logs[1]]
    assert [record["step"] for record in logs[1]] == list(range(1, OPTIONS.steps + 1))
    assert sorted(path.name for path in (tmp_path / "killed").iterdir()) == ["log.jsonl", "loop.json"]
    assert len(whole.measured) == len(resumed.measured) == OPTIONS.steps // OPTIONS.evaluate_every
    assert all(
        np.array_equal(*(m["errors"] for m in pair)) for pair in zip(whole.measured, resumed.measured, strict=True)
    )


@pytest.mark.parametrize("evaluate_every", [0, 3])
def test_the_moving_average_remains_and_survives_a_resume(tmp_path: Path, evaluate_every: int) -> None:
    options = replace(OPTIONS, ema=0.9, evaluate_every=evaluate_every)
    whole, resumed, plain = Regression(), Regression(), Regression()
    first = run_loop(whole, options, tmp_path / "whole", device="cpu")
    interrupted(tmp_path / "part", options, at=7)
    run_loop(resumed, options, tmp_path / "part", resume=True, device="cpu")
    run_loop(plain, replace(options, ema=0.0), tmp_path / "plain", device="cpu")
    assert all(torch.equal(*pair) for pair in zip(weights_of(whole), weights_of(resumed), strict=True))
    assert not torch.equal(weights_of(whole)[0], weights_of(plain)[0])
    if evaluate_every:  # what was measured is what remains: the average
        whole.module.eval()
        assert whole.validate() == pytest.approx(first.best_metric)


def test_the_moving_average_is_what_its_decay_says(tmp_path: Path) -> None:
    task, seen = Regression(), [weights_of(Regression())[0]]
    options = replace(OPTIONS, ema=0.8, evaluate_every=0, steps=3)
    run_loop(task, options, tmp_path, device="cpu", on_step=lambda _: seen.append(weights_of(task)[0]))
    expected = seen[0]
    for weights in seen[1:]:
        expected = 0.8 * expected + 0.2 * weights
    torch.testing.assert_close(weights_of(task)[0], expected)


def test_a_state_is_never_gone_while_the_next_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full_disk(*_: object) -> None:
        raise KeyboardInterrupt

    interrupted(tmp_path, OPTIONS, at=3)
    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", full_disk)
        with pytest.raises(KeyboardInterrupt):
            run_loop(Regression(), OPTIONS, tmp_path, resume=True, device="cpu")
    whole, resumed = Regression(), Regression()
    run_loop(whole, OPTIONS, tmp_path / "whole", device="cpu")
    result = run_loop(resumed, OPTIONS, tmp_path, resume=True, device="cpu")
    assert [step for step, _ in result.curve] == list(range(3, OPTIONS.steps + 1))
    assert all(torch.equal(*pair) for pair in zip(weights_of(whole), weights_of(resumed), strict=True))


def test_a_run_that_is_not_resumed_forgets_the_one_before(tmp_path: Path) -> None:
    interrupted(tmp_path, OPTIONS, at=8)
    interrupted(tmp_path, OPTIONS, at=1)
    result = run_loop(Regression(), OPTIONS, tmp_path, resume=True, device="cpu")
    assert result.curve[0][0] == 1


def test_a_damaged_state_is_refused(tmp_path: Path) -> None:
    interrupted(tmp_path, OPTIONS, at=5)
    (weights,) = (tmp_path / "state").glob("*/model.safetensors")
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(bytes(data))
    with pytest.raises(CheckpointError, match="sha256"):
        run_loop(Regression(), OPTIONS, tmp_path, resume=True, device="cpu")
    weights.unlink()
    with pytest.raises(CheckpointError, match=r"model\.safetensors"):
        run_loop(Regression(), OPTIONS, tmp_path, resume=True, device="cpu")


def test_a_loss_that_is_no_number_stops_the_run(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="learning_rate"):
        run_loop(Regression(), replace(OPTIONS, learning_rate=1e30, clip=1e30), tmp_path, device="cpu")
    assert read_log(tmp_path / "log.jsonl")  # what was reached before it


def test_a_log_is_json_whatever_the_losses_are(tmp_path: Path) -> None:
    RunLog(tmp_path).write(1, {"losses": {"total": float("nan"), "part": 1.0}, "validation": float("inf")})
    line = (tmp_path / "log.jsonl").read_text()
    assert json.loads(line, parse_constant=pytest.fail)["losses"] == {"total": None, "part": 1.0}


def test_training_fits_and_keeps_the_best_weights(tmp_path: Path) -> None:
    task = Regression()
    before = task.validate()
    result = run_loop(task, replace(OPTIONS, steps=60), tmp_path, device="cpu")
    task.module.eval()
    assert result.best_metric is not None
    assert result.best_metric > before / 2  # the error halves at least
    assert task.validate() == pytest.approx(result.best_metric)


def test_patience_stops_the_run(tmp_path: Path) -> None:
    task = Regression()
    options = replace(OPTIONS, steps=100, learning_rate=0.0, evaluate_every=1, patience=3)
    assert (
        run_loop(task, options, tmp_path, device="cpu").steps == 4
    )  # the first is the best, then three are not better


def test_stop_after_follows_the_longer_schedule(tmp_path: Path) -> None:
    whole, part = Regression(), Regression()
    options = replace(OPTIONS, evaluate_every=0)
    whole_curve = run_loop(whole, options, tmp_path / "whole", device="cpu").curve
    part_curve = run_loop(part, replace(options, stop_after=5), tmp_path / "part", device="cpu").curve
    assert part_curve == whole_curve[:5]


def test_accumulating_averages_the_gradients(tmp_path: Path) -> None:
    class Halves(Regression):
        """Hands out a batch in two halves."""

        def batch(self, number: int, rank: int, ranks: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
            inputs, wanted = super().batch(number // 2, rank, ranks, device)
            return inputs[number % 2 :: 2], wanted[number % 2 :: 2]

    one, two = Regression(), Halves()
    for task in (one, two):
        task.module.layers[2] = torch.nn.Identity()
    options = replace(OPTIONS, evaluate_every=0, checkpoint_every=0)
    run_loop(one, options, tmp_path / "one", device="cpu")
    run_loop(two, replace(options, accumulate=2), tmp_path / "two", device="cpu")
    for left, right in zip(one.module.parameters(), two.module.parameters(), strict=True):
        torch.testing.assert_close(left, right, rtol=1e-4, atol=1e-5)


def test_the_rate_warms_up_and_falls_to_zero() -> None:
    options = LoopOptions(steps=100, learning_rate=2.0, warmup=0.1)
    rates = [rate_at(step, options) for step in range(100)]
    assert rates[:10] == sorted(rates[:10])
    assert max(rates) == 2.0
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[-1] < 0.01


def test_a_log_that_was_cut_off_is_read_up_to_the_cut(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text('{"step": 1}\n{"step": 2}\n{"st')
    assert read_log(path) == [{"step": 1}, {"step": 2}]


def test_processes_that_were_started_together_have_a_gpu_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UsageError, match="--device cuda,"):
        run_loop(Regression(), OPTIONS, tmp_path, device="cuda:1")

"""A command in several processes: it looks like one, and when one of them ends, all do, with one message."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from adapt.errors import LostRankError, UsageError
from adapt.train.log import read_log
from tests.launching import REPOSITORY, Arguments, accelerate, ranks, started
from tests.workflows.pretrain_cases import RECIPE, TABLE_RECIPE, steady, write_followers

from .conftest import Ran

pytestmark = pytest.mark.slow

PAPER_RECIPE = """
name: paper
stage: leave-one-out
summary: For tests.
encoders:
  text: {kind: static, modality: text, name: "bundled:static-minilm-256"}
architecture: mmsrec
towers: {dim: 16, depth: 1, heads: 2, hidden: 16, max_length: 6, dropout: 0.0}
objectives: {next_item: 0.0, cloze: 1.0, pairs: ["T-T'"], batch_size: 16, negatives: 32, catalog_batch: 17}
alignment_first: {steps: 4, learning_rate: 0.01}
loop: {steps: 6, learning_rate: 0.01, evaluate_every: 3, checkpoint_every: 3}
"""
PROGRAM = """
import os
from adapt import ranks
from tests import killing

if os.environ["RANK"] == os.environ.get("DIES"):
    killing.kill_after(int(os.environ["AFTER"]))
if os.environ["RANK"] == os.environ.get("FAILS"):
    killing.fail_after(int(os.environ["AFTER"]))

from adapt.cli.app import main

main()
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two data sets, a recipe, and the program that may be told to die."""
    root = tmp_path_factory.mktemp("launched")
    for name, recipe in (("follows", RECIPE), ("table", TABLE_RECIPE), ("paper", PAPER_RECIPE)):
        (root / f"{name}.yaml").write_text(recipe)
    (root / "adapt_that_dies.py").write_text(PROGRAM)
    for seed, name in enumerate(("one", "two")):
        write_followers(root / name, seed)
    return root


def arguments(output: str) -> list[str]:
    return ["pretrain", "--dataset", "one", "--dataset", "two", "--recipe", "follows.yaml", "--output", output]


def messages(errors: str) -> list[str]:
    """What `adapt` says, without what the launcher adds when a process has failed."""
    return [line for line in errors.splitlines() if re.match(r"(error|fix|note): ", line)]


def codes(errors: str) -> set[int]:
    """The exit codes that the launcher saw."""
    return {int(code) for code in re.findall(r"exitcode\s*: (-?\d+)", errors)}


def launched(arguments: Arguments, folder: Path, **environment: str) -> tuple[set[int], str, str]:
    """The exit codes of two processes, and all that they write, of which only the main one writes results."""
    ended = ranks(arguments, folder, **environment)
    assert not ended[1].stdout
    return {done.returncode for done in ended}, ended[0].stdout, "".join(done.stderr for done in ended)


@pytest.fixture(scope="module")
def whole(folder: Path) -> Path:
    """What two processes leave that nobody disturbs."""
    ended, out, errors = launched(["-m", "adapt", *arguments("whole"), "--json"], folder)
    assert ended == {0}, errors[-3000:]
    found = json.loads(out)
    told = messages(errors)
    assert len(told) == len(set(told)) > 0
    assert found["step"] > 0
    assert json.loads((folder / "whole" / "loop.json").read_text())["processes"] == 2
    return folder / "whole" / "follows"


def test_a_killed_rank_ends_the_others_and_the_run_resumes_to_the_same_bytes(whole: Path, folder: Path) -> None:
    ended, out, errors = launched(["adapt_that_dies.py", *arguments("killed")], folder, DIES="1", AFTER="17")
    last_step = folder / "killed" / "folds" / "one" / "log.jsonl"
    assert time.time() - last_step.stat().st_mtime < 45  # half of it on a machine with nothing else to do
    error, fix = [line for line in messages(errors) if not line.startswith("note")]
    assert "rank 1 of 2" in error
    assert "--resume" in fix
    assert ended == {-signal.SIGKILL, LostRankError.exit_code}
    assert not out
    assert not json.loads((folder / "killed" / "run.json").read_text())["finished"]
    ended, _, errors = launched(["-m", "adapt", *arguments("killed"), "--resume"], folder)
    assert ended == {0}, errors[-3000:]
    assert steady(folder / "killed" / "follows") == steady(whole)


@pytest.mark.parametrize(
    ("recipe", "data", "logs"),
    [
        ("table", ("one", "two"), ("folds/one", "folds/two")),
        ("paper", ("one",), ("alignment", "")),
    ],
)
def test_the_other_stages_follow_the_curve_of_one_process(
    adapt: Callable[..., Ran],
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    recipe: str,
    data: tuple[str, ...],
    logs: tuple[str, ...],
) -> None:
    asked = ["pretrain", *(f"--dataset={name}" for name in data), "--recipe", f"{recipe}.yaml", "--json", "--output"]
    ended, out, errors = launched(["-m", "adapt", *asked, f"{recipe}-two"], folder)
    assert ended == {0}, errors[-3000:]
    monkeypatch.chdir(folder)
    one = adapt(*asked, f"{recipe}-one")
    assert one.code == 0, one.err
    assert json.loads(out).keys() == json.loads(one.out).keys()
    for log in logs:
        curves = [read_log(folder / f"{recipe}-{number}" / log / "log.jsonl") for number in ("one", "two")]
        losses = [[record["losses"]["total"] for record in curve] for curve in curves]
        assert losses[1] == pytest.approx(losses[0], abs=1e-3)
        assert losses[0][0] != losses[0][-1]


def test_the_main_rank_may_be_the_one_that_is_killed(folder: Path) -> None:
    killed = accelerate(["adapt_that_dies.py", *arguments("headless")], folder, DIES="0", AFTER="3")
    assert codes(killed.stderr) == {-signal.SIGKILL, LostRankError.exit_code}
    error, fix = [line for line in messages(killed.stderr) if not line.startswith("note")]
    assert "rank 0 of 2" in error
    assert "--resume" in fix


@pytest.mark.parametrize("rank", ["0", "1"])
def test_a_failure_in_one_process_ends_all_with_one_message(folder: Path, rank: str) -> None:
    failed = accelerate(["adapt_that_dies.py", *arguments(f"failed{rank}")], folder, FAILS=rank, AFTER="3")
    error, fix = [line for line in messages(failed.stderr) if not line.startswith("note")]
    assert "No space left on device" in error
    assert ("rank 1 of 2" in error) == (rank == "1")
    assert fix
    assert codes(failed.stderr) == {UsageError.exit_code}


def test_what_is_wrong_with_the_command_is_said_once(folder: Path) -> None:
    asked = ["-m", "adapt", "pretrain", "--dataset", "one", "--recipe", "none", "--output", "no"]
    ended, _, errors = launched(asked, folder)
    assert ended == {UsageError.exit_code}
    error, _ = messages(errors)
    assert "none" in error


def test_a_command_that_is_not_shared_is_refused_once(folder: Path) -> None:
    ended, _, errors = launched(["-m", "adapt", "data", "check", "one"], folder)
    assert ended == {UsageError.exit_code}
    error, fix = messages(errors)
    assert "found data in 2" in error
    assert "adapt data" in fix


def test_a_launcher_that_is_terminated_ends_all_with_one_message(folder: Path) -> None:
    with started(["-m", "adapt", *arguments("stopped")], folder) as launcher:
        log = folder / "stopped" / "folds" / "one" / "log.jsonl"
        while not log.exists():
            assert launcher.poll() is None
            time.sleep(0.1)
        launcher.send_signal(signal.SIGTERM)
        out, errors = launcher.communicate(timeout=180)
    assert launcher.returncode != 0
    assert not out
    (error,) = [line for line in messages(errors) if line.startswith("error")]
    assert error == "error: terminated; nothing half-written was left"


def test_a_launcher_that_started_one_process_of_several_is_found_out(tmp_path: Path) -> None:
    alone = [sys.executable, "-m", "accelerate.commands.launch", "--num_processes", "2", "-m", "adapt", "--version"]
    environment = {name: value for name, value in os.environ.items() if name != "MASTER_PORT"}
    done = subprocess.run(
        alone,
        env={**environment, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert any("--multi_gpu" in line for line in messages(done.stderr))

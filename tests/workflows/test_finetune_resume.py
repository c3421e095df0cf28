"""A fine-tune that is killed anywhere, or spread over two processes, ends as if nothing had happened."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from adapt import load_dataset
from adapt.data import Dataset
from adapt.errors import UsageError
from adapt.hub.format import Checkpoint, build_towers
from adapt.seeds import generator
from adapt.train.log import read_log
from adapt.workflows.finetune import finetune
from adapt.workflows.run import Run
from tests.launching import alone, ranks
from tests.workflows.finetune_cases import QUICK, same_in_two_runs, write_walkers

pytestmark = pytest.mark.usefixtures("one_thread")

PROGRAM = """
import sys
import torch
from pathlib import Path
from adapt import load_dataset
from adapt.hub.format import Checkpoint
from adapt.workflows.finetune import finetune
from tests.killing import kill_after
from tests.workflows.finetune_cases import QUICK

kill_after(int(sys.argv[1]))
torch.set_num_threads(1)
base = Checkpoint.from_pretrained(sys.argv[2])
finetune(base, load_dataset(sys.argv[3]), QUICK, Path(sys.argv[4]), reference=sys.argv[2], resume=True)
if torch.distributed.is_initialized():
    torch.distributed.destroy_process_group()
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return load_dataset(write_walkers(tmp_path_factory.mktemp("walk") / "walk"))


@pytest.fixture(scope="module")
def whole(data: Dataset, tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    base = Checkpoint.from_pretrained(str(tiny_folder))
    return finetune(base, data, QUICK, tmp_path_factory.mktemp("runs") / "whole", reference=str(tiny_folder))


def resumed(tiny_folder: Path, data: Dataset, folder: Path, dies_at: int = 0) -> int:
    arguments = [str(dies_at), str(tiny_folder), str(data.root), str(folder)]
    return alone(["-c", PROGRAM, *arguments], folder.parent).returncode


def test_a_run_that_is_killed_and_resumed_has_the_same_bytes(
    whole: Run, data: Dataset, tiny_folder: Path, tmp_path: Path
) -> None:
    training, refit = (whole.record["trainings"][name]["steps"] for name in ("towers", "refit"))
    first = int(generator(os.getpid()).integers(2, training))
    assert resumed(tiny_folder, data, tmp_path / "run", first) == -signal.SIGKILL
    saved = json.loads((tmp_path / "run" / "run.json").read_text())
    assert not saved["finished"]
    every = whole.record["trainings"]["towers"]["steps_an_epoch"]
    left = training - first // every * every + refit
    assert resumed(tiny_folder, data, tmp_path / "run", left - 1) == -signal.SIGKILL, first  # in the refit
    assert not (tmp_path / "run" / "adapter").exists()
    assert resumed(tiny_folder, data, tmp_path / "run") == 0
    found, expected = same_in_two_runs(tmp_path / "run"), same_in_two_runs(whole.path)
    assert found == expected, first
    assert json.loads((tmp_path / "run" / "run.json").read_text())["resumed"] == 2


def test_resuming_what_has_ended_trains_nothing(
    whole: Run, data: Dataset, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adapt.workflows.finetune_towers.run_loop", pytest.fail)
    base = Checkpoint.from_pretrained(str(tiny_folder))
    again = finetune(base, data, QUICK, whole.path, reference=str(tiny_folder), resume=True)
    assert again.record["files"] == whole.record["files"]


def test_other_options_or_data_are_not_a_resumption(whole: Run, data: Dataset, tiny_folder: Path) -> None:
    base = Checkpoint.from_pretrained(str(tiny_folder))
    with pytest.raises(UsageError, match=r"options\.rank: 8 then, 4 now"):
        finetune(base, data, replace(QUICK, rank=4), whole.path, resume=True)
    assert data.interactions is not None
    fewer = replace(data.interactions, items=data.interactions.items[::-1].copy())
    with pytest.raises(UsageError, match=r"data\.events_sha256"):
        finetune(base, replace(data, interactions=fewer), QUICK, whole.path, resume=True)
    assert Run.load(whole.path).chosen == whole.chosen


def test_two_processes_equal_one(data: Dataset, tiny: Checkpoint, tmp_path: Path) -> None:
    still = {**tiny.config.towers, "dropout": 0.0}  # each process draws its own
    towers = build_towers("content", still, "test").eval()
    towers.load_state_dict(tiny.towers.state_dict())
    replace(tiny, config=replace(tiny.config, towers=still), towers=towers).save_pretrained(tmp_path / "still")
    base = Checkpoint.from_pretrained(str(tmp_path / "still"))
    one = finetune(base, data, QUICK, tmp_path / "one", reference=str(tmp_path / "still"))
    arguments = ["0", tmp_path / "still", data.root, tmp_path / "two"]
    for done in ranks(["-c", PROGRAM, *arguments], tmp_path):
        assert done.returncode == 0, done.stderr[-2000:]
    two = Run.load(tmp_path / "two")
    losses = [[r["losses"]["total"] for r in read_log(run.path / "log.jsonl")] for run in (one, two)]
    assert losses[1] == pytest.approx(losses[0], abs=1e-3)
    curves = [run.record["trainings"]["towers"]["validation_ndcg@10"] for run in (one, two)]
    assert curves[1] == pytest.approx(curves[0], abs=1e-2)  # a near tie may fall the other way
    assert two.chosen == one.chosen
    assert json.loads((tmp_path / "two" / "trainings" / "refit" / "loop.json").read_text())["processes"] == 2

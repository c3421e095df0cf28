"""A pretraining run that is killed anywhere ends as if nothing had happened, and is never continued as another."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from adapt.errors import CheckpointError, UsageError
from adapt.seeds import generator
from adapt.workflows.pretrain import PretrainOptions, PretrainResult, pretrain
from adapt.workflows.stages import run_stage
from adapt.workflows.tune_encoder import TuneResult
from tests.launching import alone
from tests.workflows.pretrain_cases import RECIPE, TABLE_RECIPE, steady, write_followers

pytestmark = pytest.mark.usefixtures("one_thread")

KILLED = """
import sys
import torch
from adapt.cli.app import main
from tests.killing import kill_after

kill_after(int(sys.argv[1]))
torch.set_num_threads(1)
main(sys.argv[2:])
"""
FOLD, FOLDS = 30, 2


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> PretrainOptions:
    root = tmp_path_factory.mktemp("resume")
    (root / "follows.yaml").write_text(RECIPE)
    data = tuple(write_followers(root / name, seed) for seed, name in enumerate(("one", "two")))
    return PretrainOptions(recipe=str(root / "follows.yaml"), datasets=data, output=str(root / "whole"))


@pytest.fixture(scope="module")
def whole(options: PretrainOptions) -> PretrainResult:
    return pretrain(options)


def killed_run(options: PretrainOptions, folder: Path, at: int) -> int:
    arguments = ["--recipe", options.recipe, "--output", str(folder), "--resume"]
    arguments += [part for path in options.datasets for part in ("--dataset", path)]
    return alone(["-c", KILLED, str(at), "pretrain", *arguments], folder.parent).returncode


def test_a_run_that_is_killed_and_resumed_has_the_same_bytes(
    options: PretrainOptions, whole: PretrainResult, tmp_path: Path
) -> None:
    assert whole.step > 4  # the final training happens, and has a state to resume from
    random = generator(os.getpid())
    in_fold = int(random.integers(5, FOLDS * FOLD))
    steps = FOLDS * FOLD + whole.step
    for at in (in_fold, 1):  # the second is killed at once: it has only little more than the first
        assert killed_run(options, tmp_path / "run", at) == -signal.SIGKILL
    assert not (tmp_path / "run" / "follows").exists()
    saved = in_fold // FOLD * FOLD + in_fold % FOLD // 4 * 4  # finished folds, and the last state of the third
    left = steps - saved
    assert killed_run(options, tmp_path / "run", left - 1) == -signal.SIGKILL, in_fold  # in the final training
    done = sorted(path.parent.name for path in (tmp_path / "run" / "folds").glob("*/result.json"))
    assert done == ["one", "two"]
    resumed = pretrain(
        PretrainOptions(recipe=options.recipe, datasets=options.datasets, output=str(tmp_path / "run"), resume=True)
    )
    assert steady(resumed.folder) == steady(whole.folder), in_fold
    assert resumed.run["resumed"] == 3


def test_the_encoder_stage_is_killed_and_resumed_alike(options: PretrainOptions, tmp_path: Path) -> None:
    (tmp_path / "table.yaml").write_text(TABLE_RECIPE)
    asked = again(options, recipe=str(tmp_path / "table.yaml"), output=str(tmp_path / "whole"))
    whole = run_stage(asked)
    assert isinstance(whole, TuneResult)
    assert whole.step > 0  # so that there is a final training
    resumed = again(asked, output=str(tmp_path / "run"))
    at = int(generator(os.getpid()).integers(8, 24))
    assert killed_run(asked, tmp_path / "run", at) == -signal.SIGKILL
    run_stage(resumed)
    files = ("delta.safetensors", "base.json")
    found, expected = (
        {name: (tmp_path / run / "table" / name).read_bytes() for name in files} for run in ("run", "whole")
    )
    assert found == expected, at
    metrics = [json.loads((tmp_path / run / "table" / "metrics.json").read_text()) for run in ("run", "whole")]
    assert metrics[0]["left_out"] == metrics[1]["left_out"]
    (tmp_path / "table.yaml").write_text(TABLE_RECIPE + "seed: 1\n")
    with pytest.raises(UsageError, match=r"recipe\.seed"):
        run_stage(resumed)


def again(options: PretrainOptions, **changed: object) -> PretrainOptions:
    values = {"recipe": options.recipe, "datasets": options.datasets, "output": options.output, "resume": True}
    return PretrainOptions(**{**values, **changed})  # type: ignore[arg-type]


def test_resuming_what_has_ended_trains_nothing(
    options: PretrainOptions, whole: PretrainResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = steady(whole.folder)
    monkeypatch.setattr("adapt.workflows.pretrain.run_loop", pytest.fail)
    monkeypatch.setattr("adapt.train.structure.StructureSearch.run", pytest.fail)
    result = pretrain(again(options))
    assert steady(result.folder) == before
    assert (result.step, result.mixture) == (whole.step, whole.mixture)


def test_another_recipe_is_not_a_resumption(options: PretrainOptions, whole: PretrainResult, tmp_path: Path) -> None:
    (tmp_path / "follows.yaml").write_text(RECIPE.replace("learning_rate: 0.01", "learning_rate: 0.02"))
    before = steady(whole.folder)
    with pytest.raises(UsageError, match=r"recipe\.loop\.learning_rate: 0\.01 then, 0\.02 now"):
        pretrain(again(options, recipe=str(tmp_path / "follows.yaml")))
    assert steady(whole.folder) == before


def test_other_data_are_not_a_resumption(options: PretrainOptions, whole: PretrainResult, tmp_path: Path) -> None:
    changed = write_followers(tmp_path / "two", seed=9)
    with pytest.raises(UsageError, match=r"data\.two\.sha256\.interactions\.csv"):
        pretrain(again(options, datasets=(options.datasets[0], changed)))
    with pytest.raises(UsageError, match=r"data\.two\.items: 48 then, 'absent' now"):
        pretrain(again(options, datasets=options.datasets[:1]))
    with pytest.raises(UsageError, match="order"):
        pretrain(again(options, datasets=options.datasets[::-1]))


def test_a_run_that_is_not_resumed_forgets_the_one_before(options: PretrainOptions, tmp_path: Path) -> None:
    short = RECIPE.replace("steps: 30", "steps: 2").replace("evaluate_every: 10", "evaluate_every: 2")
    (tmp_path / "short.yaml").write_text(short)
    first = again(options, recipe=str(tmp_path / "short.yaml"), output=str(tmp_path / "run"), resume=False)
    pretrain(first)
    result = tmp_path / "run" / "folds" / "one" / "result.json"
    result.write_text("damaged")
    with pytest.raises(CheckpointError, match=r"one.result\.json"):
        pretrain(again(first))
    pretrain(again(first, resume=False))
    assert json.loads((tmp_path / "run" / "run.json").read_text())["resumed"] == 0
    (tmp_path / "run" / "run.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"run\.json"):
        pretrain(again(first))


def test_the_written_recipe_gives_the_same_run(options: PretrainOptions, whole: PretrainResult, tmp_path: Path) -> None:
    written = Path(options.output) / "recipe.yaml"
    assert "weight_decay: 0.01" in written.read_text()  # a default that the recipe did not state
    result = pretrain(again(options, recipe=str(written), output=str(tmp_path / "again"), resume=False))
    found, expected = steady(result.folder), steady(whole.folder)
    for part in (found, expected):
        part["metrics"]["run"].pop("command")
        part["card"] = [line for line in part["card"] if "command" not in line]
    assert found == expected

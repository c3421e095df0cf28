"""``adapt pretrain`` as a user meets it: what a run would take, what it leaves behind, and what it refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from adapt.errors import CheckpointError
from adapt.features.base import EncoderSpec
from adapt.train.loop import LoopOptions
from adapt.workflows.dry_run import shortened
from adapt.workflows.recipe import load_recipe
from tests.workflows.pretrain_cases import RECIPE, TABLE_RECIPE, write_followers

from .conftest import Ran

Run = Callable[..., Ran]


@pytest.fixture(scope="module")
def arguments(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    root = tmp_path_factory.mktemp("run")
    (root / "follows.yaml").write_text(RECIPE)
    (root / "table.yaml").write_text(TABLE_RECIPE)
    data = [write_followers(root / name, seed) for seed, name in enumerate(("one", "two"))]
    return ["--dataset", data[0], "--dataset", data[1], "--recipe", str(root / "follows.yaml")]


def test_a_dry_run_says_what_a_run_takes_and_writes_nothing(
    adapt: Run, arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ran = adapt("pretrain", *arguments, "--dry-run", "--json")
    assert ran.code == 0, ran.err
    found = json.loads(ran.out)
    assert found["trainable"] == found["parameters"] > 2000
    assert found["optimiser_bytes"] == 8 * found["trainable"]
    assert (found["folds"], found["steps_a_fold"], found["final_steps"]) == (2, 30, 30)
    assert found["total_seconds"] == pytest.approx(sum(found["seconds"].values()), abs=0.1)
    assert found["seconds"]["final training"] == pytest.approx(30 * found["seconds_a_step"], abs=0.1)
    assert found["sequences_per_second"] == pytest.approx(32 / found["seconds_a_step"], rel=0.05)
    assert found["peak_memory_bytes"] > 100_000_000
    assert not list(tmp_path.iterdir())
    folder = tmp_path / "out"
    ran = adapt("pretrain", *arguments, "--dry-run", "--output", folder)
    assert ran.code == 0, ran.err
    for word in ("parameters", "memory", "2 x 30", "sequences/s", "in all"):
        assert word in ran.out
    assert not folder.exists()


def test_the_encoder_stage_has_a_dry_run_too(adapt: Run, arguments: list[str]) -> None:
    recipe = str(Path(arguments[-1]).with_name("table.yaml"))
    ran = adapt("pretrain", *arguments[:-1], recipe, "--dry-run", "--json")
    assert ran.code == 0, ran.err
    found = json.loads(ran.out)
    assert found["parameters"] > 29_525 * 256
    assert (found["folds"], found["steps_a_fold"]) == (2, 12)
    assert set(found["seconds"]) == {"encode", "left-out domains", "final training"}


def test_a_dry_run_of_both_stages_counts_both(adapt: Run, arguments: list[str], tmp_path: Path) -> None:
    table = Path(arguments[-1]).with_name("table.yaml")
    (tmp_path / "both.yaml").write_text(f"{RECIPE}encoder_recipe: {table}\n")
    ran = adapt("pretrain", *arguments[:-1], tmp_path / "both.yaml", "--dry-run", "--json")
    assert ran.code == 0, ran.err
    found = json.loads(ran.out)
    stages = {"encode", "left-out domains", "final training"}
    assert set(found["seconds"]) == stages | {"structure"} | {f"encoder, {stage}" for stage in stages}
    assert found["parameters"] < 29_525 * 256  # of the towers


def test_a_rehearsal_takes_few_steps_and_leaves_no_trace_on_the_schedule() -> None:
    recipe = load_recipe("adapt_mini")
    short = shortened(replace(recipe, loop=LoopOptions(steps=900, stop_after=500, checkpoint_every=1, patience=3)))
    assert short.loop.steps < 10
    assert (short.loop.stop_after, short.loop.checkpoint_every, short.loop.patience) == (0, 0, 0)
    assert len(short.leave_out) == len(short.mixtures) == len(short.structure.power) == 1
    assert short.towers == recipe.towers


def test_a_run_leaves_all_that_explains_it(adapt: Run, arguments: list[str], tmp_path: Path) -> None:
    folder = tmp_path / "run"
    ran = adapt("pretrain", *arguments, "--output", folder, "--tracker", "tensorboard", "--json", "--profile")
    assert ran.code == 0, ran.err
    found = json.loads(ran.out)
    assert found["peak_memory_bytes"] > 100_000_000
    run = json.loads((folder / "run.json").read_text())
    assert run["finished"] is True
    assert run["arguments"]["datasets"] == [arguments[1], arguments[3]]
    assert run["versions"]["torch"]
    assert set(run["seconds"]) == {"encode", "structure", "left-out domains", "final training"}
    assert set(run["profile"]) == set(run["seconds"])
    assert all(name in ran.err for name in run["profile"])
    assert run["result"]["step"] == found["step"]
    assert "<svg" in (folder / "report.html").read_text()
    assert yaml.safe_load((folder / "recipe.yaml").read_text())["loop"]["tracker"] == "tensorboard"
    assert list((folder / "tensorboard").glob("events*"))
    assert list((folder / "folds" / "one" / "tensorboard").glob("events*"))
    for name in found["files"].values():
        assert Path(name).is_file()


@pytest.mark.parametrize(
    ("more", "code", "word"),
    [
        (["--tracker", "paper"], 2, "tensorboard"),
        (["--device", "banana"], 2, "banana"),
        (["--output", "/dev/null/x"], 2, "/dev/null"),
    ],
)
def test_what_cannot_work_is_said_before_any_work(
    adapt: Run, arguments: list[str], tmp_path: Path, more: list[str], code: int, word: str
) -> None:
    ran = adapt("pretrain", *arguments, "--output", tmp_path / "run", *more)
    assert ran.code == code
    assert word in ran.err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("more", [["--tracker", "tensorboard"], ["--dry-run"]])
def test_what_a_leave_one_out_recipe_does_not_do_is_said(
    adapt: Run, arguments: list[str], tmp_path: Path, more: list[str]
) -> None:
    (tmp_path / "paper.yaml").write_text(RECIPE.replace("summary:", "stage: leave-one-out\nsummary:"))
    ran = adapt("pretrain", *arguments[:-1], tmp_path / "paper.yaml", "--output", tmp_path / "run", *more)
    assert ran.code == 2
    assert "leave-one-out" in ran.err
    assert not (tmp_path / "run").exists()


def test_a_dry_run_in_which_nothing_would_be_trained_says_so(adapt: Run, arguments: list[str]) -> None:
    ran = adapt("pretrain", *arguments[2:], "--dry-run")  # one data set alone: none can be left out
    assert ran.code == 2
    assert "nothing would be trained" in ran.err


def test_weights_are_fetched_only_with_leave(
    adapt: Run, arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    clip = [*arguments[:-1], "adapt_clip", "--output", tmp_path / "run"]
    ran = adapt("pretrain", *clip)
    assert ran.code == 4
    assert "--allow-download" in ran.err
    asked = []

    def refuse(spec: EncoderSpec, *, device: str, allow_download: bool) -> None:
        asked.append((spec.name, allow_download))
        raise CheckpointError("the test fetches nothing")

    monkeypatch.setattr("adapt.workflows.pretrain_sources.load_encoder", refuse)
    assert adapt("pretrain", *clip, "--allow-download").code == 4
    assert asked == [("ViT-B-32/laion2b_s34b_b79k", True)]
    assert not (tmp_path / "run").exists()

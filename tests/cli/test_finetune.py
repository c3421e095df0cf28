"""``adapt finetune`` and ``adapt recommend`` as a user meets them."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from adapt.workflows.run import Run
from tests.workflows.finetune_cases import write_walkers

from .conftest import Ran

Adapt = Callable[..., Ran]


@pytest.fixture(scope="module")
def walk(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_walkers(tmp_path_factory.mktemp("walk") / "walk")


def test_from_interactions_to_recommendations(adapt: Adapt, walk: str, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    tuned = adapt("finetune", "--dataset", walk, "--output", folder, "--epochs", "2", "--rank", "2")
    assert tuned.code == 0, tuned.err
    for word in ("zero-shot", "few-shot", "fine-tuned", "fused", "NDCG@10 cold", "trainable parameters", "peak memory"):
        assert word in " ".join(tuned.out.split()), word
    run = Run.load(folder)
    assert f"uses {run.chosen}" in " ".join(tuned.out.split())
    assert "Only 48 events" in tuned.err

    out = tmp_path / "out"
    ran = adapt("recommend", "--run", folder, "--dataset", walk, "--output", out, "--k", "3")
    assert ran.code == 0, ran.err
    assert f"recommended by {run.chosen}" in ran.err
    with (out / "recommendations.csv").open() as handle:
        rows = list(csv.DictReader(handle))
    assert len(rows) == 3 * 48
    facts = json.loads((out / "run.json").read_text())
    assert (facts["command"], facts["method"]) == ("recommend", run.chosen)
    assert facts["finetuned"]["sha256"] == run.sha256
    assert (out / "report.html").read_text().startswith("<!doctype html>")

    named = adapt(
        "recommend", "--run", folder, "--dataset", walk, "--history", "0,7", "--method", "fine-tuned", "--json"
    )
    document = json.loads(named.out)
    assert document["method"] == "fine-tuned"
    assert len(document["recommendations"][0]["items"]) == 10
    assert adapt("recommend", "--run", folder, "--dataset", walk, "--method", "best").code == 2


def test_json_holds_every_figure(adapt: Adapt, walk: str, tmp_path: Path) -> None:
    arguments = ["--head", "--no-item-residual", "--no-refit", "--epochs", "1", "--json", "--profile"]
    ran = adapt("finetune", "--dataset", walk, "--output", tmp_path / "run", *arguments)
    assert ran.code == 0, ran.err
    found = json.loads(ran.out)
    assert found["adaptation"]["kind"] == "head"
    assert found["residual"] is None
    assert set(found["validation"]["methods"]) == {"zero-shot", "few-shot", "fine-tuned", "fused"}
    assert found["trainings"]["towers"]["trainable_parameters"] > 0
    assert list(found["profile"]) == ["encode", "training", "validation"]
    assert all(stage["own_bytes"] > 0 for stage in found["profile"].values())
    assert [name for name in found["profile"] if f" {name} " in ran.err] == list(found["profile"])


@pytest.mark.parametrize(
    ("arguments", "code", "word"),
    [
        (["--lora", "--head"], 2, "--lora and --head"),
        (["--rank", "0"], 2, "rank of at least 1"),
        (["--checkpoint", "nothing"], 4, "nothing"),
        (["--epochs", "-1"], 2, "epochs"),
    ],
)
def test_what_cannot_be_is_said(
    adapt: Adapt, walk: str, tmp_path: Path, arguments: list[str], code: int, word: str
) -> None:
    ran = adapt("finetune", "--dataset", walk, "--output", tmp_path / "run", *arguments)
    assert ran.code == code
    assert word in ran.err
    assert not (tmp_path / "run").exists()


def test_what_is_missing_is_said(adapt: Adapt, walk: str, tmp_path: Path) -> None:
    assert "--output" in adapt("finetune", "--dataset", walk).err
    ran = adapt("recommend", "--run", tmp_path, "--dataset", walk)
    assert ran.code == 4
    assert "adapt finetune" in ran.err

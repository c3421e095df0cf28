"""``adapt pretrain``."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from adapt.hub.format import Checkpoint

from .conftest import Ran

Run = Callable[..., Ran]


def test_recipes_are_listed_and_shown(adapt: Run) -> None:
    names = adapt("pretrain", "--list").out.split()
    assert {"adapt_mini", "static_tuned_256"} <= set(names)
    assert json.loads(adapt("pretrain", "--list", "--json").out) == names
    assert yaml.safe_load(adapt("pretrain", "--show", "adapt_mini").out)["name"] == "adapt-mini"


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--recipe", "adapt_mini"], "--output"),
        ([], "--recipe"),
        (["--show", "nothing"], "adapt_mini"),
        (["--recipe", "adapt_mini", "--output", "x"], "--dataset"),
    ],
)
def test_what_is_missing_is_said(adapt: Run, arguments: list[str], word: str) -> None:
    ran = adapt("pretrain", *arguments)
    assert ran.code == 2
    assert word in ran.err


def test_a_tuned_table_and_towers_on_it(
    adapt: Run, tmp_path: Path, example_shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = {"kind": "static", "modality": "text", "name": "bundled:static-minilm-256"}
    recipe = {
        "name": "tuned",
        "stage": "encoder",
        "summary": "For tests.",
        "encoders": {"text": encoder},
        "structure": {"power": [0.5], "recency": [0.4]},
        "objectives": {"batch_size": 16},
        "loop": {"steps": 2, "learning_rate": 0.001},
        "leave_out": [],
    }
    (tmp_path / "tuned.yaml").write_text(yaml.safe_dump(recipe))
    run = tmp_path / "run"
    ran = adapt("pretrain", "--recipe", tmp_path / "tuned.yaml", "--dataset", example_shop, "--output", run, "--json")
    assert ran.code == 0, ran.err
    assert json.loads(ran.out)["step"] == 0  # nobody was left out, so nobody agreed to move
    assert {path.name for path in (run / "tuned").iterdir()} == {
        "README.md",
        "SHA256SUMS",
        "base.json",
        "delta.safetensors",
        "metrics.json",
    }
    recipe |= {"stage": "towers", "name": "towers", "structure": {"power": [0.5], "recency": [0.4, 0.6]}}
    (tmp_path / "towers.yaml").write_text(yaml.safe_dump(recipe))
    ran = adapt("pretrain", "--recipe", tmp_path / "towers.yaml", "--dataset", example_shop, "--output", run)
    assert ran.code == 0, ran.err
    assert "training-free" in ran.out
    assert Checkpoint.from_pretrained(str(run / "towers")).config.name == "towers"

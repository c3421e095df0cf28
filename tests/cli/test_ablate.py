"""``adapt pretrain`` for one data set: a recipe of the stage leave-one-out, and ``--ablate``."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from .conftest import Ran

Run = Callable[..., Ran]

RECIPE: dict[str, Any] = {
    "name": "small",
    "summary": "For tests.",
    "encoders": {"text": {"kind": "static", "modality": "text", "name": "bundled:static-minilm-256"}},
    "architecture": "mmsrec",
    "towers": {"dim": 8, "depth": 1, "heads": 2, "hidden": 8, "max_length": 5},
    "objectives": {"next_item": 0.0, "cloze": 1.0, "batch_size": 8, "negatives": "all"},
    "loop": {"steps": 2, "learning_rate": 0.01, "evaluate_every": 1},
}


def test_a_recipe_of_one_data_set_prints_both_policies(adapt: Run, tmp_path: Path, example_shop: Path) -> None:
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump({"stage": "leave-one-out", **RECIPE}))
    arguments = ["pretrain", "--recipe", path, "--dataset", example_shop, "--output", tmp_path / "run"]
    ran = adapt(*arguments)
    assert ran.code == 0, ran.err
    for word in ("kept", "excluded", "these towers", "content-kNN"):
        assert word in ran.out
    found = json.loads(adapt(*arguments, "--json").out)
    assert found["step"] in (1, 2)
    assert found["metrics"]["benchmarks"][0]["columns"][2:] == ["Recall@10", "NDCG@10", "Recall@50", "NDCG@50"]


def test_a_comparison_prints_a_table(adapt: Run, tmp_path: Path, example_shop: Path) -> None:
    path = tmp_path / "which.yaml"
    variants = {"causal": {"towers": {"attention": "causal"}, "objectives": {"next_item": 1.0, "cloze": 0.0}}}
    path.write_text(yaml.safe_dump({"summary": "Which way?", "recipe": RECIPE, "variants": variants}))
    arguments = ["pretrain", "--ablate", path, "--dataset", example_shop, "--output", tmp_path / "run"]
    ran = adapt(*arguments)
    assert ran.code == 0, ran.err
    assert "causal" in ran.out
    assert "Which way?" in (tmp_path / "run" / "ablation.md").read_text()
    found = json.loads(adapt(*arguments, "--resume", "--json").out)
    assert [variant["name"] for variant in found["results"][0]["variants"]] == ["base", "causal"]


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--ablate", "modalities"], "no --output"),
        (["--ablate", "modalities", "--output", "x"], "--dataset"),
        (["--ablate", "nothing", "--dataset", "x", "--output", "x"], "modalities"),
    ],
)
def test_what_is_missing_is_said(adapt: Run, arguments: list[str], word: str) -> None:
    ran = adapt("pretrain", *arguments)
    assert ran.code == 2
    assert word in ran.err

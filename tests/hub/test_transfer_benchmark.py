"""The benchmark of transfer measures a checkpoint and writes what it found into it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from adapt.files import bundled
from adapt.hub.format import Checkpoint
from tests.launching import REPOSITORY, alone
from tests.workflows.pretrain_cases import write_followers


def test_figures_go_into_the_checkpoint(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(bundled("pretrained") / "adapt-mini", tmp_path / "copy"))
    shop = write_followers(tmp_path / "shop", seed=0)
    program = REPOSITORY / "recipes" / "benchmarks" / "transfer.py"
    done = alone([program, "--data", shop, "--setting", "text", "--write", folder], REPOSITORY)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert [(line["target"], line["setting"]) for line in lines] == [("shop", "text")]
    before, after = (Checkpoint.from_pretrained(str(path)) for path in (bundled("pretrained") / "adapt-mini", folder))
    results = after.metrics["targets"]["results"]
    assert results[: -len(lines)] == before.metrics["targets"]["results"]
    for line, entry in zip(lines, results[-len(lines) :], strict=True):
        assert entry["methods"] == line["methods"]
        assert {"adapt-mini", "popularity", "content-kNN raw", "content-kNN whitened 1"} <= set(entry["methods"])
        assert entry["best_baseline"] in entry["methods"]
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert "### shop" in card
    assert "--data shop --setting text" in card
    for name in ("model.safetensors", "config.json", "feature_spec.json"):
        assert (folder / name).read_bytes() == (bundled("pretrained") / "adapt-mini" / name).read_bytes()

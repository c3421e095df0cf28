"""Figures that are added to a checkpoint change its metrics, card and hashes, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapt.errors import CheckpointError
from adapt.hub.format import Checkpoint
from adapt.hub.measurements import add_targets

from .conftest import target


def test_figures_are_added_beside_those_that_are_there(folder: Path) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    new = [target("t", "text", 0.5, 0.1), target("u", "image", 0.4, 0.1)]
    add_targets(folder, {"caption": "New.", "command": "python again.py", "results": new})
    read = Checkpoint.from_pretrained(str(folder))  # hashes are verified
    found = {(entry["target"], entry["setting"]): entry for entry in read.metrics["targets"]["results"]}
    assert list(found) == [("t", "text"), ("t", "both"), ("u", "image")]
    assert found["t", "text"]["methods"]["tiny"]["ndcg@10"] == 0.5
    assert read.metrics["left_out"]
    assert "python again.py" in (folder / "README.md").read_text()
    after = {path.name: path.read_bytes() for path in folder.iterdir()}
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"metrics.json", "README.md", "SHA256SUMS"}
    assert set(before) == set(after)


def test_a_damaged_checkpoint_is_not_given_new_hashes(folder: Path) -> None:
    (folder / "config.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"config\.json"):
        add_targets(folder, {"caption": "", "command": "", "results": []})

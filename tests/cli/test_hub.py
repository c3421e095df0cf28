"""``adapt hub list`` and ``adapt hub show``."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from adapt.errors import CheckpointError
from adapt.hub.bundled import bundled_entries
from adapt.hub.format import Checkpoint

from .conftest import Ran

ENTRY = {"name": "mini", "kind": "checkpoint", "size_bytes": 3_000_000, "sha256": "ab" * 32, "summary": "small", "x": 1}


def test_entries_are_read_in_order(tmp_path: Path) -> None:
    (tmp_path / "index.json").write_text(json.dumps({"checkpoints": [ENTRY, {**ENTRY, "name": "big"}]}))
    entries = bundled_entries(tmp_path)
    assert [entry.name for entry in entries] == ["mini", "big"]
    assert entries[0].path == str(tmp_path / "mini")


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"checkpoints": [{"name": "x"}]}', '{"checkpoints": 3}'])
def test_a_damaged_index_is_a_checkpoint_error(tmp_path: Path, content: str) -> None:
    (tmp_path / "index.json").write_text(content)
    with pytest.raises(CheckpointError, match="index"):
        bundled_entries(tmp_path)


def test_no_index_is_a_checkpoint_error(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"index\.json"):
        bundled_entries(tmp_path)


def test_the_bundled_checkpoint_is_listed(adapt: Callable[..., Ran]) -> None:
    ran = adapt("hub", "list")
    assert ran.code == 0
    assert "adapt-mini" in ran.out
    names = [entry["name"] for entry in json.loads(adapt("hub", "list", "--json").out)["checkpoints"]]
    assert "adapt-mini" in names


def test_a_checkpoint_is_shown_with_all_that_is_known(adapt: Callable[..., Ran]) -> None:
    found = json.loads(adapt("hub", "show", "adapt-mini", "--json").out)
    (entry,) = [entry for entry in bundled_entries() if entry.name == "adapt-mini"]
    assert (found["sha256"], found["size_bytes"]) == (entry.sha256, entry.size_bytes)
    sums = dict(line.split("  ")[::-1] for line in (Path(entry.path) / "SHA256SUMS").read_text().splitlines())
    hashes = {part["name"]: part["sha256"] for part in found["files"]}
    assert {name: hashes[name] for name in sums} == sums
    weights = sum(value.numel() for value in Checkpoint.from_pretrained("adapt-mini").towers.state_dict().values())
    assert found["parameters"] == weights
    assert found["feature_spec"]["encoders"]["text"]["id"].startswith("static:")
    assert found["trained_on"]
    assert not set(found["trained_on"]) & set(found["never_trained_on"])
    ran = adapt("hub", "show", "adapt-mini")
    assert ran.code == 0
    for part in (entry.sha256, "never trained on", found["feature_spec"]["encoders"]["image"]["id"], "left-out domain"):
        assert part in ran.out, part
    text = " ".join(ran.out.split())
    for target in found["metrics"]["targets"]["results"]:  # each has its line beside the best baseline
        assert f"{target['change_percent']:+.1f} %" in text


def test_a_checkpoint_in_a_folder_is_shown_and_a_damaged_one_refused(adapt: Callable[..., Ran], tmp_path: Path) -> None:
    (entry,) = [entry for entry in bundled_entries() if entry.name == "adapt-mini"]
    copy = Path(shutil.copytree(entry.path, tmp_path / "copy"))
    assert json.loads(adapt("hub", "show", str(copy), "--json").out)["sha256"] == entry.sha256
    (copy / "metrics.json").write_text("{}")
    ran = adapt("hub", "show", str(copy))
    assert ran.code == 4
    assert "metrics.json" in ran.err
    assert adapt("hub", "show", "adapt-maxi").code == 4

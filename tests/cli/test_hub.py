"""``adapt hub list``."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from adapt.errors import CheckpointError
from adapt.hub.bundled import bundled_entries

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

"""What comes with the package, and an installation that is damaged."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from adapt import files
from adapt.errors import CheckpointError
from adapt.hub.bundled import bundled_entries
from adapt.hub.resolve import resolve

ENTRY = {"name": "one", "kind": "checkpoint", "size_bytes": 5, "sha256": "ab", "summary": "One."}


def test_entries_come_in_the_order_of_the_index(tmp_path: Path) -> None:
    (tmp_path / "index.json").write_text(json.dumps({"checkpoints": [ENTRY, {**ENTRY, "name": "two"}]}))
    one, two = bundled_entries(tmp_path)
    assert (one.name, two.name) == ("one", "two")
    assert one.path == str(tmp_path / "one")
    assert json.loads(json.dumps(one.to_dict())) == {**ENTRY, "path": one.path}


@pytest.mark.parametrize(
    "content",
    [
        *("", "{", "[]", "null", "{}", '{"checkpoints": 3}', '{"checkpoints": ["x"]}'),
        *(json.dumps({"checkpoints": [entry]}) for entry in ({"name": "x"}, {**ENTRY, "size_bytes": "many"})),
    ],
)
def test_an_index_that_is_none_is_a_checkpoint_error(tmp_path: Path, content: str) -> None:
    (tmp_path / "index.json").write_text(content)
    with pytest.raises(CheckpointError, match="reinstall"):
        bundled_entries(tmp_path)


def test_an_index_that_is_no_text_is_a_checkpoint_error(tmp_path: Path) -> None:
    (tmp_path / "index.json").write_bytes(b"\xff\xfe{")
    with pytest.raises(CheckpointError, match="reinstall"):
        bundled_entries(tmp_path)


def test_a_missing_index_is_a_checkpoint_error_for_every_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "bundled", lambda _: tmp_path)
    with pytest.raises(CheckpointError, match=r"index\.json"):
        resolve("adapt-mini")


def test_a_listed_folder_that_is_absent_is_a_checkpoint_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from adapt.hub.format import Checkpoint

    (tmp_path / "index.json").write_text(json.dumps({"checkpoints": [ENTRY]}))
    monkeypatch.setattr(files, "bundled", lambda _: tmp_path)
    with pytest.raises(CheckpointError, match="one"):
        Checkpoint.from_pretrained("one")

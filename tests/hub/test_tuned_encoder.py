"""A checkpoint carries the adapter of its tuned encoder, wherever it goes."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from adapt.errors import CheckpointError
from adapt.features.adapted import FILES
from adapt.hub.format import Checkpoint


@pytest.fixture
def tuned(checkpoint: Checkpoint, tmp_path: Path) -> Checkpoint:
    """The checkpoint with an encoder whose adapter lies in some folder."""
    adapter = tmp_path / "run" / "tuned"
    adapter.mkdir(parents=True)
    for name in FILES:
        (adapter / name).write_text(name)
    encoder = replace(checkpoint.spec.encoders["text"], kind="transformers", adapter=str(adapter))
    return replace(checkpoint, spec=replace(checkpoint.spec, encoders={"text": encoder}))


def test_the_adapter_travels_with_the_checkpoint(tuned: Checkpoint, tmp_path: Path) -> None:
    tuned.save_pretrained(tmp_path / "first")
    shutil.rmtree(tmp_path / "run")
    again = Checkpoint.from_pretrained(str(tmp_path / "first"))
    again.save_pretrained(tmp_path / "second")
    shutil.rmtree(tmp_path / "first")
    moved = shutil.move(tmp_path / "second", tmp_path / "third")
    folder = Path(Checkpoint.from_pretrained(str(moved)).spec.encoders["text"].adapter)
    assert {path.name: path.read_text() for path in folder.iterdir()} == {name: name for name in FILES}
    assert folder.is_relative_to(moved)


def test_no_file_holds_a_path_of_the_machine(tuned: Checkpoint, tmp_path: Path) -> None:
    tuned.save_pretrained(tmp_path / "made")
    texts = [path.read_bytes() for path in (tmp_path / "made").rglob("*") if path.is_file()]
    assert len(texts) == 7 + len(FILES)
    assert not any(str(tmp_path).encode() in text for text in texts)


def test_a_changed_adapter_is_refused(tuned: Checkpoint, tmp_path: Path) -> None:
    tuned.save_pretrained(tmp_path / "made")
    (tmp_path / "made" / "encoders" / "text" / FILES[0]).write_text("other")
    with pytest.raises(CheckpointError, match="sha256"):
        Checkpoint.from_pretrained(str(tmp_path / "made"))


def test_a_missing_adapter_is_refused(tuned: Checkpoint, tmp_path: Path) -> None:
    tuned.save_pretrained(tmp_path / "made")
    (tmp_path / "made" / "encoders" / "text" / FILES[1]).unlink()
    with pytest.raises(CheckpointError, match="no such file"):
        Checkpoint.from_pretrained(str(tmp_path / "made"))

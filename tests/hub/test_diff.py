"""``adapt hub diff``: what differs between two checkpoints, and that nothing else is said to."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from adapt.errors import CheckpointError
from adapt.features.normalise import Normalisation
from adapt.hub.diff import diff
from adapt.hub.format import Checkpoint

from .conftest import target


def changed(checkpoint: Checkpoint, folder: Path) -> Path:
    """The same checkpoint with other weights, another power of whitening and another figure."""
    metrics = json.loads(json.dumps(dict(checkpoint.metrics)))
    metrics["targets"]["results"] = [target("t", "text", 0.25, 0.1), target("new", "text", 0.5, 0.1)]
    spec = replace(checkpoint.spec, normalisation={"text": Normalisation(power=1.0)})
    with torch.no_grad():
        next(checkpoint.towers.parameters()).add_(1)
    replace(checkpoint, spec=spec, metrics=metrics).save_pretrained(folder)
    return folder


def test_a_copy_differs_in_nothing(folder: Path, checkpoint: Checkpoint, tmp_path: Path) -> None:
    checkpoint.save_pretrained(tmp_path / "copy")
    found = diff(str(folder), str(tmp_path / "copy"))
    assert found.differences == ()
    assert found.to_dict()["same"] is True
    assert found.sha256[0] == found.sha256[1]


def test_the_spec_the_figures_and_the_files_that_differ_are_said(
    folder: Path, checkpoint: Checkpoint, tmp_path: Path
) -> None:
    found = diff(str(folder), str(changed(checkpoint, tmp_path / "other")))
    said = {(one.section, one.name): (one.first, one.second, one.change) for one in found.differences}
    assert said[("features", "normalisation.text.power")] == (0.5, 1.0, None)
    assert said[("figures", "t (text): ndcg@10")] == (0.2, 0.25, pytest.approx(0.05))
    assert said[("figures", "t (both): ndcg@10")] == (0.3, None, None)
    assert said[("figures", "new (text): recall@10")] == (None, 1.0, None)
    assert ("files", "model.safetensors") in said
    assert not {section for section, _ in said} & {"model", "pretraining", "run", "base"}
    assert ("files", "config.json") not in said
    assert json.loads(json.dumps(found.to_dict()))["same"] is False


def test_a_folder_of_something_else_is_refused(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    with pytest.raises(CheckpointError, match="SHA256SUMS"):
        diff(str(folder), str(other))
    (other / "SHA256SUMS").write_text("")
    with pytest.raises(CheckpointError, match="neither"):
        diff(str(folder), str(other))

"""``adapt hub diff``: what differs between two checkpoints, and that nothing else is said to."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from adapt import load_dataset
from adapt.data.catalog import Catalog
from adapt.errors import CheckpointError
from adapt.features.normalise import Normalisation
from adapt.hub.diff import diff
from adapt.hub.format import Checkpoint
from adapt.workflows.index_build import BuildOptions, build
from adapt.workflows.living_index import LivingIndex
from adapt.workflows.run import Run

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
    with pytest.raises(CheckpointError, match="found none of them"):
        diff(str(folder), str(other))


def test_what_two_indexes_hold_is_compared_item_by_item(walk: Path, base: Path, tmp_path: Path) -> None:
    first, second, copy = (str(tmp_path / name) for name in ("first", "second", "copy"))
    build(BuildOptions(dataset=str(walk), output=first, checkpoint=str(base)))
    shutil.copytree(first, copy)
    assert diff(first, copy).to_dict()["same"] is True
    shutil.copytree(first, second)
    living = LivingIndex.open(second)
    living.remove(["7"])
    catalog = load_dataset(walk).catalog
    row = catalog.index["3"]
    one = Catalog(
        **{field: _changed(getattr(catalog, field), row) for field in ("ids", "texts", "titles", "images")},
        columns={name: _changed(cells, row) for name, cells in catalog.columns.items()},
        text_template=catalog.text_template,
    )
    living.add(one)
    said = {(one.section, one.name): (one.first, one.second) for one in diff(first, second).differences}
    assert said[("items", "ids that the other lacks")] == (["7"], [])
    assert said[("index", "count")] == (48, 47)
    assert said[("items", "title of 1 items (3)")] == ([catalog.titles[row]], ["changed " + catalog.titles[row]])
    (lowest,) = [name for section, name in said if section == "items" and name.startswith("lowest cosine")]
    assert "(1 differ)" in lowest
    assert said[("items", lowest)][1] < 0.999
    assert not {section for section, _ in said} & {"base", "files", "model"}


def test_a_run_is_compared_by_its_adapter_and_kinds_differ_in_everything(run: Run, folder: Path) -> None:
    assert diff(str(run.path), str(run.path / "adapter")).to_dict()["same"] is True
    sections = {one.section for one in diff(str(run.path), str(folder)).differences}
    assert {"model", "base", "files"} <= sections


def _changed(cells: tuple[Any, ...], row: int) -> tuple[Any, ...]:
    cell = cells[row]
    return (f"changed {cell}" if isinstance(cell, str) and cell and not cell.isdigit() else cell,)

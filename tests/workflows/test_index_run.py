"""The index of a fine-tuned run answers as the run's towers do, and is bound to the run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from adapt import load_dataset
from adapt.errors import CheckpointError, UsageError
from adapt.hub.format import Checkpoint
from adapt.workflows.finetune import finetune
from adapt.workflows.index_build import BuildOptions, build
from adapt.workflows.index_facts import verify
from adapt.workflows.living_index import LivingIndex, SearchOptions
from adapt.workflows.run import Run

from .finetune_cases import QUICK, write_walkers


@pytest.fixture(scope="module")
def made(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A data set and a run over it."""
    folder = tmp_path_factory.mktemp("run")
    data = write_walkers(folder / "walk")
    checkpoint = Checkpoint.from_pretrained(str(tiny_folder))
    run = finetune(checkpoint, load_dataset(data), QUICK, folder / "run", reference=str(tiny_folder))
    return Path(data), run.path


def test_the_index_of_a_run(made: tuple[Path, Path], tmp_path: Path) -> None:
    data, run = made
    dataset = load_dataset(data)
    result = build(BuildOptions(dataset=str(data), output=str(tmp_path / "index"), run=str(run)))
    assert result.description.model.kind == "run"
    assert result.description.model.fingerprint == Run.load(run).sha256
    recommender = Run.load(run).recommender(dataset, method="fine-tuned")
    living = LivingIndex.open(tmp_path / "index")
    for user in dataset.interactions.user_ids[:5]:  # type: ignore[union-attr]
        history = [dataset.catalog.ids[row] for row in recommender.history_of(user)]
        (expected,) = recommender.recommend(history=history, k=5)
        found = living.by_history(history, SearchOptions(k=5))
        assert found.item_ids == expected.item_ids
        np.testing.assert_allclose(found.scores, expected.scores, atol=1e-5)
    before = living.snapshot.vectors.take(np.arange(3))
    living.add(dataset.catalog)
    rows = np.array([living.snapshot.row(item_id) for item_id in dataset.catalog.ids[:3]])
    np.testing.assert_allclose(living.snapshot.vectors.take(rows), before, atol=1e-6)
    with pytest.raises(UsageError, match="fine-tuned run"):
        living.compact(refit=True)
    assert living.compact().count == len(dataset.catalog)
    assert all(check.passed for check in verify(tmp_path / "index", seed=0))


def test_another_run_is_refused(made: tuple[Path, Path], tmp_path: Path) -> None:
    data, run = made
    build(BuildOptions(dataset=str(data), output=str(tmp_path / "index"), run=str(run)))
    other = shutil.copytree(run, tmp_path / "other")
    record = json.loads((other / "run.json").read_text())
    removed = next(name for name in record["files"] if name.endswith("README.md"))
    record["files"].pop(removed)
    (other / "run.json").write_text(json.dumps(record))
    with pytest.raises(CheckpointError) as caught:
        LivingIndex.open(tmp_path / "index", run=str(other))
    assert Run.load(run).sha256 in caught.value.message
    assert Run.load(other).sha256 in caught.value.message

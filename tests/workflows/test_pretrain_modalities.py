"""Pretraining on data sets of every kind at once, and the recipes for encoders that are too large for a test."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from adapt import load_dataset, zero_shot
from adapt.files import bundled
from adapt.hub.format import Checkpoint
from adapt.seeds import generator
from adapt.train.log import read_log
from adapt.workflows.pretrain import PretrainOptions, PretrainResult, pretrain
from tests.features.conftest import bert_folder, clip_folder

__all__ = ["bert_folder", "clip_folder"]  # fixtures
WORDS = ("red", "blue", "dress", "shoe", "kettle", "steel", "cafe")
ITEMS, USERS = 24, 16


def write_catalog(
    folder: Path, *, texts: Callable[[int], bool], images: Callable[[int], bool], users: int = USERS
) -> str:
    """A data set in which ``texts`` and ``images`` say which items have one; without users it is a catalog alone."""
    random = generator(len(folder.name), users)
    (folder / "images").mkdir(parents=True)
    lines = ["item_id,title,image"]
    for item in range(ITEMS):
        picture = f"images/{item}.png" if images(item) else ""
        if picture:
            Image.fromarray(random.integers(0, 256, (16, 16, 3)).astype(np.uint8)).save(folder / picture)
        title = f"{WORDS[item % 7]} {WORDS[item // 7]}" if texts(item) else ""
        lines.append(f"{item},{title},{picture}")
    (folder / "items.csv").write_text("\n".join(lines) + "\n")
    if users:
        rows = [
            f"u{user},{item},{when}"
            for user in range(users)
            for when, item in enumerate(random.permutation(ITEMS)[: 3 + user % 4])
        ]
        (folder / "interactions.csv").write_text("user_id,item_id,timestamp\n" + "\n".join(rows) + "\n")
    return str(folder)


def always(_: int) -> bool:
    return True


def never(_: int) -> bool:
    return False


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Texts only, pictures only, both with gaps (some items have neither), a catalog that nobody bought from."""
    root = tmp_path_factory.mktemp("mixed")
    return [
        write_catalog(root / "words", texts=always, images=never),
        write_catalog(root / "pictures", texts=never, images=always),
        write_catalog(root / "gaps", texts=lambda item: item % 3 != 0, images=lambda item: item % 4 != 0),
        write_catalog(root / "catalog", texts=always, images=always, users=0),
        write_catalog(root / "unordered", texts=always, images=lambda item: item % 2 == 0),
        write_catalog(root / "one-picture", texts=always, images=lambda item: item == 0),
    ]


def adapted(name: str, changes: Mapping[str, Any], folder: Path) -> str:
    """A bundled recipe with only what has to differ for small encoders."""
    recipe = yaml.safe_load((bundled("recipes") / f"{name}.yaml").read_text(encoding="utf-8"))
    for key, values in changes.items():
        recipe[key] = {**recipe.get(key, {}), **values} if isinstance(values, dict) else values
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump({**recipe, "cases": 60, "unordered": ["unordered"]}))
    return str(path)


def check(result: PretrainResult, datasets: list[str]) -> None:
    """The checkpoint loads, and recommends for every kind of data set."""
    checkpoint = Checkpoint.from_pretrained(str(result.folder))
    assert set(checkpoint.spec.encoders) == {"text", "image"}
    for path in datasets:
        data = load_dataset(path)
        found, scores = zero_shot(checkpoint, data).search_items(np.array([1, 2]), 3)
        assert (found >= 0).all(), path
        assert np.isfinite(scores).all()


@pytest.fixture(scope="module")
def clip_run(clip_folder: Path, mixed: list[str], tmp_path_factory: pytest.TempPathFactory) -> PretrainResult:
    root = tmp_path_factory.mktemp("clip-run")
    name = f"local-dir:{clip_folder}"
    changes = {
        "encoders": {kind: {"kind": "open_clip", "modality": kind, "name": name} for kind in ("text", "image")},
        "towers": {"shared": 8, "private": {"image": 8}},
        "loop": {"steps": 4, "evaluate_every": 2, "checkpoint_every": 2},
    }
    recipe = adapted("adapt_clip", changes, root)
    return pretrain(PretrainOptions(recipe=recipe, datasets=tuple(mixed), output=str(root / "run")))


def test_data_sets_of_every_kind_train_together(clip_run: PretrainResult, mixed: list[str]) -> None:
    check(clip_run, mixed)
    assert clip_run.metrics["pretraining"]["trained_on"] == [Path(path).name for path in mixed]
    assert {fold.source: {view for view, cases in fold.start.items() if len(cases)} for fold in clip_run.folds} == {
        "words": {"text"},
        "pictures": {"image"},
        "gaps": {"text", "image", "both", "mixed"},
        "one-picture": {"text", "both", "mixed"},  # with one picture there is nothing to find by pictures alone
    }
    for choice in clip_run.structure:
        assert np.isfinite([score for scores in choice.scores.values() for score in scores.values()]).all()
    log = read_log(clip_run.folder.parent / "folds" / "words" / "log.jsonl")
    assert all(np.isfinite(record["losses"]["total"]) for record in log)


def test_the_alignment_learns_from_a_catalog_without_interactions(clip_run: PretrainResult) -> None:
    logs = [read_log(path) for path in (clip_run.folder.parent / "folds").glob("*/log.jsonl")]
    assert len(logs) == 4
    assert any(record["losses"]["alignment"] > 0 for log in logs for record in log)


def test_the_model_for_a_gpu_runs_in_bf16(
    clip_folder: Path, bert_folder: Path, mixed: list[str], tmp_path: Path
) -> None:
    changes = {
        "encoders": {
            "text": {"kind": "transformers", "modality": "text", "name": str(bert_folder)},
            "image": {"kind": "open_clip", "modality": "image", "name": f"local-dir:{clip_folder}"},
        },
        "towers": {"shared": 16, "private": {"image": 8}},
        "loop": {"steps": 2, "evaluate_every": 2, "checkpoint_every": 2},
        "structure": {"power": [0.5], "recency": [0.4], "weight": [0.2], "shared": [0.5]},
        "leave_out": ["gaps"],
    }
    recipe = adapted("adapt_gpu", changes, tmp_path)
    result = pretrain(PretrainOptions(recipe=recipe, datasets=tuple(mixed), output=str(tmp_path / "run")))
    check(result, mixed)
    (loop, *_) = sorted((tmp_path / "run" / "folds").glob("*/loop.json"))
    assert json.loads(loop.read_text())["precision"] == "bf16"
    assert result.checkpoint.config.towers["depth"] == 4

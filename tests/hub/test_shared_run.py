"""A run that was pushed with its items recommends elsewhere as its towers do here, and strangers' runs are checked."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from adapt import evaluate, load_dataset, zero_shot
from adapt.data import Dataset
from adapt.errors import CheckpointError, DataError
from adapt.files import write_sums
from adapt.hub.adapter import Adapter
from adapt.hub.format import Checkpoint
from adapt.hub.push import PushOptions
from adapt.workflows.hub_push import prepare, push_path
from adapt.workflows.hub_verify import verify
from adapt.workflows.index_build import BuildOptions, build
from adapt.workflows.living_index import LivingIndex, SearchOptions
from adapt.workflows.recommend import RecommendOptions
from adapt.workflows.recommender import Recommender
from adapt.workflows.run import Run
from adapt.workflows.run_recommend import recommend_from_run

from .fake_hub import FakeHub

ITEMS = PushOptions(include_items=True, base="org/tiny")
UNKNOWN_CHANNEL = {"content": 1.0, "weights": {"gossip": 1.0}, "events": 1}


@pytest.fixture
def shared(hub: FakeHub, commit: str, run: Run) -> str:
    """The run with its items on the Hub, pinned."""
    return push_path(run.path, "org/walk", ITEMS).reference


@pytest.fixture
def copied(commit: str, run: Run, tmp_path: Path) -> Path:
    """The same in a folder, to be tampered with."""
    plan = prepare(run.path, "org/walk", ITEMS, tmp_path / "share")
    return Path(shutil.copytree(plan.folder, tmp_path / "copied"))


@pytest.fixture(scope="session")
def data(walk: Path) -> Dataset:
    return load_dataset(walk)


def lists(recommender: Recommender, data: Dataset) -> tuple[list[tuple[str, ...]], np.ndarray[Any, Any]]:
    assert data.interactions is not None
    found = recommender.recommend(users=data.interactions.user_ids[:12], k=5)
    return [one.item_ids for one in found], np.array([one.scores for one in found])


@pytest.mark.parametrize("method", ["zero-shot", "few-shot", "fine-tuned", "fused"])
def test_a_shared_run_recommends_as_the_run_does(shared: str, run: Run, data: Dataset, method: str) -> None:
    """On the run's own data set even by the methods that remember: they remember what the data set holds."""
    got = Run.load(shared)
    here, there = (lists(one.recommender(data, method=method), data) for one in (run, got))
    assert here[0] == there[0]
    np.testing.assert_array_equal(here[1], there[1])


def test_its_towers_recommend_with_what_they_learned_of_items(shared: str, run: Run, data: Dataset) -> None:
    got = Run.load(shared)
    assert (got.reference, got.shared) == (shared, True)
    with_items = lists(got.recommender(data, method="fine-tuned"), data)
    assert with_items[0] == lists(run.recommender(data, method="fine-tuned"), data)[0]
    without = lists(zero_shot(Checkpoint.from_pretrained(shared), data), data)
    assert not np.allclose(with_items[1], without[1], atol=1e-4), "the residuals and the map of its catalog count"
    assert got.sha256 == Adapter.from_pretrained(shared).sha256


@pytest.mark.parametrize(("best", "expected"), [(0.9, "zero-shot"), (0.0, "fine-tuned")])
def test_it_recommends_by_the_best_that_needs_no_histories(copied: Path, best: float, expected: str) -> None:
    metrics = json.loads((copied / "metrics.json").read_text())
    metrics["validation"]["methods"]["zero-shot"]["ndcg@10"]["mean"] = best
    edit_metrics(copied, validation=metrics["validation"], chosen="fused")
    write_sums(copied)
    got = Run.load(copied)
    assert got.chosen == expected
    assert "--method fused remembers" in got.explained(expected)[-1]


def test_it_says_what_it_lacks(shared: str, data: Dataset, walk: Path, tmp_path: Path) -> None:
    asked = RecommendOptions(dataset=str(walk), users=("u1",), k=3)
    result = recommend_from_run(shared, asked)
    assert result.method == Run.load(shared).chosen
    assert any(f"When the run was made, {result.method} reached NDCG@10" in sentence for sentence in result.how)
    assert result.run["finetuned"]["path"] == shared
    fused = recommend_from_run(shared, asked, method="fused")
    assert "histories were not shared" in " ".join(fused.how)
    shutil.copyfile(walk / "items.csv", tmp_path / "items.csv")
    with pytest.raises(DataError, match="for fused to remember") as caught:
        recommend_from_run(shared, RecommendOptions(dataset=str(tmp_path), history=("3",)), method="fused")
    assert "--method" in caught.value.hint
    assert recommend_from_run(shared, RecommendOptions(dataset=str(tmp_path), history=("3",))).method == result.method


def test_it_is_not_evaluated_where_nobody_can_tell_what_it_has_seen(shared: str, data: Dataset) -> None:
    with pytest.raises(CheckpointError, match="which hidden events it has seen") as caught:
        evaluate([Run.load(shared)], data)
    assert "adapt hub compare" in caught.value.hint


def test_an_index_of_it_is_shared_and_found_elsewhere(
    hub: FakeHub, shared: str, run: Run, data: Dataset, walk: Path, tmp_path: Path
) -> None:
    build(BuildOptions(dataset=str(walk), output=str(tmp_path / "index"), run="org/walk"))
    pushed = push_path(tmp_path / "index", "org/walk-index", PushOptions(include_items=True))
    got = LivingIndex.open(pushed.reference)
    assert got.snapshot.description.model.reference == shared
    (expected,) = run.recommender(data, method="fine-tuned").recommend(history=["3", "9"], k=5)
    found = got.by_history(["3", "9"], SearchOptions(k=5))
    assert found.item_ids == expected.item_ids
    assert verify(pushed.reference).sound


def test_an_adapter_without_items_is_no_run(hub: FakeHub, commit: str, run: Run) -> None:
    without = push_path(run.path, "org/plain", PushOptions(base="org/tiny")).reference
    with pytest.raises(CheckpointError, match="an adapter without items") as caught:
        Run.load(without)
    assert "adapt zero-shot --checkpoint" in caught.value.hint
    assert "--include-items" in caught.value.hint


def test_pushed_again_it_keeps_its_items(hub: FakeHub, shared: str, tmp_path: Path) -> None:
    Adapter.from_pretrained(shared).save_pretrained(tmp_path / "mine")
    again = push_path(tmp_path / "mine", "org/again", PushOptions(include_items=True)).reference
    assert Run.load(again).item_ids == Run.load(shared).item_ids


def edit_items(folder: Path, **changed: Any) -> None:
    metrics = json.loads((folder / "metrics.json").read_text())
    metrics["items"].update(changed)
    (folder / "metrics.json").write_text(json.dumps(metrics))


def edit_metrics(folder: Path, **changed: Any) -> None:
    metrics = json.loads((folder / "metrics.json").read_text())
    (folder / "metrics.json").write_text(json.dumps({**metrics, **changed}))


def edit_tensor(name: str, tensor: str, change: Callable[[Any], Any]) -> Callable[[Path], object]:
    def edit(folder: Path) -> None:
        tensors = load_file(folder / name)
        tensors[tensor] = np.ascontiguousarray(change(tensors.get(tensor)))
        save_file(tensors, folder / name)

    return edit


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda folder: (folder / "items.json").write_text('{"a": 1}'), "a list of different item ids"),
        (lambda folder: (folder / "items.json").write_text('["a", "a"]'), "a list of different item ids"),
        (lambda folder: (folder / "items.json").write_text("[1, 2]"), "a list of different item ids"),
        (lambda folder: (folder / "items.json").write_text('["a"]'), "rows as different int64 below 1"),
        (edit_tensor("items.safetensors", "rows", lambda rows: rows + 10_000), "rows as different int64"),
        (edit_tensor("items.safetensors", "rows", lambda rows: rows * 0), "rows as different int64"),
        (edit_tensor("items.safetensors", "columns", lambda columns: columns - 1), "columns as different int64"),
        (edit_tensor("items.safetensors", "delta", lambda delta: delta[:, :1]), "delta as finite float32"),
        (edit_tensor("items.safetensors", "delta", lambda delta: delta * np.float32("nan")), "delta as finite float32"),
        (edit_tensor("items.safetensors", "more", lambda _: np.zeros(1)), "rows, delta and columns"),
        (edit_tensor("normaliser.safetensors", "text.basis", lambda basis: basis[:1]), "text.basis as finite float32"),
        (edit_tensor("normaliser.safetensors", "text.mean", lambda mean: mean[None]), "text.mean as finite float32"),
        (lambda folder: (folder / "normaliser.safetensors").unlink(), "normaliser.safetensors"),
        (lambda folder: (folder / "items.safetensors").write_bytes(b"no tensors"), "expected safetensors"),
        (lambda folder: edit_items(folder, count=7), "expected 7 items"),
        (lambda folder: edit_items(folder, bound="long"), "items in"),
        (lambda folder: edit_items(folder, code="import os"), "code"),
        (lambda folder: edit_items(folder, weighings={"fused": UNKNOWN_CHANNEL}), "weights"),
        (lambda folder: edit_metrics(folder, chosen="nobody"), "the methods of a run"),
        (lambda folder: edit_metrics(folder, validation=None), "the methods of a run"),
    ],
    ids=[
        *("no list", "an id twice", "ids of numbers", "fewer ids", "rows outside", "a row twice", "columns outside"),
        *("another width", "not finite", "another tensor", "another basis", "another mean", "missing map"),
        *("no safetensors", "another count", "bound of text", "unknown key", "unknown channel", "unknown method"),
        "no figures",
    ],
)  # fmt: skip
def test_tampered_items_are_refused(copied: Path, edit: Callable[[Path], object], words: str) -> None:
    def load() -> None:
        Run.load(copied).items.residual(["3"])

    load()
    edit(copied)
    write_sums(copied)
    with pytest.raises(CheckpointError, match=words):
        load()
    assert not verify(str(copied)).sound

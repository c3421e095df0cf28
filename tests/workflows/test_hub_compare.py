"""Which checkpoint to adapt: the same hidden events for all, paired intervals, and a verdict that follows from them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from adapt import load_dataset
from adapt.errors import CheckpointError, DataError, UsageError
from adapt.hub.format import Checkpoint
from adapt.workflows.evaluate import EvaluateOptions, evaluate_run
from adapt.workflows.evaluate_verdict import Scores
from adapt.workflows.hub_compare import CompareOptions, compare_checkpoints, judge_checkpoints

KINDS = ("shirt", "rake", "grinder", "clock", "tent", "rose")
WORDS = ("red", "blue", "green", "black", "white", "grey", "brown", "pink")


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Users who stay with one kind of thing: what is next follows from the titles."""
    folder = tmp_path_factory.mktemp("shop")
    items = [f"{kind}-{word},{word} {kind}" for kind in KINDS for word in WORDS]
    random = np.random.default_rng(0)
    rows = []
    for user in range(60):
        kind = KINDS[user % len(KINDS)]
        rows += [f"u{user},{kind}-{WORDS[place]}" for place in random.permutation(len(WORDS))[:4]]
    (folder / "items.csv").write_text("item_id,title\n" + "\n".join(items) + "\n")
    (folder / "interactions.csv").write_text("user_id,item_id\n" + "\n".join(rows) + "\n")
    return folder


@pytest.fixture(scope="module")
def blind(tiny: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Towers that see one random direction of the features."""
    folder = tmp_path_factory.mktemp("blind") / "blind"
    towers = Checkpoint.from_pretrained(str(_saved(tiny, folder.parent / "copy"))).towers
    torch.manual_seed(1)
    with torch.no_grad():
        weight = towers.projection["text"].linear.weight  # type: ignore[index, union-attr]
        weight.copy_(torch.randn(weight.shape[0], 1) @ torch.randn(1, weight.shape[1]))
    _saved(replace(tiny, towers=towers, metrics={"pretraining": {"trained_on": ["elsewhere"]}}), folder)
    return folder


def _saved(checkpoint: Checkpoint, folder: Path) -> Path:
    checkpoint.save_pretrained(folder)
    return folder


def test_checkpoints_are_ranked_on_the_same_hidden_events(shop: Path, tiny_folder: Path, blind: Path) -> None:
    options = CompareOptions(dataset=str(shop), checkpoints=(str(blind), str(tiny_folder)))
    found = compare_checkpoints(options)
    first, second, last = found.contenders
    assert (first.reference, last.reference) == (str(tiny_folder), str(blind))
    assert second.reference == "training-free"
    assert first.against_best is None
    assert last.against_best is not None
    assert last.against_best.sign < 0
    assert (found.users, found.candidates, found.metric) == (60, 48, "ndcg@10")
    assert f"{blind} is behind it" in str(found.verdict)
    assert compare_checkpoints(options).contenders == found.contenders
    plain = json.loads(json.dumps(found.to_dict()))
    assert [one["reference"] for one in plain["checkpoints"]] == [one.reference for one in found.contenders]
    assert plain["run"]["data_sha256"].keys() == {"items.csv", "interactions.csv"}


def test_the_figures_are_those_of_an_evaluation(shop: Path, tiny_folder: Path) -> None:
    found = compare_checkpoints(CompareOptions(dataset=str(shop), checkpoints=(str(tiny_folder),)))
    evaluated = evaluate_run(
        EvaluateOptions(dataset=str(shop), checkpoint=str(tiny_folder), methods=("zero-shot", "training-free"))
    )
    figures = {one.reference: one.metrics["ndcg@10"] for one in found.contenders}
    assert figures[str(tiny_folder)] == evaluated.method("zero-shot").slices["overall"].metrics["ndcg@10"]
    assert figures["training-free"] == evaluated.method("training-free").slices["overall"].metrics["ndcg@10"]


def test_a_checkpoint_that_saw_the_data_set_is_said_to_have(shop: Path, tiny: Checkpoint, tmp_path: Path) -> None:
    name = load_dataset(shop).name
    saved = _saved(replace(tiny, metrics={"pretraining": {"trained_on": [name]}}), tmp_path / "seen")
    found = compare_checkpoints(CompareOptions(dataset=str(shop), checkpoints=(str(saved),)))
    assert [one.seen for one in found.contenders if one.reference == str(saved)] == [True]
    assert "its figure is too good" in str(found.verdict)


def test_what_cannot_be_compared_is_said(shop: Path, tiny_folder: Path, tmp_path: Path) -> None:
    def asked(*names: str, dataset: Path = shop) -> CompareOptions:
        return CompareOptions(dataset=str(dataset), checkpoints=names)

    with pytest.raises(UsageError, match="found none"):
        compare_checkpoints(asked())
    with pytest.raises(UsageError, match="twice"):
        compare_checkpoints(asked("adapt-mini", "adapt-mini"))
    with pytest.raises(CheckpointError, match="adapt-maxi"):
        compare_checkpoints(asked("adapt-maxi"))
    (tmp_path / "items.csv").write_text("item_id,title\na,red rose\nb,white rose\n")
    with pytest.raises(DataError, match="catalog alone"):
        compare_checkpoints(asked(str(tiny_folder), dataset=tmp_path))


def scores(name: str, mean: float, users: int = 200, group: str = "untrained") -> Scores:
    """Users of whom a share has the value 1, the same ones first for every method."""
    return Scores(name, group, (np.arange(users) < mean * users).astype(float))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("found", "ship", "words"),
    [
        ([scores("a", 0.5), scores("b", 0.2), scores("training-free", 0.1, group="control")], "a", "surely the best"),
        ([scores("a", 0.5), scores("b", 0.5)], "a", "b cannot be told from it"),
        ([scores("training-free", 0.5, group="control"), scores("a", 0.3)], None, "is worse than towers without it"),
        ([scores("a", 0.5), scores("training-free", 0.5, group="control")], None, "not surely better than towers"),
        ([scores("a", 0.5, users=20), scores("b", 0.1, users=20)], None, "too few to rely on it"),
        ([scores("a", 0.0), scores("b", 0.0)], None, "Too little data to tell"),
    ],
)
def test_the_verdict_follows_from_the_numbers(found: list[Scores], ship: str | None, words: str) -> None:
    verdict = judge_checkpoints(found, "NDCG@10")
    assert verdict.ship == ship
    assert words in verdict.headline

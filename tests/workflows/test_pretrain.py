"""`adapt pretrain` end to end on small data sets, and the parts that decide how far it goes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from adapt.errors import UsageError
from adapt.features.base import EncoderSpec
from adapt.hub.format import Checkpoint
from adapt.seeds import generator
from adapt.train.loop import LoopOptions
from adapt.train.pretraining import FoldResult, agreed, interpolate
from adapt.train.structure import choose
from adapt.workflows.pretrain import PretrainOptions, PretrainResult, pretrain
from adapt.workflows.recipe import Recipe, load_recipe
from adapt.workflows.recipe_files import recipe_names
from tests.workflows.pretrain_cases import COLOURS, THINGS, steady, write_things

RECIPE = """
name: probe
summary: For tests.
encoders:
  text: {kind: static, modality: text, name: "bundled:static-minilm-256"}
towers: {width: 8, heads: 2, hidden: 8, max_length: 8}
structure: {power: [0.5, 1.0], recency: [0.2, 0.6]}
objectives: {next_item: 1.0, batch_size: 8, negatives: 8, catalog_batch: 8}
loop: {steps: 4, learning_rate: 0.001, evaluate_every: 2, checkpoint_every: 2}
cases: 40
"""


def write_data(folder: Path, seed: int) -> str:
    """A catalog of coloured things, and users who like one kind of thing."""
    random = generator(seed)
    lines = []
    for user in range(30):
        kind = int(random.integers(len(THINGS)))
        picked = random.permutation(len(COLOURS))[:4]
        lines += [f"u{user},{kind * len(COLOURS) + item},{when}" for when, item in enumerate(picked)]
    return write_things(folder, lines)


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> PretrainOptions:
    root = tmp_path_factory.mktemp("pretrain")
    (root / "probe.yaml").write_text(RECIPE)
    data = tuple(write_data(root / name, seed) for seed, name in enumerate(("one", "two")))
    return PretrainOptions(recipe=str(root / "probe.yaml"), datasets=data, output=str(root / "run"))


@pytest.fixture(scope="module")
def result(options: PretrainOptions) -> PretrainResult:
    return pretrain(options)


def test_the_run_writes_a_checkpoint_that_loads(result: PretrainResult) -> None:
    read = Checkpoint.from_pretrained(str(result.folder))
    assert read.config.name == "probe"
    assert read.metrics["pretraining"]["trained_on"] == ["one", "two"]
    assert read.spec.encoders["text"].id.startswith("static:")
    assert "NDCG@10" in (result.folder / "README.md").read_text()


def test_every_domain_is_left_out_in_turn(result: PretrainResult) -> None:
    assert [fold.source for fold in result.folds] == ["one", "two"]
    points = {(2, share) for share in (0.25, 0.5, 0.75, 1.0)} | {(4, share) for share in (0.25, 0.5, 0.75, 1.0)}
    assert set(result.folds[0].trained) == points
    assert len(result.folds[0].start["text"]) == 40  # each user's last item, and earlier ones up to `cases`


def test_the_same_run_gives_the_same_bytes(options: PretrainOptions, result: PretrainResult, tmp_path: Path) -> None:
    again = pretrain(PretrainOptions(recipe=options.recipe, datasets=options.datasets, output=str(tmp_path)))
    assert steady(again.folder) == steady(result.folder)


def test_the_structure_is_chosen_from_the_other_domains(result: PretrainResult) -> None:
    (choice,) = result.structure
    assert choice.names == ("power", "recency")
    assert set(choice.left_out) == {"one", "two"}
    rows = json.loads((result.folder / "metrics.json").read_text())["left_out"][0]["rows"]
    assert [row[0] for row in rows] == ["one", "two"]


def fold(name: str, start: list[float], trained: dict[tuple[int, float], list[float]]) -> FoldResult:
    return FoldResult(name, {"text": np.array(start)}, {k: {"text": np.array(v)} for k, v in trained.items()})


def test_a_step_is_taken_only_where_no_domain_is_hurt() -> None:
    start = [0.5, 0.4] * 50
    better, worse, same = [0.6, 0.5] * 50, [0.4, 0.3] * 50, start
    first = fold("a", start, {(1, 0.5): better, (2, 0.5): better, (2, 1.0): better})
    second = fold("b", start, {(1, 0.5): same, (2, 0.5): worse, (2, 1.0): better})
    assert agreed([first, second]) == (2, 1.0)
    third = fold("c", start, {(1, 0.5): same, (2, 0.5): same, (2, 1.0): worse})
    assert agreed([first, second, third]) == (1, 0.5)
    nothing = fold("d", start, {(1, 0.5): worse, (2, 0.5): worse, (2, 1.0): worse})
    assert agreed([first, second, nothing]) == (0, 0.0)
    assert agreed([]) == (0, 0.0)


def test_a_gain_within_noise_moves_nothing() -> None:
    random = generator(0)
    start = random.random(400)
    lucky = start + random.normal(size=400) * 0.3
    lucky += 0.005 - (lucky - start).mean()  # a mean gain of 1 %, a third of its standard error
    assert agreed([FoldResult("a", {"text": start}, {(1, 1.0): {"text": lucky}})]) == (0, 0.0)
    assert agreed([FoldResult("a", {"text": start}, {(1, 1.0): {"text": start + 0.005}})]) == (1, 1.0)


def test_the_structure_may_be_judged_by_other_encoders(options: PretrainOptions, tmp_path: Path) -> None:
    recipe = tmp_path / "judged.yaml"
    tuned = RECIPE.replace("bundled:static-minilm-256", "bundled:static-tuned-256")
    untuned = '{text: {kind: static, modality: text, name: "bundled:static-minilm-256"}}'
    recipe.write_text(tuned + f"structure_encoders: {untuned}\n")
    judged = pretrain(PretrainOptions(recipe=str(recipe), datasets=options.datasets, output=str(tmp_path / "run")))
    plain = pretrain(PretrainOptions(recipe=options.recipe, datasets=options.datasets, output=str(tmp_path / "plain")))
    assert judged.structure[0].scores == plain.structure[0].scores
    assert judged.checkpoint.spec.encoders["text"].name == "bundled:static-tuned-256"


def test_interpolation_ends_at_both_ends() -> None:
    start, end = {"w": torch.zeros(2)}, {"w": torch.full((2,), 4.0)}
    for share, expected in ((0.0, 0.0), (0.25, 1.0), (1.0, 4.0)):
        assert interpolate(start, end, share)["w"].tolist() == [expected] * 2


def test_no_domain_decides_by_its_size() -> None:
    table = {(1.0,): {"big": 0.9, "small": 0.010}, (2.0,): {"big": 0.8, "small": 0.020}}
    choice = choose(("power",), list(table), [("big", "text"), ("small", "text")], lambda s, case: table[s][case[0]])
    assert choice.setting == (2.0,)
    assert choice.left_out["small"] == ((1.0,), 0.010, 0.020)


def test_bundled_recipes_are_valid() -> None:
    assert "adapt_mini" in recipe_names()
    for name in recipe_names():
        recipe = load_recipe(name)
        assert recipe.loop.steps > 0
        assert isinstance(next(iter(recipe.encoders.values())), EncoderSpec)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ("colour: red", "colour"),
        ("leave_out: [three]", "three"),
        ("hold_back: {three: 5}", "three"),
        ("cases: many", "cases"),
    ],
)
def test_a_recipe_that_does_not_fit_is_refused(
    options: PretrainOptions, tmp_path: Path, change: str, word: str
) -> None:
    recipe = tmp_path / "bad.yaml"
    recipe.write_text(RECIPE.replace("cases: 40\n", "") + change + "\n")
    with pytest.raises(UsageError, match=word):
        pretrain(PretrainOptions(recipe=str(recipe), datasets=options.datasets, output=str(tmp_path / "run")))


def test_an_unknown_recipe_lists_the_known_ones() -> None:
    with pytest.raises(UsageError, match="adapt_mini"):
        load_recipe("adapt_maxi")


def test_defaults_are_what_the_docstring_promises() -> None:
    spec = EncoderSpec(kind="static", modality="text", name="bundled:static-minilm-256")
    recipe = Recipe(name="x", summary="y", encoders={"text": spec}, loop=LoopOptions(steps=1))
    assert recipe.architecture == "content"
    assert recipe.mixtures == [0.25, 0.5, 0.75, 1.0]

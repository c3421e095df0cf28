"""Towers trained and tested on one data set, and comparisons of variants, end to end on a few things."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from adapt.errors import UsageError
from adapt.hub.format import Checkpoint
from adapt.seeds import generator
from adapt.train.log import read_log
from adapt.workflows import in_domain
from adapt.workflows.ablate import AblateOptions, AblateResult, ablate, load_sweep, sweep_names
from adapt.workflows.in_domain import InDomainResult, train_in_domain
from adapt.workflows.pretrain import PretrainOptions
from adapt.workflows.recipe import load_recipe
from adapt.workflows.recipe_files import recipe_names, recipe_path

THINGS = ("tent", "lamp", "kettle", "chair", "rope", "boots")
COLOURS = ("red", "blue", "green", "black", "white", "yellow")
ENCODERS = {"text": {"kind": "static", "modality": "text", "name": "bundled:static-minilm-256"}}
RECIPE: dict[str, Any] = {
    "name": "probe",
    "stage": "leave-one-out",
    "summary": "For tests.",
    "encoders": ENCODERS,
    "architecture": "mmsrec",
    "towers": {"dim": 16, "depth": 1, "heads": 2, "hidden": 16, "max_length": 6},
    "objectives": {
        "next_item": 0.0,
        "cloze": 1.0,
        "pairs": ["T-T'"],
        "batch_size": 16,
        "negatives": 32,
        "catalog_batch": 16,
    },
    "alignment_first": {"steps": 2, "learning_rate": 0.01},
    "loop": {"steps": 4, "learning_rate": 0.01, "evaluate_every": 2, "checkpoint_every": 2},
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Users who go through the colours of one kind of thing, each in the same order."""
    folder = tmp_path_factory.mktemp("data") / "things"
    folder.mkdir()
    names = [f"{colour} {thing}" for thing in THINGS for colour in COLOURS]
    (folder / "items.csv").write_text("item_id,title\n" + "".join(f"{n},{name}\n" for n, name in enumerate(names)))
    random, lines = generator(0), ["user_id,item_id,timestamp"]
    for user in range(40):
        kind, first = int(random.integers(len(THINGS))), int(random.integers(len(COLOURS)))
        for when in range(5):
            lines.append(f"u{user},{kind * len(COLOURS) + (first + when) % len(COLOURS)},{when}")
    (folder / "interactions.csv").write_text("\n".join(lines) + "\n")
    return str(folder)


def write(folder: Path, name: str, value: dict[str, Any]) -> str:
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(value, sort_keys=False))
    return str(path)


@pytest.fixture(scope="module")
def options(data: str, tmp_path_factory: pytest.TempPathFactory) -> PretrainOptions:
    root = tmp_path_factory.mktemp("run")
    return PretrainOptions(recipe=write(root, "probe", RECIPE), datasets=(data,), output=str(root / "out"))


@pytest.fixture(scope="module")
def result(options: PretrainOptions) -> InDomainResult:
    return train_in_domain(options)


def test_the_run_writes_a_checkpoint_and_what_it_reaches(result: InDomainResult, options: PretrainOptions) -> None:
    read = Checkpoint.from_pretrained(str(result.folder))
    assert read.config.architecture == "mmsrec"
    assert json.loads((Path(options.output) / "metrics.json").read_text()) == read.metrics
    (table,) = read.metrics["benchmarks"]
    scorers = ["these towers", "popularity", "content-kNN", "item-kNN", "tuned item-kNN"]
    assert [row[:2] for row in table["rows"]] == [[name, seen] for seen in ("kept", "excluded") for name in scorers]
    assert "40 users" in table["caption"]
    card = (result.folder / "README.md").read_text()
    assert "| these towers | kept |" in card
    assert "adapt pretrain --recipe probe --dataset things" in card


def test_both_parts_are_logged(result: InDomainResult, options: PretrainOptions) -> None:
    assert result.step in (2, 4)
    aligned, trained = (read_log(Path(options.output) / part / "log.jsonl") for part in ("alignment", "."))
    assert [set(record["losses"]) for record in (aligned[0], trained[0])] == [
        {"alignment", "total"},
        {"cloze", "total"},
    ]


def test_a_run_that_had_ended_is_read_from_its_folder(options: PretrainOptions, result: InDomainResult) -> None:
    before = (result.folder / "SHA256SUMS").stat().st_mtime_ns
    again = train_in_domain(replace(options, resume=True))
    assert (result.folder / "SHA256SUMS").stat().st_mtime_ns == before
    assert (again.step, again.steps) == (result.step, result.steps)
    assert again.metrics == result.metrics
    for policy, ranks in result.ranks.ranks.items():
        np.testing.assert_array_equal(again.ranks.ranks[policy], ranks)


def test_a_run_stopped_in_its_second_part_ends_as_if_it_had_not(
    options: PretrainOptions, result: InDomainResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = replace(options, output=str(tmp_path / "stopped"), resume=True)
    batch, numbers = in_domain.InDomain.batch, []

    def stopping(task: in_domain.InDomain, number: int, *rest: Any) -> Any:
        numbers.append(number)
        if len(numbers) == 2 + 4:  # two steps of alignment, and a saved state after two of the others
            raise KeyboardInterrupt
        return batch(task, number, *rest)

    monkeypatch.setattr(in_domain.InDomain, "batch", stopping)
    with pytest.raises(KeyboardInterrupt):
        train_in_domain(asked)
    assert numbers == [0, 1, 0, 1, 2, 3]
    again = train_in_domain(asked)
    assert numbers[6:] == [2, 3]  # neither the alignment nor the first two steps are taken again
    for name, value in result.checkpoint.towers.state_dict().items():
        torch.testing.assert_close(again.checkpoint.towers.state_dict()[name], value, rtol=0, atol=0)
    other = write(tmp_path, "probe", {**RECIPE, "whitening": 1.0})
    with pytest.raises(UsageError, match="whitening"):
        train_in_domain(replace(asked, recipe=other))


def test_training_finds_what_comes_next(options: PretrainOptions, tmp_path: Path, result: InDomainResult) -> None:
    longer = {**RECIPE, "loop": {"steps": 80, "learning_rate": 0.01, "evaluate_every": 20}}
    trained = train_in_domain(replace(options, recipe=write(tmp_path, "longer", longer), output=str(tmp_path / "o")))
    few, many = (run.ranks.values("seen items excluded", "ndcg@10").mean() for run in (result, trained))
    assert many > few


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"architecture": "content", "towers": {}}, "mmsrec"),
        ({"objectives": {"alignment": 1.0, "pairs": ["V-T"]}}, "V-T"),
        ({"towers": {**RECIPE["towers"], "item_tower": "features"}}, "item tower"),
        ({"test_events": 4}, None),
    ],
)
def test_what_does_not_fit_is_refused(
    options: PretrainOptions, tmp_path: Path, change: dict[str, Any], word: str | None
) -> None:
    asked = replace(options, recipe=write(tmp_path, "bad", {**RECIPE, **change}), output=str(tmp_path / "o"))
    with pytest.raises(Exception, match=word or "6 interactions or more"):
        train_in_domain(asked)
    with pytest.raises(UsageError, match="one --dataset"):
        train_in_domain(replace(options, datasets=options.datasets * 2))


def sweep(folder: Path, **changes: Any) -> str:
    recipe = {key: value for key, value in RECIPE.items() if key not in ("stage", "alignment_first")}
    value = {
        "summary": "Which part matters.",
        "base": "as it is",
        "recipe": recipe,
        "variants": {
            "raw features": {"towers": {"item_tower": "features"}},
            "aligned": {"alignment_first": {"steps": 2}},
        },
        "seeds": [0, 1],
        **changes,
    }
    return write(folder, "probe-sweep", value)


@pytest.fixture(scope="module")
def compared(data: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[AblateOptions, AblateResult]:
    root = tmp_path_factory.mktemp("sweep")
    asked = AblateOptions(sweep=sweep(root), datasets=(data,), output=str(root / "out"))
    return asked, ablate(asked)


def test_a_comparison_has_a_row_for_every_variant(compared: tuple[AblateOptions, AblateResult]) -> None:
    asked, result = compared
    (table,) = result.tables
    assert [row[0] for row in table["rows"]] == ["as it is", "raw features", "aligned"]
    assert {len(row) for row in table["rows"]} == {len(table["columns"])}
    page = (Path(asked.output) / "ablation.md").read_text()
    assert "adapt pretrain --ablate probe-sweep --dataset things" in page
    assert "| raw features |" in page


def test_its_differences_are_those_of_the_users(compared: tuple[AblateOptions, AblateResult]) -> None:
    asked, _ = compared
    found = json.loads((Path(asked.output) / "ablation.json").read_text())["results"][0]["variants"]
    base, features = found[0], found[1]
    for policy in ("seen items kept", "seen items excluded"):
        one, other = (part["metrics"][policy]["ndcg@10"] for part in (base, features))
        mean, low, high = other["difference"]
        assert mean == pytest.approx(other["mean"] - one["mean"])
        assert low <= mean <= high
        assert other["mean"] == pytest.approx(np.mean(other["by_seed"]))
        assert one["difference"] == [0.0, 0.0, 0.0]
    assert base["users"] == 40
    assert len({*base["metrics"][policy]["ndcg@10"]["by_seed"]}) == 2  # the seeds differ


def test_a_resumed_comparison_trains_only_what_changed(
    compared: tuple[AblateOptions, AblateResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, result = compared
    trained: list[str] = []
    prepare = in_domain._prepare

    def spy(recipe: Any, domain: Any) -> Any:
        trained.append(recipe.towers.get("item_tower", "shared"))
        return prepare(recipe, domain)

    monkeypatch.setattr(in_domain, "_prepare", spy)
    again = ablate(replace(asked, resume=True))
    assert trained == []
    assert again.tables == result.tables
    changed = {"raw features": {"towers": {"item_tower": "projection"}}, "aligned": {"alignment_first": {"steps": 2}}}
    sweep(Path(asked.sweep).parent, variants=changed)
    ablate(replace(asked, resume=True))
    assert trained == ["projection", "projection"]


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"variants": {"x": {"colour": "red"}}}, "variant 'x'"),
        ({"variants": {"x": {"stage": "towers"}}}, "leave-one-out"),
        ({"policy": "some"}, "policy"),
    ],
)
def test_a_comparison_that_does_not_fit_is_refused(tmp_path: Path, changes: dict[str, Any], word: str) -> None:
    with pytest.raises(UsageError, match=word):
        load_sweep(sweep(tmp_path, **changes))
    with pytest.raises(UsageError, match="comparison"):
        load_sweep("no-such-comparison")


def test_bundled_comparisons_are_valid() -> None:
    assert sweep_names()
    for name in sweep_names():
        assert load_sweep(name).variants


@pytest.mark.parametrize("name", [name for name in recipe_names() if name.startswith("mmsrec_")])
def test_the_command_in_a_recipes_header_runs(name: str, data: str, tmp_path: Path) -> None:
    """With its own architecture, objectives and stages; fewer steps, and the bundled encoder."""
    text = recipe_path(name).read_text()
    (command,) = re.findall(r"adapt pretrain --recipe (\w+) --dataset \w+ --output \S+", text)
    assert command == name
    recipe = yaml.safe_load(text)
    recipe["encoders"] = ENCODERS
    recipe["loop"] |= {"steps": 2, "evaluate_every": 1}
    recipe["alignment_first"]["steps"] = 1
    path = write(tmp_path, name, recipe)
    result = train_in_domain(PretrainOptions(recipe=path, datasets=(data,), output=str(tmp_path / "out")))
    assert result.checkpoint.config.towers["dim"] == load_recipe(name).towers["dim"]
    assert len(result.ranks.users) == 40

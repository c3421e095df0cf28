"""``adapt evaluate`` on a small shop: the verdict first, tables, JSON, files and refusals."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from adapt.cli.evaluate import METHOD_NAMES, read_fractions
from adapt.errors import UsageError
from adapt.workflows.evaluate_methods import METHODS as REGISTRY
from tests.workflows.evaluate_cases import write_shop

from .conftest import Ran

Run = Callable[..., Ran]
METHODS = ("--methods", "popularity,item-knn,zero-shot,few-shot")


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_shop(tmp_path_factory.mktemp("shop") / "walks")


def test_the_verdict_is_the_first_line_and_tables_follow(adapt: Run, shop: Path) -> None:
    ran = adapt("evaluate", "--dataset", shop, *METHODS, "--learning-curve", "0,50,100")
    assert ran.code == 0
    lines = ran.out.splitlines()
    assert lines[0].startswith(("Ship ", "Too little data to tell"))
    for part in ("Accuracy", "Recall@10", "warm (", "coverage", "novelty", "50 %", "Seed 0.", "Full ranking over 40"):
        assert part in ran.out, part
    assert [line.split()[0] for line in lines if line.strip().startswith("few-shot")]
    assert max(len(line) for line in lines if "─" in line) <= 110
    assert "None of the 90 hidden events" in ran.out


def test_json_is_one_document_and_the_same_on_every_run(adapt: Run, shop: Path, tmp_path: Path) -> None:
    arguments = ("evaluate", "--dataset", shop, *METHODS, "--json", "--k", "5", "--seed", "7")
    one, two = (json.loads(adapt(*arguments).out) for _ in range(2))
    for document in (one, two):
        assert document.pop("timings")
    assert one == two
    assert one["setting"]["metric"] == "ndcg@5"
    assert one["seed"] == 7
    assert [method["name"] for method in one["methods"]] == METHODS[1].split(",")
    for method in one["methods"]:
        recall = method["overall"]["metrics"]["recall@5"]
        assert 0 <= recall["low"] <= recall["mean"] <= recall["high"] <= 1
    assert one["verdict"]["headline"]
    assert list(tmp_path.iterdir()) == []


def test_the_output_folder_holds_the_three_files(adapt: Run, shop: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        ran = adapt("evaluate", "--dataset", shop, *METHODS, "--output", tmp_path / name)
        assert ran.code == 0
    assert {path.name for path in (tmp_path / "one").iterdir()} == {"evaluation.json", "run.json", "report.html"}
    assert (tmp_path / "one/evaluation.json").read_bytes() == (tmp_path / "two/evaluation.json").read_bytes()
    record = json.loads((tmp_path / "one" / "run.json").read_text())
    assert record["arguments"]["methods"] == METHODS[1].split(",")
    assert record["seconds"]["few-shot"] > 0
    headline = json.loads((tmp_path / "one" / "evaluation.json").read_text())["verdict"]["headline"]
    assert headline in (tmp_path / "one" / "report.html").read_text().replace("&#39;", "'")
    assert str(tmp_path / "two" / "report.html") in ran.out


@pytest.mark.parametrize(
    ("arguments", "code", "named"),
    [
        (("--methods", "best"), 2, "'best'"),
        (("--protocol", "tomorrow"), 2, "tomorrow"),
        (("--protocol", "global-time"), 3, "timestamps"),
        (("--learning-curve", "0,many"), 2, "--learning-curve"),
        (("--learning-curve", "120"), 2, "--learning-curve"),
        (("--learning-curve", "0.01"), 3, "keeps one user or more, found 0.01 % of"),
        (("--strict-split", "--protocol", "cold-items"), 2, "strict split"),
        (("--k", "0"), 2, "--k"),
        (("--checkpoint", "adapt-mimi"), 4, "adapt-mimi"),
    ],
)
def test_what_cannot_be_done_is_named(
    adapt: Run, shop: Path, arguments: tuple[str, ...], code: int, named: str
) -> None:
    ran = adapt("evaluate", "--dataset", shop, "--methods", "popularity", *arguments)
    assert (ran.code, ran.out) == (code, "")
    assert named in ran.err
    assert "fix: " in ran.err


def test_a_catalog_alone_is_refused_with_the_command_that_works(adapt: Run, shop: Path) -> None:
    ran = adapt("evaluate", "--dataset", shop / "items.csv")
    assert ran.code == 3
    assert "adapt zero-shot" in ran.err


def test_shares_of_the_learning_curve() -> None:
    assert read_fractions("100, 1,1,0") == (0.0, 0.01, 1.0)
    with pytest.raises(UsageError):
        read_fractions(",")


def test_the_help_names_every_method() -> None:
    assert tuple(REGISTRY) == METHOD_NAMES

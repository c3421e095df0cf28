"""``adapt zero-shot`` and ``adapt demo`` on the example shop, with the bundled checkpoint."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import Ran

Run = Callable[..., Ran]


def _rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "recommendations.csv").open(encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle))


def test_output_folder_holds_the_three_files(adapt: Run, example_shop: Path, tmp_path: Path) -> None:
    ran = adapt("zero-shot", "--dataset", example_shop, "--output", tmp_path / "out", "--k", "5")
    assert ran.code == 0
    assert str(tmp_path / "out" / "report.html") in ran.out
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"recommendations.csv", "run.json", "report.html"}
    rows = _rows(tmp_path / "out")
    assert list(rows[0]) == ["user_id", "item_id", "rank", "score"]
    assert len(rows) == 24 * 5
    assert [row["rank"] for row in rows[:5]] == ["1", "2", "3", "4", "5"]
    assert json.loads((tmp_path / "out" / "run.json").read_text())


def test_json_is_one_document_and_nothing_is_written(
    adapt: Run, example_shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ran = adapt("zero-shot", "--dataset", example_shop, "--user", "wanja", "--user", "ben", "--k", "4", "--json")
    document = json.loads(ran.out)
    assert [entry["user_id"] for entry in document["recommendations"]] == ["wanja", "ben"]
    assert [len(entry["items"]) for entry in document["recommendations"]] == [4, 4]
    assert document["files"] == {}
    assert list(tmp_path.iterdir()) == []


def test_users_file_and_keep_seen(adapt: Run, example_shop: Path, tmp_path: Path) -> None:
    (tmp_path / "users.txt").write_text("uwe\n")
    arguments = ("zero-shot", "--dataset", example_shop, "--users", tmp_path / "users.txt", "--k", "62", "--json")
    new = json.loads(adapt(*arguments).out)["recommendations"][0]["items"]
    kept = json.loads(adapt(*arguments, "--keep-seen").out)["recommendations"][0]["items"]
    assert len(kept) - len(new) == 3
    assert {item["item_id"] for item in kept} - {item["item_id"] for item in new} == {
        "CAMP-014",
        "CAMP-009",
        "CAMP-002",
    }


def test_an_ad_hoc_history_prints_a_table(adapt: Run, example_shop: Path) -> None:
    ran = adapt("zero-shot", "--dataset", example_shop, "--history", "COFF-001,COFF-002")
    assert ran.code == 0
    assert "Gooseneck kettle" in ran.out
    assert "COFF-" in ran.out.split("score", 1)[1]
    assert "--output" in ran.err


def test_without_interactions_similar_items(adapt: Run, tmp_path: Path) -> None:
    titles = ["red cotton shirt", "blue cotton shirt", "espresso machine", "coffee grinder", "wool jumper"]
    lines = "\n".join(f"{number:03},{title}" for number, title in enumerate(titles))
    (tmp_path / "items.csv").write_text(f"item_id,title\n{lines}\n", encoding="utf-8")
    ran = adapt("zero-shot", "--dataset", tmp_path / "items.csv", "--k", "2", "--json")
    first = json.loads(ran.out)["recommendations"][0]
    assert (first["item_id"], first["items"][0]["item_id"]) == ("000", "001")


@pytest.mark.parametrize(
    ("arguments", "code", "named"),
    [
        (("--user", "nobody"), 3, "nobody"),
        (("--history", "CAMP-01"), 3, "CAMP-01"),
        (("--checkpoint", "no-such-checkpoint"), 4, "no-such-checkpoint"),
    ],
)
def test_unknown_names(adapt: Run, example_shop: Path, arguments: tuple[str, str], code: int, named: str) -> None:
    ran = adapt("zero-shot", "--dataset", example_shop, *arguments)
    assert (ran.code, ran.out) == (code, "")
    assert named in ran.err


def test_an_output_that_cannot_be_written_is_found_before_the_work(
    adapt: Run, example_shop: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("keep")
    ran = adapt("zero-shot", "--dataset", example_shop, "--output", tmp_path / "file" / "out")
    assert ran.code == 2
    assert "--output" in ran.err
    assert (tmp_path / "file").read_text() == "keep"


def test_demo_says_what_it_did_and_what_to_try(adapt: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    ran = adapt("demo")
    assert ran.code == 0
    report = tmp_path / "adapt-demo" / "report.html"
    assert str(report) in ran.out
    assert "Try next" in ran.out
    page = report.read_text(encoding="utf-8")
    assert "Two-person dome tent" in page
    assert page.count("data:image/jpeg") > 20
    hammock = [row["rank"] for row in _rows(tmp_path / "adapt-demo") if row["item_id"] == "CAMP-013"]
    assert hammock, "an item that nobody bought can be recommended"

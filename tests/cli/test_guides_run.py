"""What the guides show is done on the example shop, in the order of the page, and comes out as they say."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.guides import FOLDER, blocks, drop_pictures, follow
from tests.serve.processes import started

from .conftest import Ran

Run = Callable[..., Ran]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, example_shop: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What a reader has: a shop, a photo and a file of new items in the current folder, and the checkout's recipes."""
    shutil.copytree(example_shop, tmp_path / "shop")
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "example").symlink_to(tmp_path / "shop")
    Image.open(tmp_path / "shop" / "images" / "camp-001.png").convert("RGB").save(tmp_path / "photo.jpg")
    (tmp_path / "new-items.csv").write_text("item_id,title,category,price\nNEW-1,Copper kettle,Camping,20\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_adaptation() -> None:
    import adapt as package

    data = package.load_dataset("shop")
    names: dict[str, Any] = {"adapt": package, "data": data, "model": package.Checkpoint.from_pretrained("adapt-mini")}
    follow("adaptation.md", pytest.fail, names)
    (found,) = names["recommender"].recommend(users=["anna"], k=len(data.catalog))
    assert "CAMP-009" not in found.item_ids


@pytest.mark.slow
def test_evaluation(adapt: Run, here: Path) -> None:
    drop_pictures(here / "shop")
    assert adapt("finetune", "--dataset", "shop/", "--output", "runs/shop", "--epochs", "1").code == 0
    ran = follow("evaluation.md", adapt)
    *_, curve, transfer = (ended.out for ended in ran.values())
    assert (here / "report" / "report.html").is_file()
    assert "NDCG@10 by share of the histories that is known" in curve
    assert "scratch" in transfer


def test_index(adapt: Run) -> None:
    names: dict[str, Any] = {}
    ran = follow("index.md", adapt, names)
    said = {" ".join(command.split()[:2]): ended.out for command, ended in ran.items()}
    assert "1 added; 63 items" in said["index add"]
    assert "1 removed; 62 items" in said["index remove"]
    assert "drift" in said["index info"]
    coffee = ran["index search --index shop-index --item COFF-001 --where category~coffee --diversity 0.3"].out
    assert set(re.findall(r"\b[A-Z]{4}-\d{3}\b", coffee)) <= {f"COFF-{number:03}" for number in range(99)}
    assert len(names["hits"].item_ids) == 5
    assert len(names["index"].snapshot) == 61


def test_scale(adapt: Run) -> None:
    check, lists = follow("scale.md", adapt).values()
    assert "without files" in check.err
    text = (FOLDER / "scale.md").read_text(encoding="utf-8")
    (table,) = re.findall(r"^\| `adapt zero-shot .*\n\|[-|]+\n((?:\|.*\n)+)", text, flags=re.MULTILINE)
    stages = re.findall(r"^\| ([\w-]+)", table.partition("| in all")[0], flags=re.MULTILINE)
    assert len(stages) > 3
    for stage in stages:
        assert re.search(rf"^ {stage} ", lists.err, flags=re.MULTILINE), stage


def test_serve(adapt: Run, here: Path) -> None:
    shutil.copy(here / "photo.jpg", here / "tent.jpg")
    ran = follow("serve.md", adapt)
    shown = dict(sessions(FOLDER / "serve.md"))
    made = ran["serve --new-key write"]
    key, line = made.out.splitlines()
    first, second = made.err.splitlines()
    assert are_shown([first, key, second, line], shown.pop("adapt serve --new-key write"))
    command = "adapt serve --index shop-index --dataset shop/"
    with started(*command.split()[1:], "--port", "0") as service:
        said = [line.replace(service.url, "http://127.0.0.1:8000").rstrip() for line in service.said]
        assert are_shown(said, shown.pop(command))
        answers = {}
        for line in filter(lambda line: line.startswith("curl"), shown):
            asked = line.replace("curl -s", "curl -s --fail-with-body").replace("localhost:8000", service.url)
            done = subprocess.run(["bash", "-c", asked], capture_output=True, text=True, check=False)
            assert done.returncode == 0, (line, done.stdout)
            answers[line] = json.loads(done.stdout or "null")
        assert service.stop() == 0
    assert len(answers) >= 10
    first, *_, event = answers.values()
    assert len(first["items"]) == 5
    assert event["recorded"] == 1
    assert Image.open(here / "small.jpg").width <= 128


def are_shown(said: list[str], shown: list[str]) -> bool:
    """Whether a page shows these lines, with … for what differs from one reader to the next."""
    return re.fullmatch(re.escape("\n".join(shown)).replace("…", ".+"), "\n".join(said)) is not None


def sessions(page: Path) -> Iterator[tuple[str, list[str]]]:
    """Each command that a page shows after `$ `, and the lines that are shown below it."""
    for language, text in blocks(page):
        if language == "console":
            for part in re.split(r"^\$ ", re.sub(r"\\\n\s*", "", text), flags=re.MULTILINE)[1:]:
                command, *lines = part.splitlines()
                yield command, lines

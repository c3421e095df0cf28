"""The page of a pretraining run: all its curves and figures, self-contained, from the folder alone."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from adapt.errors import CheckpointError
from adapt.report.curves import plot, thinned, trainings
from adapt.report.pretrain import changes, render
from adapt.train.log import RunLog
from adapt.train.pretraining import FoldResult
from adapt.train.records import write_record

from .test_recommend import HOSTILE, Page

START = np.linspace(0.0, 0.2, 50)
FOLD = {"start": {"text": START}, "trained": {(2, 0.5): {"text": START + 0.01}, (2, 1.0): {"text": START - 0.02}}}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_run(tmp_path, "shop", step=2)


def write_run(root: Path, name: str, step: int) -> Path:
    """A run with one left-out domain called ``name``."""
    for place in (root, root / "folds" / "shop"):
        log = RunLog(place)
        for number in range(1, 4):
            losses = {"next_item": 3.0 / number, "alignment": 1.0 / number, "total": 4.0 / number}
            log.write(number, {"losses": losses, "learning_rate": 0.1 / number})
    write_record(root / "folds" / "shop" / "result.json", {"source": name, **FOLD})
    table = {"caption": f"Structure of {name}.", "columns": ["left-out domain", "power"], "rows": [[name, "0.5"]]}
    (root / "made").mkdir()
    (root / "made" / "metrics.json").write_text(json.dumps({"left_out": [table]}))
    data = {name: {"items": 1234, "with_text": 1200, "with_image": 7, "interactions": 5678}}
    run = {
        "identity": {"recipe": {"summary": name, "loop": {"steps": 3}}, "data": data},
        "result": {"checkpoint": "made", "step": step, "mixture": 0.5 if step else 0.0},
        "seconds": {"encode": 60.0, "final training": 65.0},
        "peak_memory_bytes": 2_500_000_000,
        "versions": {"torch": "2.0"},
    }
    (root / "run.json").write_text(json.dumps(run))
    return root


def test_it_shows_what_was_measured(folder: Path) -> None:
    page = Page(render(folder))
    labels = " ".join(str(element.get("aria-label")) for element in page.of("svg"))
    for part in ("next item", "alignment", "weighted sum", "learning rate"):
        assert part in labels
    text = page.text.replace("\xa0", " ")
    for part in (
        "1,234",
        "5,678",
        "2.5 GB",
        "2.1 min",
        "Structure of shop.",
        "loop.steps",
        "keeps 50 %",
        "versions.torch",
    ):
        assert part in text, part
    assert "+10.0 %" in text  # 0.1 to 0.11, at the step and share that were kept
    assert len(page.of("polyline")) == 2 * 3 + 1 + 2  # two trainings by three losses, the rate, one gain curve a share


def test_where_nothing_was_kept_it_says_so_and_shows_what_was_turned_down(tmp_path: Path) -> None:
    text = Page(render(write_run(tmp_path, "shop", step=0))).text
    assert "do not agree to any step" in text
    assert "-20.0 %" in text


def test_it_asks_for_nothing_and_escapes_what_data_sets_are_called(tmp_path: Path) -> None:
    html = render(write_run(tmp_path, HOSTILE, step=2))
    page = Page(html)
    assert "<script" not in html
    assert page.of("script") == page.of("img") == []
    assert not [name for _, attributes in page.elements for name in attributes if name.startswith("on")]
    identifiers = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(identifiers) == len(set(identifiers))
    assert {str(link["href"])[1:] for link in page.of("a")} <= set(identifiers)
    assert all(element.get("aria-label") for element in page.of("svg"))


def test_a_folder_without_a_finished_run_is_refused(folder: Path) -> None:
    run = json.loads((folder / "run.json").read_text())
    del run["result"]
    (folder / "run.json").write_text(json.dumps(run))
    with pytest.raises(CheckpointError, match="finished"):
        render(folder)


def test_the_bar_points_the_way_of_the_change() -> None:
    (worse,) = changes([FoldResult("shop", FOLD["start"], FOLD["trained"])], (2, 1.0))  # type: ignore[arg-type]
    assert worse.change == "-20.0 %"
    assert 'class="worse"' in worse.chart
    assert changes([FoldResult("shop", {"text": START}, {})], (0, 0.0)) == []


def test_a_long_curve_is_thinned_and_keeps_its_mean() -> None:
    points = [(float(step), float(step % 7)) for step in range(10_000)]
    few = thinned(points)
    assert len(few) <= 250
    assert np.mean([y for _, y in few]) == pytest.approx(np.mean([y for _, y in points]), rel=1e-3)
    assert thinned([]) == []
    assert "polyline" not in plot("nothing", [("final", [])]).chart


def test_a_run_without_training_has_no_curves(tmp_path: Path) -> None:
    assert trainings(tmp_path) == []

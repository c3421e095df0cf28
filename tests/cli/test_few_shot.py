"""``adapt few-shot`` on the example shop."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from .conftest import Ran

Run = Callable[..., Ran]


def test_the_folder_and_the_document_say_what_the_score_is_made_of(
    adapt: Run, example_shop: Path, tmp_path: Path
) -> None:
    ran = adapt("few-shot", "--dataset", example_shop, "--output", tmp_path / "out", "--k", "5", "--json")
    assert ran.code == 0
    document = json.loads(ran.out)
    assert document["method"] == "few-shot"
    assert "held-back events" in document["how"][0]
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"recommendations.csv", "run.json", "report.html"}
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "adapt few-shot" in page
    assert "Nothing was fitted on these histories" not in page
    assert json.loads((tmp_path / "out" / "run.json").read_text())["fusion"]["held_back_events"] > 50


def test_a_catalog_alone_is_a_data_error_that_names_zero_shot(adapt: Run, example_shop: Path, tmp_path: Path) -> None:
    (tmp_path / "items.csv").write_bytes((example_shop / "items.csv").read_bytes())
    ran = adapt("few-shot", "--dataset", tmp_path)
    assert ran.code == 3
    assert "found items only" in ran.err
    assert "zero-shot" in ran.err

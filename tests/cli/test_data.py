"""``adapt data check``."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from .conftest import Ran

Run = Callable[..., Ran]


def test_the_example_shop_is_usable(adapt: Run, example_shop: Path) -> None:
    ran = adapt("data", "check", example_shop)
    assert ran.code == 0
    assert "62" in ran.out
    assert "2025-03-01 to 2025-08-05" in ran.out
    assert "usable" in ran.out
    assert "not usable" not in ran.out


def test_json_is_one_document(adapt: Run, example_shop: Path) -> None:
    ran = adapt("data", "check", example_shop, "--json")
    report = json.loads(ran.out)
    assert ran.code == 0
    assert (report["items"], report["users"], report["interactions"]) == (62, 24, 128)
    assert (report["with_text"], report["with_image"], report["usable"]) == (59, 55, True)


def test_problems_are_shown_with_file_and_line_and_exit_3(adapt: Run, tmp_path: Path) -> None:
    (tmp_path / "items.csv").write_text("item_id,title\n1,red [bold]\n2,blue\n1,green\n", encoding="utf-8")
    ran = adapt("data", "check", tmp_path)
    assert ran.code == 3
    assert "items.csv:4" in ran.out
    assert "not usable" in ran.out
    assert ran.err == ""
    report = json.loads(adapt("data", "check", tmp_path, "--json").out)
    assert report["usable"] is False


def test_strict_refuses_warnings(adapt: Run, tmp_path: Path) -> None:
    (tmp_path / "items.csv").write_text("item_id,title\n1,red\n2,blue\n", encoding="utf-8")
    (tmp_path / "interactions.csv").write_text("user_id,item_id,timestamp\na,1,1\na,2,2\na,3,3\n", encoding="utf-8")
    assert adapt("data", "check", tmp_path).code == 0
    assert adapt("data", "check", tmp_path, "--strict").code == 3


def test_nothing_there(adapt: Run, tmp_path: Path) -> None:
    ran = adapt("data", "check", tmp_path / "absent")
    assert ran.code == 3
    assert "absent" in ran.out + ran.err

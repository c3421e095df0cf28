from __future__ import annotations

from pathlib import Path

import pytest

from adapt.data.columns import ColumnOptions
from adapt.errors import DataError
from adapt.workflows.data_check import data_check


def test_the_example_shop_is_usable(example_shop: Path) -> None:
    report = data_check(example_shop)
    assert report.usable
    assert report.items > 50
    assert report.users > 20
    assert 0 < report.with_image < report.items
    assert report.time_order == "timestamps"


def test_it_reports_and_prints_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "items.csv").write_text("code,words,image\n1,Tent,a.png\n")
    (tmp_path / "a.png").write_bytes(b"not a picture")
    report = data_check(str(tmp_path), columns=ColumnOptions(item="code"))
    assert report.usable
    assert [problem.kind for problem in report.problems] == ["image-broken"]
    assert data_check(tmp_path, columns=ColumnOptions(item="code"), images=False).problems == ()
    assert capsys.readouterr() == ("", "")


def test_nothing_at_the_path_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="found nothing"):
        data_check(tmp_path / "none")

"""A small shop on disk, and a way to make others."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from adapt.data.check import DataReport, Problem

MakeData = Callable[..., Path]


@pytest.fixture
def make_data(tmp_path: Path) -> MakeData:
    """A function that writes files (name -> text or bytes) into a new folder and returns it."""

    def write(files: dict[str, str | bytes]) -> Path:
        folder = tmp_path / "shop"
        for name, content in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode() if isinstance(content, str) else content)
        return folder

    return write


def problem(report: DataReport, kind: str) -> Problem:
    """The problem of a kind; fails when the report has none."""
    found = {entry.kind: entry for entry in report.problems}
    assert kind in found, f"expected {kind}, found {sorted(found)}"
    return found[kind]


def kinds(report: DataReport) -> set[str]:
    """The kinds of all problems."""
    return {entry.kind for entry in report.problems}

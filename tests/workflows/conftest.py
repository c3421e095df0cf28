"""A small checkpoint that is made on the spot, and data sets of a few rows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from adapt.hub.format import Checkpoint
from tests.tiny_towers import make_tiny


@pytest.fixture(scope="session")
def tiny() -> Checkpoint:
    """See :func:`tests.tiny_towers.make_tiny`."""
    return make_tiny()


@pytest.fixture(scope="session")
def tiny_folder(tiny: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small checkpoint on disk."""
    folder = tmp_path_factory.mktemp("checkpoints") / "tiny"
    tiny.save_pretrained(folder)
    return folder


@pytest.fixture
def data_set(tmp_path: Path) -> Callable[..., Path]:
    """A function that writes ``items.csv`` and perhaps ``interactions.csv`` and returns their folder."""

    def write(items: str, interactions: str = "") -> Path:
        folder = tmp_path / "data"
        folder.mkdir()
        (folder / "items.csv").write_text(items, encoding="utf-8")
        if interactions:
            (folder / "interactions.csv").write_text(interactions, encoding="utf-8")
        return folder

    return write

"""Fixtures for every layer: where the real data lie, and a cache of one's own for each test session."""

from __future__ import annotations

import os

# Before torch is imported: workers and what they start have the processors to themselves, instead of waiting in turns,
# and whatever is compared adds its sums in the same order.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent


def _shared() -> Path:
    """The folder beside the checkout that holds material for measuring; it is never part of the project."""
    return REPOSITORY.parent / "shared"


def real_data_folder() -> Path:
    """``$ADAPT_DATA`` if set, else ``data`` in the shared folder beside the checkout."""
    return Path(os.environ.get("ADAPT_DATA") or _shared() / "data")


@pytest.fixture(autouse=True, scope="session")
def _own_folders(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Tests neither read nor fill the cache of the person who runs them, and leave no temporary file behind."""
    os.environ["ADAPT_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ["TMPDIR"] = tempfile.tempdir = str(tmp_path_factory.mktemp("t"))  # short: sockets may lie there


@pytest.fixture(autouse=True)
def _no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test runner may say how wide its own terminal is."""
    monkeypatch.delenv("COLUMNS", raising=False)


@pytest.fixture(scope="session")
def real_data() -> Callable[[str], Path]:
    """A function from a data set's name to its folder; it skips the test, with the reason, where that is absent."""

    def find(name: str) -> Path:
        folder = real_data_folder() / name
        if not folder.is_dir():
            pytest.skip(f"needs the real data set {name}: set ADAPT_DATA to the folder that holds it")
        return folder

    return find


@pytest.fixture(scope="session")
def golden() -> Path:
    """The folder with the numbers of the paper's own code; skips where it is absent."""
    folder = Path(os.environ.get("ADAPT_GOLDEN") or _shared() / "golden")
    if not folder.is_dir():
        pytest.skip("needs the numbers of the paper's own code: set ADAPT_GOLDEN to the folder that holds them")
    return folder


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """As in the programs that tests start, so that sums are added in the same order."""
    import torch  # most tests need none of it

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def example_shop() -> Path:
    """The bundled example data set."""
    return REPOSITORY / "recipes" / "example"

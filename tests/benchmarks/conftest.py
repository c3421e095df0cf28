"""The benchmarks are programs that import one another from their own folder."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from types import ModuleType

import pytest

from tests.conftest import REPOSITORY

FOLDER = REPOSITORY / "recipes" / "benchmarks"


@pytest.fixture
def benchmark_module(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], ModuleType]]:
    """A function from the name of a program to its module, which is forgotten after the test."""
    monkeypatch.syspath_prepend(str(FOLDER))
    yield importlib.import_module
    own = {path.stem for path in FOLDER.glob("*.py")}
    for name in own & set(sys.modules):
        del sys.modules[name]

"""A process that is killed while it builds, adds, removes or compacts leaves the last good generation, whole."""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from adapt import Checkpoint
from adapt.workflows.index_facts import verify
from adapt.workflows.living_index import LivingIndex
from tests.killing import forked

from .index_cases import built, catalog, contents, rows, saved, table

POINTS = 20
"""Random moments at which each kind of change is killed."""


@pytest.fixture(scope="module")
def model(tiny: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tiny, tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture
def index(model: Path, tmp_path: Path) -> Path:
    built(table(tmp_path / "items.csv", rows(24)), tmp_path / "index", model)
    LivingIndex.open(tmp_path / "index").remove(["000", "001"])
    return tmp_path / "index"


def killed(work: Callable[[], object], after: float) -> bool:
    """Do ``work`` in a process that is killed after so many seconds; whether it was killed before it was done."""
    ready, tell = os.pipe()

    def told() -> None:
        os.write(tell, b"x")
        work()

    child = forked(told)
    os.read(ready, 1)
    time.sleep(after)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    os.close(ready)
    os.close(tell)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return os.WIFSIGNALED(status)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("kind", ["build", "add", "remove", "compact"])
def test_sigkill_at_random_points_leaves_the_last_good_generation(
    index: Path, model: Path, tmp_path: Path, kind: str
) -> None:
    more = catalog(tmp_path / "more.csv", [*rows(3, first=50), "005,copper kettle,coffee,1"])
    other = table(tmp_path / "other.csv", rows(9, first=70))
    living = LivingIndex.open(index)
    assert living.model.text("kettle").shape[0] == 1  # the child need not load the encoder again
    works: dict[str, Callable[[Path], object]] = {
        "build": lambda path: built(other, path, model),
        "add": lambda path: opened(path).add(more),
        "remove": lambda path: opened(path).remove(["010", "011", "012"]),
        "compact": lambda path: opened(path).compact(refit=True),
    }

    def opened(path: Path) -> LivingIndex:
        found = LivingIndex.open(path)
        found._model = living._model
        return found

    work = works[kind]
    before = contents(index)
    finished = shutil.copytree(index, tmp_path / "finished")
    started = time.monotonic()
    work(finished)
    length = time.monotonic() - started
    after = contents(finished)
    assert after != before
    points = random.Random(kind)
    copy = shutil.copytree(index, tmp_path / "copy")
    outcomes = set()
    for _ in range(POINTS):
        stopped = killed(lambda: work(copy), points.uniform(0, 1.1 * length))
        now = contents(copy)
        assert now in (before, after)
        outcomes.add(("killed" if stopped else "done", "before" if now == before else "after"))
        if now != before or kind == "compact":
            shutil.rmtree(copy)
            shutil.copytree(index, copy)
    assert ("killed", "before") in outcomes
    # Whatever the killed ones left behind, the next writer goes on and removes it.
    work(copy)
    assert contents(copy) == after
    assert [path.name for path in copy.rglob(".*")] == []
    assert len(list((copy / "generations").iterdir())) == 1
    assert all(check.passed for check in verify(copy, seed=0))


def test_a_build_that_was_killed_can_be_done_again_in_the_same_folder(model: Path, tmp_path: Path) -> None:
    items = table(tmp_path / "items.csv", rows(9))
    for after in (0.0, 0.02, 0.1, 0.2):
        killed(lambda: built(items, tmp_path / "new", model), after)
    built(items, tmp_path / "new", model)
    assert len(contents(tmp_path / "new")) == 9

"""Several threads and processes that add, remove and search at once: nothing is lost, nothing comes back."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from adapt import Checkpoint
from adapt.workflows.index_facts import verify
from adapt.workflows.living_index import LivingIndex, SearchOptions
from tests.killing import forked

from .index_cases import built, catalog, contents, rows, saved, table

ROUNDS, BEGIN = 4, 24
ALL = SearchOptions(k=500, keep_seen=True)


def changing(living: LivingIndex, folder: Path, first: int) -> set[str]:
    """Add three items and remove one of them, again and again; returns what must be there at the end."""
    here: set[str] = set()
    for turn in range(ROUNDS):
        number = first + 3 * turn
        new = [f"{number + step:03}" for step in range(3)]
        living.add(catalog(folder / f"{number}.csv", rows(3, first=number)), wait=60)
        here |= set(new)
        held(living, here, set())
        living.remove([new[1]], wait=60)
        here.remove(new[1])
        held(living, here, {new[1]})
    return here


def held(living: LivingIndex, here: set[str], gone: set[str]) -> None:
    """What a writer was told that it is there is found, what is gone is not."""
    found = set(living.by_text("tent", ALL).item_ids)
    assert here <= found, here - found
    assert not gone & found, gone & found


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("kind", ["exact", "hnsw"])
def test_threads_and_processes_at_once_lose_nothing_and_nothing_comes_back(
    tiny: Checkpoint, tmp_path: Path, kind: str, one_thread: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: None)  # of no matter to processes that live, and slow
    model = saved(tiny, tmp_path / "model")
    built(table(tmp_path / "items.csv", rows(BEGIN)), tmp_path / "index", model, index=kind)
    living = LivingIndex.open(tmp_path / "index")
    assert living.model.text("tent").shape[0] == 1

    def alone(first: int) -> None:
        other = LivingIndex.open(tmp_path / "index")
        other._model = living._model
        changing(other, tmp_path, first)

    children = [forked(partial(alone, first)) for first in (100, 200)]
    failures: list[BaseException] = []
    stop = threading.Event()

    def watched(work: Callable[[], object]) -> Callable[[], None]:
        def run() -> None:
            try:
                work()
            except BaseException as error:  # noqa: BLE001 - whatever it is, the test must see it
                failures.append(error)

        return run

    def compacting() -> None:
        other = LivingIndex.open(tmp_path / "index")
        other._model = living._model
        while not stop.wait(0.4):
            other.compact(wait=60)

    def reading() -> None:
        kept: set[str] = {f"{number:03}" for number in range(BEGIN)}
        while not stop.is_set():
            living.reload()
            hits = living.by_history(["003", "007"], ALL)
            assert len(set(hits.item_ids)) == len(hits.item_ids)
            assert kept <= set(hits.item_ids)
            assert living.by_item("001", SearchOptions(k=3)).item_ids

    writers = [threading.Thread(target=watched(partial(changing, living, tmp_path, first))) for first in (300, 400)]
    others = [threading.Thread(target=watched(work)) for work in (reading, reading, compacting)]
    for thread in (*writers, *others):
        thread.start()
    for thread in writers:
        thread.join(120)
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    stop.set()
    for thread in others:
        thread.join(60)
    assert failures == []
    assert codes == [0, 0]
    added = {f"{first + step:03}" for first in (100, 200, 300, 400) for step in range(3 * ROUNDS) if step % 3 != 1}
    assert set(contents(tmp_path / "index")) == added | {f"{number:03}" for number in range(BEGIN)}
    living.reload()
    assert set(living.snapshot.ids) == set(contents(tmp_path / "index"))
    assert all(check.passed for check in verify(tmp_path / "index", seed=0))

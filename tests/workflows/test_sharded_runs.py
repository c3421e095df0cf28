"""Runs in shards: killed at any moment they go on to the same bytes, and no finished shard is done again."""

from __future__ import annotations

import json
import os
import random
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from adapt import Checkpoint, load_dataset, shards
from adapt.features import store
from adapt.shards import Shard, ShardedRows, Work
from adapt.workflows import lists
from adapt.workflows.embedding import embed_catalog
from adapt.workflows.recommend import RecommendOptions, write_outputs, zero_shot_run
from tests.killing import forked

ITEMS, USERS, ROWS, LISTS = 230, 90, 32, 16
KILLS = 4
"""Random moments at which a run is killed."""

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


@pytest.fixture
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything in many shards, and nothing in memory."""
    monkeypatch.setattr(shards, "ROWS", ROWS)
    monkeypatch.setattr(shards, "IN_MEMORY", 0)
    monkeypatch.setattr(store, "ROWS", ROWS)
    monkeypatch.setattr(lists, "USERS", LISTS)


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """Items with a few words each, some twice and one without, and users with histories."""
    draw = random.Random(0)
    words = [
        "red",
        "blue",
        "green",
        "tent",
        "lamp",
        "chair",
        "kettle",
        "rose",
        "coffee",
        "camp",
        "garden",
        "steel",
        "wood",
        "glass",
        "small",
        "large",
    ]
    folder = tmp_path / "shop"
    folder.mkdir()
    titles = [" ".join(draw.choices(words, k=4)) for _ in range(ITEMS)]
    titles[17], titles[200] = titles[3], ""
    rows = [f"i{number},{title}" for number, title in enumerate(titles)]
    (folder / "items.csv").write_text("\n".join(["item_id,title", *rows]) + "\n", encoding="utf-8")
    events = [f"u{user},i{draw.randrange(200)},{time}" for user in range(USERS) for time in range(5)]
    (folder / "interactions.csv").write_text("\n".join(["user_id,item_id,timestamp", *events]) + "\n", encoding="utf-8")
    return folder


@pytest.fixture
def run(shop: Path, tiny_folder: Path) -> Callable[[Path, bool], None]:
    """What the command does: recommend, write, and end the work."""

    def call(output: Path, finish: bool = True) -> None:
        unfinished = str(output / ".unfinished")
        options = RecommendOptions(dataset=str(shop), checkpoint=str(tiny_folder), unfinished=unfinished)
        result = zero_shot_run(options)
        write_outputs(result, output)
        if finish:
            result.work.finish()

    return call


def writing(log: Path, die_at: int = 0) -> None:
    """Have this process note each kept shard that it writes, and kill itself before it has written the n-th."""
    written, write = 0, ShardedRows.write

    def noted(self: ShardedRows, shard: Shard, values: np.ndarray) -> None:
        nonlocal written
        if self._done is None or self._file is None:
            write(self, shard, values)
            return
        written += 1
        if written == die_at:
            os.kill(os.getpid(), signal.SIGKILL)
        write(self, shard, values)
        name = Path(f"/proc/self/fd/{self._file}").readlink().parent.name
        with log.open("a") as handle:
            handle.write(f"{name.rpartition('-')[0]} {shard.number}\n")

    ShardedRows.write = noted  # type: ignore[method-assign]


def ended(work: Callable[[], object]) -> bool:
    """Whether ``work``, in a child, came to its end; it may kill itself, but it may not fail."""
    _, status = os.waitpid(forked(work), 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return not os.WIFSIGNALED(status)


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs /proc")
def test_a_run_that_is_killed_goes_on_to_the_same_bytes_and_does_nothing_twice(
    small_shards: None, run: Callable[..., None], tmp_path: Path
) -> None:
    def child(output: Path, log: Path, die_at: int = 0) -> Callable[[], None]:
        def work() -> None:
            writing(log, die_at)
            run(output)

        return work

    whole, log = tmp_path / "whole", tmp_path / "whole.log"
    assert ended(child(whole, log))
    expected = (whole / "recommendations.csv").read_bytes()
    shards_ = log.read_text().split("\n")[:-1]
    assert {line.split()[0] for line in shards_} == {"embeddings", "scores", "lists"}
    assert len(shards_) == -(-ITEMS // ROWS) + 2 * -(-USERS // LISTS)
    draw = random.Random(1)
    moments = sorted(draw.sample(range(1, len(shards_) + 1), KILLS))
    output, seen = tmp_path / "killed", tmp_path / "killed.log"
    for moment in moments:
        output, seen = tmp_path / f"killed-{moment}", tmp_path / f"killed-{moment}.log"
        assert not ended(child(output, seen, moment))
        assert not (output / "recommendations.csv").exists()
        assert ended(child(output, seen))
        assert (output / "recommendations.csv").read_bytes() == expected
        assert not (output / ".unfinished").exists()
        done = seen.read_text().split("\n")[:-1]
        again = [line for line in done if done.count(line) > 1]
        # A list and its scores are two writes: a kill between them costs the scores of one shard again.
        assert {line.split()[0] for line in again} <= {"scores"}
        assert len(again) <= 2
        assert sorted(set(done)) == sorted(shards_)


def test_kills_one_after_the_other_come_to_an_end(small_shards: None, run: Callable[..., None], tmp_path: Path) -> None:
    def work() -> None:
        writing(tmp_path / "log", die_at=4)
        run(tmp_path / "output")

    killed = 0
    while not ended(work):
        killed += 1
        assert killed < 12
    assert killed >= 4  # three shards each time
    run(tmp_path / "whole")
    one, two = (tmp_path / name / "recommendations.csv" for name in ("output", "whole"))
    assert one.read_bytes() == two.read_bytes()


def test_other_options_do_not_go_on_from_what_is_there(
    small_shards: None, shop: Path, tiny_folder: Path, tmp_path: Path
) -> None:
    work = str(tmp_path / "work")

    def resumed(k: int) -> dict[str, tuple[int, int]]:
        asked = RecommendOptions(dataset=str(shop), checkpoint=str(tiny_folder), k=k, unfinished=work)
        return dict(zero_shot_run(asked).work.resumed)  # the folder is let go of with the result

    resumed(3)
    assert resumed(3) == {"embeddings": (8, 8), "scores": (6, 6), "lists": (6, 6)}
    assert resumed(4) == {"embeddings": (8, 8), "scores": (0, 6), "lists": (0, 6)}
    with (shop / "items.csv").open("a", encoding="utf-8") as handle:
        handle.write("new,red steel lamp\n")
    assert resumed(4)["embeddings"] == (0, 8)


def test_shards_do_not_change_the_results(
    tiny: Checkpoint, shop: Path, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    catalog = load_dataset(shop).catalog
    options = RecommendOptions(dataset=str(shop), checkpoint=str(tiny_folder))
    whole, found = embed_catalog(tiny, catalog), zero_shot_run(options)
    monkeypatch.setattr(shards, "IN_MEMORY", 0)
    for rows in (7, 64, 1 << 15):
        monkeypatch.setattr(shards, "ROWS", rows)
        monkeypatch.setattr(lists, "USERS", rows)
        monkeypatch.setenv("ADAPT_CACHE", str(tmp_path / f"cache-{rows}"))
        part = embed_catalog(tiny, catalog, work=Work(tmp_path / f"work-{rows}"))
        assert np.array_equal(part.usable, whole.usable)
        np.testing.assert_allclose(part.embeddings, whole.embeddings, atol=2e-5)
        np.testing.assert_allclose(part.items.values["text"], whole.items.values["text"], atol=2e-5)
        again = zero_shot_run(options)
        np.testing.assert_allclose(again.table.scores, found.table.scores, atol=2e-5)
        assert (again.table.rows == found.table.rows).mean() > 0.99


def test_interrupted_encoding_is_not_done_again(
    small_shards: None, run: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ADAPT_CACHE", str(tmp_path / "cache"))
    encoded = tmp_path / "encoded"

    def child(die_at: int) -> Callable[[], None]:
        def work() -> None:
            batches, check = 0, store._check

            def counted(vectors: np.ndarray, count: int, dim: int) -> None:
                nonlocal batches
                batches += 1
                if batches == die_at:
                    os.kill(os.getpid(), signal.SIGKILL)
                check(vectors, count, dim)
                with encoded.open("a") as handle:
                    handle.write(f"{count}\n")

            monkeypatch.setattr(store, "_check", counted)
            run(tmp_path / "output")

        return work

    assert not ended(child(4))
    first = sum(map(int, encoded.read_text().split()))
    encoded.unlink()
    assert ended(child(0))
    second = sum(map(int, encoded.read_text().split()))
    assert first == 3 * ROWS
    assert first + second == ITEMS - 2  # one text twice, one empty


def test_a_sample_of_users_is_the_same_for_a_seed(shop: Path, tiny_folder: Path) -> None:
    def keys(**options: int) -> list[str]:
        asked = RecommendOptions(dataset=str(shop), checkpoint=str(tiny_folder), sample_users=20, **options)
        return list(zero_shot_run(asked).table.keys)

    assert keys() == keys()
    assert len(set(keys())) == 20
    assert keys() != keys(seed=1)


def test_the_profile_is_kept_with_the_run(shop: Path, tiny_folder: Path, tmp_path: Path) -> None:
    result = zero_shot_run(RecommendOptions(dataset=str(shop), checkpoint=str(tiny_folder), profile=True))
    write_outputs(result, tmp_path)
    profile = json.loads((tmp_path / "run.json").read_text())["profile"]
    assert {"data", "encode", "normalise", "embed", "index", "recommend"} <= set(profile)
    assert (profile["embed"]["count"], profile["embed"]["unit"]) == (ITEMS, "items")
    assert (profile["recommend"]["count"], profile["recommend"]["unit"]) == (USERS, "lists")
    assert all(stage["seconds"] >= 0 and stage["cpu_seconds"] >= 0 for stage in profile.values())

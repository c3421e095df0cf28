"""Matrices that are written a shard at a time, and what is left of them when a process is killed."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import numpy as np
import pytest

from adapt import shards
from adapt.errors import UsageError
from adapt.profile import Stages
from adapt.shards import Shard, Work, digest_of, is_mapped, plan, release, taken
from tests.killing import forked

SHAPE = (10, 3)


def values(shard: Shard) -> np.ndarray:
    return np.arange(shard.start * 3, shard.stop * 3, dtype=np.float32).reshape(-1, 3)


def test_shards_cover_everything_once_whoever_takes_which() -> None:
    for total in (0, 1, 7, 8, 9, 100):
        whole = plan(total, 8)
        assert [row for shard in whole for row in range(shard.start, shard.stop)] == list(range(total))
        dealt = [shard for rank in range(3) for shard in plan(total, 8)[rank::3]]
        assert sorted(dealt, key=lambda shard: shard.number) == list(whole)


@pytest.mark.parametrize("in_memory", [0, 1 << 20])
def test_a_matrix_holds_what_was_written_in_memory_or_not(
    in_memory: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "IN_MEMORY", in_memory)
    for folder in (None, tmp_path / "work"):
        rows = Work(folder).rows("found", {}, SHAPE, size=4)
        for shard in rows.missing:
            rows.write(shard, values(shard))
        assert rows.missing == ()
        release(rows.values)
        assert is_mapped(rows.values) == (in_memory == 0)
        assert rows.values.ravel().tolist() == list(range(30))
        chosen = taken(rows.values, np.array([9, 0]))
        assert chosen[:, 0].tolist() == [27, 0]
    assert not list((tmp_path / "work").glob("found-*")) or in_memory == 0


def test_a_killed_process_leaves_whole_shards_and_the_next_one_goes_on(tmp_path: Path) -> None:
    def work() -> None:
        rows = Work(tmp_path).rows("found", {"of": 1}, SHAPE, size=2, keep=True)
        for shard in rows.missing[:3]:
            rows.write(shard, values(shard))
        os.kill(os.getpid(), signal.SIGKILL)

    os.waitpid(forked(work), 0)
    again = Work(tmp_path)
    rows = again.rows("found", {"of": 1}, SHAPE, size=2, keep=True)
    assert [shard.number for shard in rows.missing] == [3, 4]
    assert again.resumed == {"found": (3, 5)}
    for shard in rows.missing:
        rows.write(shard, values(shard))
    assert rows.values.ravel().tolist() == list(range(30))
    again.finish()
    assert not tmp_path.exists()


def test_work_of_another_identity_is_begun_anew(tmp_path: Path) -> None:
    for of in (1, 2):
        work = Work(tmp_path)
        rows = work.rows("found", {"of": of}, SHAPE, size=5, keep=True)
        assert len(rows.missing) == 2
        rows.write(rows.missing[0], values(rows.missing[0]))
        del rows, work
        os.sync()
    assert len(list(tmp_path.glob("found-*"))) == 1


def test_two_runs_do_not_write_into_one_folder(tmp_path: Path) -> None:
    first = Work(tmp_path / "work")
    first.rows("found", {}, SHAPE, keep=True)

    def work() -> None:
        with pytest.raises(UsageError, match="only run"):
            Work(tmp_path / "work").rows("found", {}, SHAPE, keep=True)

    assert os.waitpid(forked(work), 0)[1] == 0


def test_a_digest_knows_every_number_and_shape() -> None:
    base = np.arange(6, dtype=np.float32).reshape(2, 3)
    assert digest_of(base) == digest_of(base.copy())
    assert len({digest_of(base), digest_of(base.reshape(3, 2)), digest_of(base + 1), digest_of(base.astype(int))}) == 4


def test_stages_say_what_they_took() -> None:
    stages = Stages(profile=True)
    for _ in range(2):
        with stages.stage("embed", 5, "items"):
            held = np.ones(20_000_000, np.uint8)
    found = stages.to_dict()["embed"]
    assert (found["count"], found["unit"]) == (10, "items")
    assert found["seconds"] == stages.seconds["embed"] >= 0
    if Path("/proc/self/status").is_file():
        assert found["peak_bytes"] >= found["own_bytes"] > held.nbytes

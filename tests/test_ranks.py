"""Processes of a launcher: whose work is whose, what they agree on, and what they notice of one another."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

import pytest

from adapt import ranks
from tests import launching

TALK = """
import json
import time
from adapt import ranks

own = ranks.rank()
found = {
    "rank": own,
    "main": ranks.is_main(),
    "mine": list(ranks.mine(5)),
    "gathered": ranks.gather({"of": own}),
    "agreed": ranks.agree(f"said by {own}"),
}
if own == 1:
    time.sleep(1.5)  # longer than a round of waiting
began = time.monotonic()
ranks.barrier()
found["waited"] = time.monotonic() - began
print(json.dumps(found))
ranks.meeting().leave()
"""

SLOW_TO_READ = """
import time
from adapt import ranks
from adapt.meeting import Meeting

if ranks.rank() == 1:
    has = Meeting._has
    Meeting._has = lambda self, keys: has(self, keys) and not time.sleep(1.0)
print(ranks.gather(ranks.rank()))
ranks.meeting().leave()
"""

LEFT_ALONE = """
import os
import signal
import time
from adapt import meeting, ranks
from adapt.errors import LostRankError

meeting.SILENT_AFTER = 3.0
ranks.barrier()
if ranks.rank() == 1:
    os.kill(os.getpid(), signal.SIGKILL)
try:
    ranks.barrier()
except LostRankError as error:
    print(error)
"""

TOLD = """
from adapt import ranks
from adapt.errors import LostRankError
from adapt.meeting import Failure

ranks.barrier()
meeting = ranks.meeting()
if ranks.rank() == 1:
    first = meeting.fail(Failure(1, "here", "the disk is full", "Free some space.", 2))
    second = meeting.fail(Failure(1, "here", "a consequence of it", "", 1))
    print(first == second, meeting.may_speak(), meeting.may_speak())
    meeting.leave()
else:
    try:
        ranks.barrier()
    except LostRankError as error:
        print(error)
"""

ALONE = """
from adapt import ranks
from adapt.errors import LostRankError

try:
    ranks.meeting(seconds=2.0)
except LostRankError as error:
    print(error)
"""


def talk(folder: Path, program: str, processes: int = 2) -> list[tuple[int, str]]:
    """What the processes of a program end with, and say."""
    (folder / "program.py").write_text(program)
    ended = launching.ranks([folder / "program.py"], folder, processes)
    assert not [done.stderr for done in ended if "Traceback" in done.stderr]
    return [(done.returncode, done.stdout) for done in ended]


def test_one_process_is_all_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    assert (ranks.rank(), ranks.count(), ranks.is_main()) == (0, 1, True)
    assert list(ranks.mine(3)) == [0, 1, 2]
    assert ranks.gather("x") == ["x"]
    assert ranks.agree({"a": 1}) == {"a": 1}
    ranks.barrier()
    assert ranks.joined() is None


@pytest.mark.parametrize(("count", "pieces"), [(3, 7), (4, 2), (1, 5)])
def test_every_piece_of_work_is_exactly_ones(monkeypatch: pytest.MonkeyPatch, count: int, pieces: int) -> None:
    monkeypatch.setenv("WORLD_SIZE", str(count))
    done: list[int] = []
    for rank in range(count):
        monkeypatch.setenv("RANK", str(rank))
        done += ranks.mine(pieces)
    assert sorted(done) == list(range(pieces))


def test_processes_exchange_and_wait(tmp_path: Path) -> None:
    ended = talk(tmp_path, TALK, processes=3)
    assert [code for code, _ in ended] == [0, 0, 0]
    found = [json.loads(out) for _, out in ended]
    assert [part["rank"] for part in found] == [0, 1, 2]
    assert [part["main"] for part in found] == [True, False, False]
    assert [part["mine"] for part in found] == [[0, 3], [1, 4], [2]]
    assert all(part["gathered"] == [{"of": 0}, {"of": 1}, {"of": 2}] for part in found)
    assert {part["agreed"] for part in found} == {"said by 0"}
    assert found[0]["waited"] > 0.5


def test_what_was_exchanged_last_is_read_by_all(tmp_path: Path) -> None:
    assert talk(tmp_path, SLOW_TO_READ) == [(0, "[0, 1]\n"), (0, "[0, 1]\n")]


def test_who_waits_for_a_process_that_is_gone_is_told(tmp_path: Path) -> None:
    began = time.monotonic()
    (code, out), (killed, _) = talk(tmp_path, LEFT_ALONE)
    assert (code, killed) == (0, -signal.SIGKILL)
    assert "rank 1 of 2" in out
    assert "--resume" in out
    assert time.monotonic() - began < 90


def test_who_waits_for_a_process_that_has_failed_is_told_why(tmp_path: Path) -> None:
    (_, out), (_, told) = talk(tmp_path, TOLD)
    assert "the disk is full" in out
    assert "Free some space." in out
    assert told.split() == ["True", "True", "False"]  # the first failure is the cause, and is said once


def test_a_process_that_nobody_joins_says_who_is_missing(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(ALONE)
    first, second = launching.side_by_side([tmp_path / "program.py"], tmp_path)
    second.process.kill()
    second.done()
    said = first.done().stdout
    assert "found none of rank 1" in said
    assert "main_process_ip" in said

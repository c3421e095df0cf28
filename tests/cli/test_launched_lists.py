"""Lists for many users by several processes: shards by rank, and the bytes of one process."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from adapt.errors import LostRankError, UsageError
from tests.launching import accelerate, alone
from tests.workflows.finetune_cases import write_walkers

from .test_launched import codes, launched, messages

pytestmark = pytest.mark.slow

PROGRAM = """
import os
import signal
from adapt import shards
from adapt.workflows import lists

shards.ROWS, lists.USERS = 7, 5  # several shards of a few things
writes, write = 0, shards.ShardedRows.write

def counted(self, shard, values):
    global writes
    write(self, shard, values)
    writes += self._shared and os.environ["RANK"] == os.environ.get("DIES")
    if writes == int(os.environ.get("AFTER", "0")) > 0:
        os.kill(os.getpid(), signal.SIGKILL)

shards.ShardedRows.write = counted

from adapt.cli.app import main

main()
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Users who walk through a shop, and the program with small shards."""
    root = tmp_path_factory.mktemp("lists")
    write_walkers(root / "walk")
    (root / "small_shards.py").write_text(PROGRAM)
    return root


def command(name: str, output: str) -> list[str]:
    return ["small_shards.py", name, "--dataset", "walk", "--index", "exact", "--output", output, "--json"]


def cache(folder: Path, output: str) -> str:
    """A cache of features of its own, so that there is something to encode."""
    return str(folder / f"cache-{output}")


def same(folder: Path, output: str) -> dict[str, object]:
    """What runs with the same answer have in common."""
    record = json.loads((folder / output / "run.json").read_text())
    kept = {name: record[name] for name in ("command", "method", "counts", "encoders", "checkpoint", "data_sha256")}
    return {**kept, "lists": (folder / output / "recommendations.csv").read_bytes()}


@pytest.mark.parametrize("name", ["zero-shot", "few-shot"])
def test_two_processes_give_the_bytes_of_one(folder: Path, name: str) -> None:
    ended, out, errors = launched(command(name, f"{name}-two"), folder, ADAPT_CACHE=cache(folder, f"{name}-two"))
    assert ended == {0}, errors[-3000:]
    one = alone(command(name, f"{name}-one"), folder, ADAPT_CACHE=cache(folder, f"{name}-one"))
    assert one.returncode == 0, one.stderr[-3000:]
    assert same(folder, f"{name}-two") == same(folder, f"{name}-one")
    answers = [json.loads(document) for document in (one.stdout, out)]
    assert answers[0]["recommendations"] == answers[1]["recommendations"]
    assert answers[0]["self_check"] == answers[1]["self_check"]
    assert {path.name for path in (folder / f"{name}-two").iterdir()} == {
        "recommendations.csv",
        "run.json",
        "report.html",
    }


def test_a_killed_rank_ends_the_others_and_the_same_command_goes_on(folder: Path) -> None:
    whole = alone(command("zero-shot", "whole"), folder)
    assert whole.returncode == 0, whole.stderr[-3000:]
    asked, own = command("zero-shot", "killed"), cache(folder, "killed")
    killed = accelerate(asked, folder, ADAPT_CACHE=own, DIES="1", AFTER="2")  # of its three shards of embeddings
    assert codes(killed.stderr) == {-signal.SIGKILL, LostRankError.exit_code}
    (error,) = [json.loads(line) for line in killed.stderr.splitlines() if line.startswith('{"error"')]
    assert "rank 1 of 2" in error["error"]
    assert not (folder / "killed" / "recommendations.csv").exists()
    ended, _, errors = launched(asked, folder, ADAPT_CACHE=own)
    assert ended == {0}, errors[-3000:]
    assert any("Going on from an earlier run" in line for line in messages(errors))
    assert same(folder, "killed")["lists"] == same(folder, "whole")["lists"]


def test_an_index_is_the_same_where_two_processes_encode_its_items(folder: Path) -> None:
    asked = ["small_shards.py", "index", "build", "--dataset", "walk", "--json", "--output"]
    ended, _, errors = launched([*asked, "index-two"], folder, ADAPT_CACHE=cache(folder, "index-two"))
    assert ended == {0}, errors[-3000:]
    one = alone([*asked, "index-one"], folder, ADAPT_CACHE=cache(folder, "index-one"))
    assert one.returncode == 0, one.stderr[-3000:]
    found, expected = (
        sorted(path.read_bytes() for path in (folder / name).rglob("*.safetensors"))
        for name in ("index-two", "index-one")
    )
    assert len(found) > 0
    assert found == expected


def test_without_a_folder_there_is_nothing_to_share(folder: Path) -> None:
    ended, _, errors = launched(["small_shards.py", "zero-shot", "--dataset", "walk"], folder)
    assert ended == {UsageError.exit_code}
    error, fix = messages(errors)
    assert "--output" in error
    assert "--output" in fix

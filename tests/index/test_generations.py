"""A folder that changes whole or not at all: writers, readers, and processes that die between them."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import pytest

from adapt.errors import CheckpointError, OutputError, UsageError
from adapt.index.generations import Generations, Part


def write(folder: Generations, text: str, *, keep: list[Part] | None = None) -> Part:
    with folder.writing(wait=0) as writer:
        part = writer.part(lambda path: (path / "words.txt").write_text(text) and None)
        parts = [*(keep or []), part]
        writer.commit({"format_version": 2, "parts": [{"name": p.name, "sha256": p.sha256} for p in parts]})
    return part


def words(folder: Generations) -> list[str]:
    held = folder.hold()
    parts = [Part(p["name"], p["sha256"]) for p in held.folder.json("index.json")["parts"]]
    return [folder.part(part).file("words.txt").read_text() for part in parts]


def test_a_generation_shares_the_parts_it_names_and_the_others_go(tmp_path: Path) -> None:
    folder = Generations(tmp_path / "index")
    one = write(folder, "one")
    write(folder, "two", keep=[one])
    assert words(folder) == ["one", "two"]
    write(folder, "three")
    assert words(folder) == ["three"]
    assert len(list((tmp_path / "index" / "parts").iterdir())) == 1
    assert len(list((tmp_path / "index" / "generations").iterdir())) == 1


def test_a_reader_keeps_its_generation_until_it_lets_go(tmp_path: Path) -> None:
    folder = Generations(tmp_path / "index")
    one = write(folder, "one")
    held = folder.hold()
    write(folder, "two")
    write(folder, "three")
    assert held.folder.json("index.json")["parts"][0]["name"] == one.name
    assert folder.part(one).file("words.txt").read_text() == "one"
    assert words(folder) == ["three"]
    held.release()
    write(folder, "four")
    with pytest.raises(CheckpointError):
        folder.part(one)


def test_a_second_writer_is_refused_with_the_process_of_the_first_or_waits(tmp_path: Path) -> None:
    folder = Generations(tmp_path / "index")
    write(folder, "one")
    with folder.writing(wait=0):
        with pytest.raises(UsageError, match=str(os.getpid())) as caught:
            write(folder, "two")
        assert "--wait" in caught.value.hint
        assert words(folder) == ["one"]
    entered = threading.Event()

    def first() -> None:
        with Generations(tmp_path / "index").writing(wait=0) as writer:
            entered.set()
            time.sleep(0.3)
            writer.commit({"parts": []})

    thread = threading.Thread(target=first)
    thread.start()
    entered.wait(5)
    with folder.writing(wait=10):
        assert words(folder) == []
    thread.join()


def test_what_fails_or_is_never_committed_leaves_no_trace(tmp_path: Path) -> None:
    folder = Generations(tmp_path / "index")
    write(folder, "one")

    def fail(path: Path) -> None:
        (path / "words.txt").write_text("half")
        raise RuntimeError("midway")

    def uncommitted() -> None:
        with folder.writing() as writer:
            writer.part(lambda path: (path / "words.txt").write_text("two") and None)
            writer.part(fail)

    with pytest.raises(RuntimeError, match="midway"):
        uncommitted()
    assert words(folder) == ["one"]
    assert len(list((tmp_path / "index" / "parts").iterdir())) == 1


def test_a_folder_with_other_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(OutputError, match=r"letter\.txt"):
        write(Generations(tmp_path), "one")
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"generation": "../../etc", "sha256": "x"}', '{"generation": 1}'])
def test_a_damaged_pointer_is_said_and_can_be_written_over(tmp_path: Path, text: str) -> None:
    folder = Generations(tmp_path / "index")
    write(folder, "one")
    (folder.path / "CURRENT").write_text(text)
    with pytest.raises(CheckpointError, match="CURRENT"):
        folder.hold()
    write(folder, "two")
    assert words(folder) == ["two"]


def test_a_part_whose_name_leads_elsewhere_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="name of a part"):
        Generations(tmp_path).part(Part("../secret", "x"))


def test_readers_never_see_half_a_generation_while_a_writer_goes_on(tmp_path: Path) -> None:
    folder = Generations(tmp_path / "index")
    write(folder, "0 0")
    stop, failures, seen = threading.Event(), [], []

    def read() -> None:
        while not stop.is_set():
            try:
                (text,) = words(Generations(tmp_path / "index"))
                one, other = text.split()
                assert one == other
                seen.append(int(one))
                time.sleep(0.005)
            except Exception as error:  # noqa: BLE001 - whatever it is, the test must see it
                failures.append(error)

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for turn in range(1, 12):
        write(folder, f"{turn} {turn}")
    stop.set()
    for reader in readers:
        reader.join(30)
    assert failures == []
    assert len(set(seen)) > 2


def test_the_lock_of_a_killed_writer_is_free(tmp_path: Path) -> None:
    ready, tell = os.pipe()
    child = os.fork()
    if not child:
        with Generations(tmp_path / "index").writing(wait=0):
            os.write(tell, b"locked")
            time.sleep(60)
            os._exit(1)
    assert os.read(ready, 6) == b"locked"
    folder = Generations(tmp_path / "index")
    with pytest.raises(UsageError, match=str(child)):
        write(folder, "one")
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    write(folder, "two")
    assert words(folder) == ["two"]

"""Events on disk: all of a write or nothing, in order, once."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sqlite3
import threading
from pathlib import Path

import pytest

from adapt.errors import CheckpointError, ConflictError, OutputError
from adapt.memory.store import FILE, EventStore, StoredEvent, users_of


@pytest.fixture
def store(tmp_path: Path) -> EventStore:
    return EventStore(tmp_path / "memory")


def test_histories_are_in_the_order_of_time_and_then_of_arrival(store: EventStore) -> None:
    assert store.append([("b", "late", 9.0), ("a", "x", None), ("b", "early", 1.0), ("b", "also late", 9.0)]) == 4
    assert store.history("b") == ["early", "late", "also late"]
    assert store.history("b", latest=2) == ["late", "also late"]
    assert store.history("nobody") == []
    assert {user: list(items) for user, items in users_of(store.histories())} == {
        "a": ["x"],
        "b": ["early", "late", "also late"],
    }
    assert store.counts() == {"events": 4, "users": 2, "items": 4}


def test_the_history_before_an_event_holds_what_came_before_it(store: EventStore) -> None:
    store.append([("u", "none", None), ("u", "first", 1.0), ("u", "third", 3.0), ("u", "second", 2.0), ("v", "z", 0.0)])
    events = {event.item: event for event in store.after(0)}
    assert store.history("u", events["second"]) == ["none", "first"]
    assert store.history("u", events["third"]) == ["none", "first", "second"]
    assert store.history("u", events["third"], latest=1) == ["second"]
    assert store.history("u", events["none"]) == []
    assert [event.item for event in store.after(events["third"].number)] == ["second", "z"]
    assert store.last() == events["z"].number == 5
    assert events["none"] == StoredEvent(1, "u", "none", None)


def test_a_write_that_fails_leaves_nothing(store: EventStore) -> None:
    def write() -> None:
        with store.writing():
            store.append([("u", "a", None)])
            store.keep_answer("key", ["request"], {"fine": True})
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write()
    assert store.counts()["events"] == 0
    assert store.answer("key", ["request"]) is None


def test_a_key_belongs_to_one_request(store: EventStore) -> None:
    store.keep_answer("key", {"a": b"picture"}, {"added": 1})
    assert store.answer("key", {"a": b"picture"}) == {"added": 1}
    with pytest.raises(ConflictError, match="'key'"):
        store.answer("key", {"a": b"another"})
    assert store.answer("", {"a": 1}) is None
    store.forget_answers(before=float("inf"))
    assert store.answer("key", {"a": 1}) is None


def test_pictures_are_kept_replaced_and_known_to_be_absent(store: EventStore) -> None:
    store.keep_picture("a", b"\x89PNG")
    store.keep_picture("b", b"")
    assert store.pictured() == {"a": True, "b": False}
    assert store.picture("a") == b"\x89PNG"
    store.keep_picture("a", None)
    assert store.picture("a") is None
    assert store.pictured() == {"b": False}


def test_another_connection_is_noticed(store: EventStore) -> None:
    other = EventStore(store.path)
    before = store.changed_elsewhere()
    assert store.changed_elsewhere() == before
    store.append([("u", "own", None)])
    assert store.changed_elsewhere() == before
    other.append([("u", "theirs", None)])
    assert store.changed_elsewhere() != before
    assert store.history("u") == ["own", "theirs"]


def test_many_threads_and_connections_lose_nothing(store: EventStore) -> None:
    stores = [store, EventStore(store.path)]

    def write(number: int) -> None:
        for step in range(20):
            stores[number % 2].append([(f"u{number}", f"{step}", float(step))])

    threads = [threading.Thread(target=write, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number in range(6):
        assert store.history(f"u{number}") == [str(step) for step in range(20)]


def _write_until_killed(folder: Path, sender: object) -> None:
    store = EventStore(folder)
    for number in range(100_000):
        with store.writing():
            store.append([("u", f"{number}a", float(number)), ("u", f"{number}b", float(number))])
            store.keep_answer(f"k{number}", number, number)
        sender.send(number)  # type: ignore[attr-defined]


@pytest.mark.parametrize("after", [1, 7, 23])
def test_what_was_acknowledged_survives_sigkill_and_nothing_is_half_there(tmp_path: Path, after: int) -> None:
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_write_until_killed, args=(tmp_path / "memory", sender))
    process.start()
    acknowledged = [receiver.recv() for _ in range(after)]
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    store = EventStore(tmp_path / "memory")
    items = store.history("u")
    assert len(items) % 2 == 0
    assert items == [f"{number}{part}" for number in range(len(items) // 2) for part in "ab"]
    assert len(items) // 2 >= len(acknowledged)
    assert store.answer(f"k{acknowledged[-1]}", acknowledged[-1]) == acknowledged[-1]
    assert store.answer(f"k{len(items) // 2}", 0) is None


def test_a_folder_with_other_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"")
    with pytest.raises(OutputError, match=r"photo\.jpg"):
        EventStore(tmp_path)


def test_a_damaged_file_and_a_later_version_are_refused(tmp_path: Path) -> None:
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    (damaged / FILE).write_bytes(b"not a database at all" * 100)
    with pytest.raises(CheckpointError, match="damaged"):
        EventStore(damaged)
    later = EventStore(tmp_path / "later")
    later.set_fact("format_version", 2)
    later.close()
    with pytest.raises(CheckpointError, match="version 2"):
        EventStore(tmp_path / "later")


def test_what_sqlite_cannot_write_is_said(store: EventStore) -> None:
    lock = sqlite3.connect(store.path / FILE, isolation_level=None)
    lock.execute("BEGIN IMMEDIATE")
    store._database.execute("PRAGMA busy_timeout=10")
    with pytest.raises(OutputError, match="locked"):
        store.append([("u", "a", None)])
    lock.execute("ROLLBACK")
    assert store.append([("u", "a", None)]) == 1

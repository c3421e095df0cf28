"""Events on disk: written once, in the order in which they came, by any number of processes."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adapt.errors import CheckpointError, ConflictError, OutputError
from adapt.files import output_errors

FILE = "memory.sqlite"
FORMAT_VERSION = 1
_LOCK = ".lock"
_WAIT = 30.0
_TABLES = """
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS events (
  number INTEGER PRIMARY KEY AUTOINCREMENT, user TEXT NOT NULL, item TEXT NOT NULL, time REAL
);
CREATE INDEX IF NOT EXISTS events_of_user ON events (user, time, number);
CREATE TABLE IF NOT EXISTS answers (
  key TEXT PRIMARY KEY, digest TEXT NOT NULL, answer TEXT NOT NULL, time REAL NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS pictures (item TEXT PRIMARY KEY, bytes BLOB NOT NULL) WITHOUT ROWID;
"""


@dataclass(frozen=True)
class StoredEvent:
    """One event.

    Attributes:
        number: counts up in the order in which events were stored.
        user, item: ids.
        time: seconds; None = before all that have one.
    """

    number: int
    user: str
    item: str
    time: float | None


class EventStore:
    """Events, answers by idempotency key, pictures and facts, in one SQLite file in WAL mode.

    What a method has written is on disk when it returns: every commit is synchronised. A process that dies loses
    nothing that was committed, and leaves nothing half there. Every method may be called from several threads.

    Args:
        folder: made where there is none.

    Raises:
        OutputError: the folder cannot be written.
        CheckpointError: what is there is no memory, a damaged one, or of a later version.
    """

    def __init__(self, folder: str | Path) -> None:
        self.path = Path(folder)
        with output_errors(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
        foreign = sorted(p.name for p in self.path.iterdir() if not p.name.startswith((FILE, ".")))
        if foreign:
            raise OutputError(
                f"expected a new folder or a memory, found {self.path} with files in it: {foreign[0]}",
                "Choose another folder.",
            )
        self._lock = threading.RLock()
        with self._errors():
            self._database = sqlite3.connect(
                self.path / FILE, timeout=_WAIT, isolation_level=None, check_same_thread=False
            )
            self._database.execute("PRAGMA journal_mode=WAL")
            self._database.execute("PRAGMA synchronous=FULL")
            with self.writing():
                for statement in filter(str.strip, _TABLES.split(";")):
                    self._database.execute(statement)
                version = self.fact("format_version")
                if version is None:
                    self.set_fact("format_version", FORMAT_VERSION)
                elif version != FORMAT_VERSION:
                    raise CheckpointError(
                        f"expected a memory of version {FORMAT_VERSION} in {self.path}, found version {version}",
                        "Use the version of adapt that made it, or another folder.",
                    )

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._database.close()

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Make what is written inside one step: all of it is stored, or nothing. Nested blocks are one.

        Raises:
            OutputError: it cannot be stored.
        """
        with self._lock, self._errors():
            if self._database.in_transaction:
                yield
                return
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._database.execute("ROLLBACK")
                raise
            self._database.execute("COMMIT")

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """See one state of the file in all reads inside, whatever other processes write meanwhile."""
        with self._lock, self._errors():
            self._database.execute("BEGIN")
            try:
                yield
            finally:
                self._database.execute("COMMIT")

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Do what only one process at a time may do; the others wait."""
        with output_errors(self.path), (self.path / _LOCK).open("w") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield

    def fact(self, name: str) -> Any:
        """A value that :meth:`set_fact` stored; None where there is none."""
        with self._lock, self._errors():
            found = self._database.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
        return None if found is None else json.loads(found[0])

    def set_fact(self, name: str, value: object) -> None:
        """Store a value that JSON can hold."""
        with self.writing():
            self._database.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, json.dumps(value)))

    def append(self, events: Iterable[tuple[str, str, float | None]]) -> int:
        """Store events (user, item, time) in their order; returns how many."""
        with self.writing():
            before = self._database.total_changes
            self._database.executemany("INSERT INTO events (user, item, time) VALUES (?, ?, ?)", events)
            return self._database.total_changes - before

    def last(self) -> int:
        """The number of the last event; 0 = there is none."""
        with self._lock, self._errors():
            return int(self._database.execute("SELECT coalesce(max(number), 0) FROM events").fetchone()[0])

    def after(self, number: int) -> list[StoredEvent]:
        """The events that were stored after the one with a number, as they came."""
        with self._lock, self._errors():
            rows = self._database.execute(
                "SELECT number, user, item, time FROM events WHERE number > ? ORDER BY number", (number,)
            )
            return [StoredEvent(*row) for row in rows]

    def histories(self) -> Iterator[tuple[str, str]]:
        """(user, item) of every event, user after user, each in the order of time."""
        with self._lock, self._errors():
            yield from self._database.execute("SELECT user, item FROM events ORDER BY user, time, number")

    def history(self, user: str, until: StoredEvent | None = None, latest: int = 0) -> list[str]:
        """The items that a user met, oldest first.

        Args:
            user: the id.
            until: only events before this one.
            latest: how many at most, the newest; 0 = all.
        """
        limit = latest if latest else -1
        with self._lock, self._errors():
            if until is None:
                found = self._database.execute(
                    "SELECT item FROM events WHERE user = ? ORDER BY time DESC, number DESC LIMIT ?", (user, limit)
                )
            else:
                time_ = float("-inf") if until.time is None else until.time
                found = self._database.execute(
                    "SELECT item FROM events WHERE user = ? AND (coalesce(time, -9e999), number) < (?, ?) "
                    "ORDER BY time DESC, number DESC LIMIT ?",
                    (user, time_, until.number, limit),
                )
            return [row[0] for row in found][::-1]

    def counts(self) -> dict[str, int]:
        """How many events, users and distinct items there are."""
        with self._lock, self._errors():
            row = self._database.execute("SELECT count(*), count(DISTINCT user), count(DISTINCT item) FROM events")
            return dict(zip(("events", "users", "items"), row.fetchone(), strict=True))

    def changed_elsewhere(self) -> int:
        """A number that changes when another process or connection has written."""
        with self._lock, self._errors():
            return int(self._database.execute("PRAGMA data_version").fetchone()[0])

    def answer(self, key: str, request: object) -> Any:
        """The answer that a request with this key was given; None where there is none.

        Raises:
            ConflictError: the key was used for another request.
        """
        if not key:
            return None
        with self._lock, self._errors():
            found = self._database.execute("SELECT digest, answer FROM answers WHERE key = ?", (key,)).fetchone()
        if found is None:
            return None
        if found[0] != _digest(request):
            raise ConflictError(
                f"expected the request that the idempotency key {key!r} was first used for, found another one",
                "Use a new key for each request, and the same key only to repeat it.",
            )
        return json.loads(found[1])

    def keep_answer(self, key: str, request: object, answer: object) -> None:
        """Remember what a request with this key is answered, in place of what was; an empty key is not remembered."""
        if key:
            with self.writing():
                self._database.execute(
                    "INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?)",
                    (key, _digest(request), json.dumps(answer), time.time()),
                )

    def forget_answers(self, before: float) -> None:
        """Forget answers that are older than a moment, in seconds."""
        with self.writing():
            self._database.execute("DELETE FROM answers WHERE time < ?", (before,))

    def picture(self, item: str) -> bytes | None:
        """The picture of an item, if one is kept."""
        with self._lock, self._errors():
            found = self._database.execute("SELECT bytes FROM pictures WHERE item = ?", (item,)).fetchone()
        return None if found is None else bytes(found[0])

    def pictured(self) -> dict[str, bool]:
        """The items of which it is known whether they have a picture, and whether they do."""
        with self._lock, self._errors():
            return {row[0]: bool(row[1]) for row in self._database.execute("SELECT item, length(bytes) FROM pictures")}

    def keep_picture(self, item: str, picture: bytes | None) -> None:
        """Keep the picture of an item in place of any before; empty = it has none, None = nothing is known of it."""
        with self.writing():
            if picture is None:
                self._database.execute("DELETE FROM pictures WHERE item = ?", (item,))
            else:
                self._database.execute("INSERT OR REPLACE INTO pictures VALUES (?, ?)", (item, picture))

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        """Say in our words what SQLite says."""
        try:
            yield
        except sqlite3.DatabaseError as error:
            words = str(error)
            if isinstance(error, sqlite3.OperationalError):
                raise OutputError(
                    f"expected to read and write the memory in {self.path}: {words}",
                    "Is the disk full, the folder read-only, or another program at it?",
                ) from error
            raise CheckpointError(
                f"expected a memory in {self.path}, found a damaged one: {words}", "Restore it from a copy."
            ) from error


def _digest(request: object) -> str:
    text = json.dumps(request, sort_keys=True, ensure_ascii=True, default=_as_text)
    return hashlib.sha256(text.encode()).hexdigest()


def _as_text(value: object) -> str:
    if isinstance(value, bytes):
        return hashlib.sha256(value).hexdigest()
    raise TypeError(f"expected values that JSON can hold, found {type(value)}")


def users_of(pairs: Iterable[tuple[str, str]]) -> Iterator[tuple[str, Sequence[str]]]:
    """(user, items) from (user, item) that come user after user."""
    user: str | None = None
    items: list[str] = []
    for name, item in pairs:
        if name != user and user is not None:
            yield user, items
            items = []
        user = name
        items.append(item)
    if user is not None:
        yield user, items

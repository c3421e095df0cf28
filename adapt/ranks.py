"""The processes that a launcher started together: who this one is, which work is its own, and what all agree on.

`accelerate launch` and `torchrun` say who is who in the environment. Small values go through the launcher's own
key-value store (``torch.distributed``'s, at ``MASTER_ADDR:MASTER_PORT``), beside the tensors of a training, so that
they can be exchanged before there is a device, while one process works for hours, and after another one has died.
Without a launcher every function here answers at once for the one process there is.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from platform import node
from typing import TYPE_CHECKING, Any, NoReturn

from adapt.errors import AdaptError, LostRankError

if TYPE_CHECKING:
    from torch._C._distributed_c10d import Store

JOIN_SECONDS = 600.0
"""How long the first process waits for the last: hosts of a queue do not start in the same minute."""
_BEAT = 1.0
DEAD_AFTER = 5.0
"""Seconds without a sign of life after which a process is gone, where something else has failed already."""
SILENT_AFTER = 60.0
"""The same where nothing else has failed: a process that holds Python's lock for long is no dead one."""
_POLL = timedelta(seconds=0.5)
_TRY, _ANSWER = timedelta(seconds=5), timedelta(seconds=30)


def rank() -> int:
    """Which of the processes this one is, from 0."""
    return int(os.environ.get("RANK", "0"))


def local_rank() -> int:
    """Which of the processes of this host this one is, from 0."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def count() -> int:
    """How many processes a launcher started together; 1 without one."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_main() -> bool:
    """Whether this process speaks and writes for all those that a launcher started together."""
    return rank() == 0


def mine(pieces: int) -> range:
    """Which of ``pieces`` pieces of work (shards, files, blocks) are this process's: every piece is exactly one's.

    >>> mine(3)
    range(0, 3)
    """
    return range(rank(), pieces, count())


def barrier() -> None:
    """Wait until every process has come here.

    Raises:
        LostRankError: one of them has failed or is gone.
    """
    gather(None)


def agree(value: Any) -> Any:
    """What the main process has, in every process.

    Args:
        value: that JSON can hold; that of the other processes is dropped.

    Raises:
        LostRankError: a process has failed or is gone.
    """
    return gather(value)[0]


def gather(value: Any) -> list[Any]:
    """The values of all processes, by rank.

    Args:
        value: that JSON can hold.

    Raises:
        LostRankError: a process has failed or is gone.
    """
    if count() == 1:
        return [value]
    return meeting().gather(value)


@dataclass(frozen=True)
class Failure:
    """Why the run ends, as the first process that knew has told the others.

    Attributes:
        rank: of the process that failed.
        host: that it ran on.
        message, hint, exit_code: what the user is told.
    """

    rank: int
    host: str
    message: str
    hint: str
    exit_code: int

    @classmethod
    def here(cls, message: str, hint: str, exit_code: int) -> Failure:
        """Of this process."""
        return cls(rank(), node(), message, hint, exit_code)

    def error(self) -> LostRankError:
        """As it is raised in the other processes."""
        return LostRankError(f"rank {self.rank} of {count()} on {self.host} failed: {self.message}", self.hint)


class Meeting:
    """All processes of a run, over their key-value store. A thread gives a sign of life and watches for the others'.

    Args:
        store: of the run.
        pulse: another client of the same store, for the thread: a client serves one caller at a time.
    """

    def __init__(self, store: Store, pulse: Store) -> None:
        self._store, self._pulse = store, pulse
        self._number = 0
        self._beats: dict[int, tuple[str, float]] = {}
        self._hosts: list[str] = []
        self._left = threading.Event()
        self._on_trouble: Callable[[], None] | None = None
        self._store_gone: float | None = None
        self._heart = threading.Thread(target=self._live, name="adapt-ranks", daemon=True)

    def begin(self, seconds: float) -> None:
        """Wait until all have come.

        Raises:
            LostRankError: they did not within ``seconds``.
        """
        self._pulse.set(_beat(rank()), "0")
        self._store.set(f"host/{rank()}", node())
        until = time.monotonic() + seconds
        keys = [f"host/{number}" for number in range(count())]
        while not self._has(keys):
            if time.monotonic() > until:
                missing = [number for number, key in enumerate(keys) if not self._store.check([key])]
                raise LostRankError(
                    f"expected {count()} processes within {seconds:.0f} seconds, found none of rank "
                    + ", ".join(map(str, missing)),
                    "Start the same command on every host, with the same main_process_ip and main_process_port.",
                )
        self._hosts = [self._store.get(key).decode() for key in keys]
        self._heart.start()

    def gather(self, value: Any) -> list[Any]:
        """See :func:`gather`."""
        self._number += 1
        keys = [f"gather/{self._number}/{number}" for number in range(count())]
        with _store_errors():
            self._store.set(keys[rank()], json.dumps(value))
            while not self._has(keys):
                self._raise_if_failed()
            found = [json.loads(self._store.get(key)) for key in keys]
            self._store.delete_key(f"gather/{self._number - 1}/{rank()}")  # all are here, and so have read it
        return found

    def fail(self, failure: Failure) -> Failure:
        """Tell the others why the run ends; returns the failure that was told first, which is the cause."""
        try:
            return Failure(**json.loads(self._store.compare_set("failure", "", json.dumps(asdict(failure)))))
        except (RuntimeError, ValueError):
            return failure  # the store has gone with the process that kept it

    def failure(self) -> Failure | None:
        """What a process has told, if one has."""
        try:
            return Failure(**json.loads(self._store.get("failure"))) if self._store.check(["failure"]) else None
        except RuntimeError:
            return None

    def lost(self, seconds: float) -> Failure | None:
        """The first process that has given no sign of life for ``seconds``, without having left."""
        now = time.monotonic()
        if self._store_gone is not None and now - self._store_gone > seconds:
            return self._gone(0)
        silent = [number for number, (beat, since) in self._beats.items() if beat != "" and now - since > seconds]
        return self._gone(silent[0]) if silent else None

    def stop(self) -> None:
        """Tell the others that this process has stopped working, for a reason that it does not know."""
        with contextlib.suppress(RuntimeError):
            self._store.set(f"stopped/{rank()}", "")

    def all_stopped(self) -> bool:
        """Whether every process has stopped or left: none is missing."""
        working = [number for number, (beat, _) in self._beats.items() if beat != ""]
        try:
            return bool(self._beats) and bool(self._store.check([f"stopped/{number}" for number in (rank(), *working)]))
        except RuntimeError:
            return False

    def may_speak(self) -> bool:
        """True for the first process of each host that asks: of several that fail, one tells the user."""
        try:
            return bool(self._store.add(f"said/{node()}", 1) == 1)
        except RuntimeError:
            return local_rank() == 0 or is_main()

    def watch(self, on_trouble: Callable[[], None]) -> None:
        """Call ``on_trouble``, once and in another thread, when a process has failed or gives no sign of life."""
        self._on_trouble = on_trouble

    def leave(self) -> None:
        """This process has done its part: nobody need wonder where it is."""
        self._on_trouble = None
        self._left.set()
        if self._heart.is_alive() and threading.current_thread() is not self._heart:
            self._heart.join(timeout=2 * _BEAT)

    def _has(self, keys: Sequence[str]) -> bool:
        from torch.distributed import DistStoreError

        try:
            self._store.wait(list(keys), _POLL)  # returns now and then, so that a signal is heard
        except DistStoreError:
            return bool(self._store.check(list(keys)))
        return True

    def _raise_if_failed(self) -> None:
        failure = self.failure() or self.lost(SILENT_AFTER)
        if failure is not None:
            raise failure.error()

    def _gone(self, number: int) -> Failure:
        host = self._hosts[number] if self._hosts else "an unknown host"
        return Failure(
            number,
            host,
            f"rank {number} of {count()} on {host} is gone: it was killed, it crashed, or its host is away",
            "Look there for what ended it (often too little memory), then start all again with --resume.",
            LostRankError.exit_code,
        )

    def _live(self) -> None:
        beat, others = 0, [number for number in range(count()) if number != rank()]
        while not self._left.wait(_BEAT):
            beat += 1
            try:
                self._pulse.set(_beat(rank()), str(beat))
                self._listen(others)
            except RuntimeError:
                self._store_gone = self._store_gone or time.monotonic()
            trouble, told = self._on_trouble, None
            if trouble is not None:
                told = self._told() or self.lost(SILENT_AFTER if self._store_gone is None else DEAD_AFTER)
            if trouble is not None and told is not None:
                self._on_trouble = None
                trouble()
        try:
            self._pulse.set(_beat(rank()), "")
        except RuntimeError:
            self._store_gone = self._store_gone or time.monotonic()

    def _listen(self, others: Sequence[int]) -> None:
        found = self._pulse.multi_get([_beat(number) for number in others])
        now = time.monotonic()
        for number, value in zip(others, found, strict=True):
            if number not in self._beats or self._beats[number][0] != value.decode():
                self._beats[number] = (value.decode(), now)
        self._store_gone = None

    def _told(self) -> bool | None:
        """Whether another process has told a failure; None = no."""
        try:
            return bool(self._pulse.check(["failure"])) or None
        except RuntimeError:
            return None


_meeting: Meeting | None = None


def meeting(seconds: float = JOIN_SECONDS) -> Meeting:
    """The meeting of all processes, which the first call joins.

    Args:
        seconds: that are waited for the others.

    Raises:
        LostRankError: the others do not come.
    """
    global _meeting  # noqa: PLW0603 - a process is in one run
    if _meeting is None:
        found = Meeting(*_clients(seconds))
        with _store_errors():
            found.begin(seconds)
        _meeting = found
    return _meeting


def joined() -> Meeting | None:
    """The meeting, if this process has joined it."""
    return _meeting


def _clients(seconds: float) -> tuple[Store, Store]:
    from torch.distributed import PrefixStore  # type: ignore[attr-defined]

    until = time.monotonic() + seconds
    with _store_errors():
        clients = [_connect(until), _connect(until)]
    return PrefixStore("adapt", clients[0]), PrefixStore("adapt", clients[1])


def _connect(until: float) -> Store:
    """A client of the launcher's store, or of one that the main process keeps where the launcher keeps none."""
    from torch.distributed import DistNetworkError, TCPStore  # type: ignore[attr-defined]

    kept = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    while True:
        try:
            store = TCPStore(
                os.environ["MASTER_ADDR"],
                int(os.environ["MASTER_PORT"]),
                is_master=is_main() and not kept,
                timeout=_TRY,
                wait_for_workers=False,
                multi_tenant=not kept,  # the group of processes uses it too
            )
        except DistNetworkError:
            if time.monotonic() > until:
                raise
        else:
            store.set_timeout(_ANSWER)
            return store


def _beat(number: int) -> str:
    return f"beat/{number}"


class _store_errors:  # noqa: N801 - a context manager
    """A store that cannot be reached means that the process that keeps it is gone."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, RuntimeError) and not isinstance(error, AdaptError):
            self._raise(error)

    def _raise(self, error: BaseException) -> NoReturn:
        address = f"{os.environ.get('MASTER_ADDR', '?')}:{os.environ.get('MASTER_PORT', '?')}"
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise LostRankError(
            f"expected the main process at {address}, found no answer: {reason}",
            "Start the same command on every host, with an address and a port of the first host that all can reach.",
        ) from error

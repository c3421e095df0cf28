"""Processes of one run that exchange small values, and notice when one of them has failed or is gone.

Values go through the launcher's own key-value store (``torch.distributed``'s, at ``MASTER_ADDR:MASTER_PORT``), beside
the tensors of a training, so that they can be exchanged before there is a device, while one process works for hours,
and after another one has died.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from platform import node
from typing import TYPE_CHECKING, Any

from adapt.errors import LostRankError

if TYPE_CHECKING:
    from torch._C._distributed_c10d import Store

JOIN_SECONDS = 600.0
"""How long the first process waits for the last: hosts of a queue do not start in the same minute."""
_BEAT = 1.0
DEAD_AFTER = 5.0
"""Seconds without a sign of life after which a process is gone, where something else has failed already."""
SILENT_AFTER = 60.0
"""The same where nothing else has failed: a process that holds Python's lock for long is no dead one."""
_SEE_OFF = 3.0
_POLL = timedelta(seconds=0.5)
_TRY, _ANSWER = timedelta(seconds=5), timedelta(seconds=30)


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

    def error(self) -> LostRankError:
        """As it is raised in the other processes."""
        if self.exit_code == LostRankError.exit_code:
            return LostRankError(self.message, self.hint)
        return LostRankError(f"rank {self.rank} on {self.host} failed: {self.message}", self.hint)


def gone(rank: int, count: int, host: str) -> Failure:
    """What is told of a process that gives no sign of life any more."""
    return Failure(
        rank,
        host,
        f"rank {rank} of {count} on {host} is gone: it was killed, it crashed, or its host is away",
        "Look there why (often too little memory). The same command goes on, with --resume where it has it.",
        LostRankError.exit_code,
    )


class Meeting:
    """All processes of a run, over their key-value store. A thread gives a sign of life and watches for the others'.

    Args:
        rank: of this process.
        count: of the processes.
        store: of the run.
        pulse: another client of the same store, for the thread: a client serves one caller at a time.
        keeps_store: whether the store ends with this process.
    """

    def __init__(self, rank: int, count: int, store: Store, pulse: Store, keeps_store: bool = False) -> None:
        self.rank, self.count = rank, count
        self._store, self._pulse, self._keeps_store = store, pulse, keeps_store
        self._number = 0
        self._beats: dict[int, tuple[str, float]] = {}
        self._hosts: list[str] = []
        self._left = threading.Event()
        self._on_trouble: Callable[[], None] | None = None
        self._store_gone: float | None = None
        self._unheard = 0
        self._heart = threading.Thread(target=self._live, name="adapt-ranks", daemon=True)
        self._guard = threading.Thread(target=self._listen_to_the_heart, name="adapt-store", daemon=True)

    def begin(self, seconds: float) -> None:
        """Wait until all have come.

        Raises:
            LostRankError: they did not within ``seconds``.
        """
        self._pulse.set(_beat(self.rank), "0")
        self._store.set(f"host/{self.rank}", node())
        until = time.monotonic() + seconds
        keys = [f"host/{number}" for number in range(self.count)]
        while not self._has(keys):
            if time.monotonic() > until:
                missing = [number for number, key in enumerate(keys) if not self._store.check([key])]
                raise LostRankError(
                    f"expected {self.count} processes within {seconds:.0f} seconds, found none of rank "
                    + ", ".join(map(str, missing)),
                    "Start the same command on every host, with the same main_process_ip and main_process_port.",
                )
        self._hosts = [self._store.get(key).decode() for key in keys]
        self._heart.start()
        self._guard.start()

    def gather(self, value: Any) -> list[Any]:
        """See :func:`gather`."""
        self._number += 1
        keys = [f"gather/{self._number}/{number}" for number in range(self.count)]
        with _store_errors():
            self._store.set(keys[self.rank], json.dumps(value))
            while not self._has(keys):
                self._raise_if_failed()
            found = [json.loads(self._store.get(key)) for key in keys]
            self._store.delete_key(f"gather/{self._number - 1}/{self.rank}")  # all are here, and so have read it
        return found

    @property
    def cut_off(self) -> bool:
        """Whether the store does not answer: who asks it anything more waits for ever."""
        return self._unheard * _BEAT > SILENT_AFTER

    def fail(self, failure: Failure) -> Failure:
        """Tell the others why the run ends; returns the failure that was told first, which is the cause."""
        if self.cut_off:
            return failure
        try:
            return Failure(**json.loads(self._store.compare_set("failure", "", json.dumps(asdict(failure)))))
        except (RuntimeError, ValueError):
            return failure  # the store has gone with the process that kept it

    def failure(self) -> Failure | None:
        """What a process has told, if one has."""
        if self.cut_off:
            return self._gone(0)
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
            self._store.set(f"stopped/{self.rank}", "")

    def all_stopped(self) -> bool:
        """Whether every process has stopped or left: none is missing."""
        working = [number for number, (beat, _) in self._beats.items() if beat != ""]
        try:
            return bool(self._beats) and bool(
                self._store.check([f"stopped/{number}" for number in (self.rank, *working)])
            )
        except RuntimeError:
            return False

    def may_speak(self) -> bool:
        """True for the first process of each host that asks: of several that fail, one tells the user."""
        if not self.cut_off:
            with contextlib.suppress(RuntimeError):
                return int(self._store.add(f"said/{node()}", 1)) == 1
        return os.environ.get("LOCAL_RANK", "0") == "0"

    def watch(self, on_trouble: Callable[[], None]) -> None:
        """Call ``on_trouble``, once and in another thread, when a process has failed or gives no sign of life."""
        self._on_trouble = on_trouble

    def leave(self) -> None:
        """This process has done its part: nobody need wonder where it is."""
        self._on_trouble = None
        self._left.set()
        if self._heart.is_alive() and threading.current_thread() is not self._heart:
            self._heart.join(timeout=2 * _BEAT)
            if self._keeps_store:
                self._see_off()

    def _see_off(self) -> None:
        """Stay for a moment until the others have left: they may still have to read what was exchanged last."""
        until = time.monotonic() + _SEE_OFF
        others = [_beat(number) for number in range(self.count) if number != self.rank]
        with contextlib.suppress(RuntimeError):
            while any(self._store.multi_get(others)) and time.monotonic() < until:
                time.sleep(_SEE_OFF / 100)

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
        return gone(number, self.count, self._hosts[number] if self._hosts else "an unknown host")

    def _listen_to_the_heart(self) -> None:
        """A host that loses its network says nothing, and what was asked of it has no end: count the seconds."""
        while not self._left.wait(_BEAT):
            self._unheard += 1  # not read off a clock, which goes on while another thread holds Python's lock
            if self.cut_off:
                self._trouble()
                return

    def _trouble(self) -> None:
        call, self._on_trouble = self._on_trouble, None
        if call is not None:
            call()

    def _live(self) -> None:
        beat, others = 0, [number for number in range(self.count) if number != self.rank]
        while not self._left.wait(_BEAT):
            beat += 1
            try:
                self._pulse.set(_beat(self.rank), str(beat))
                self._listen(others)
            except RuntimeError:
                self._store_gone = self._store_gone or time.monotonic()
            self._unheard = 0
            if self._told() or self.lost(SILENT_AFTER if self._store_gone is None else DEAD_AFTER):
                self._trouble()
        try:
            self._pulse.set(_beat(self.rank), "")
        except RuntimeError:
            self._store_gone = self._store_gone or time.monotonic()

    def _listen(self, others: Sequence[int]) -> None:
        found = self._pulse.multi_get([_beat(number) for number in others])
        now = time.monotonic()
        for number, value in zip(others, found, strict=True):
            if number not in self._beats or self._beats[number][0] != value.decode():
                self._beats[number] = (value.decode(), now)
        self._store_gone = None

    def _told(self) -> bool:
        """Whether a process has told a failure."""
        with contextlib.suppress(RuntimeError):
            return bool(self._pulse.check(["failure"]))
        return False


def meet(rank: int, count: int, seconds: float = JOIN_SECONDS) -> Meeting:
    """Join the other processes.

    Args:
        rank: of this process.
        count: of the processes.
        seconds: that are waited for the others.

    Raises:
        LostRankError: they do not come.
    """
    from torch.distributed import PrefixStore  # type: ignore[attr-defined]

    until = time.monotonic() + seconds
    with _store_errors():
        store, pulse = (PrefixStore("adapt", _connect(rank == 0, until)) for _ in range(2))
        meeting = Meeting(rank, count, store, pulse, keeps_store=rank == 0 and not _kept_by_launcher())
        meeting.begin(seconds)
    return meeting


def _connect(main: bool, until: float) -> Store:
    """A client of the launcher's store, or of one that the main process keeps where the launcher keeps none."""
    from torch.distributed import DistNetworkError, TCPStore  # type: ignore[attr-defined]

    kept = _kept_by_launcher()
    while True:
        try:
            store = TCPStore(
                os.environ["MASTER_ADDR"],
                int(os.environ["MASTER_PORT"]),
                is_master=main and not kept,
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


def _kept_by_launcher() -> bool:
    return os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"


def _beat(number: int) -> str:
    return f"beat/{number}"


@contextlib.contextmanager
def _store_errors() -> Iterator[None]:
    """A store that cannot be reached means that the process that keeps it is gone."""
    try:
        yield
    except RuntimeError as error:
        address = f"{os.environ.get('MASTER_ADDR', '?')}:{os.environ.get('MASTER_PORT', '?')}"
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise LostRankError(
            f"expected the main process at {address}, found no answer: {reason}",
            "Start the same command on every host, with an address and a port of the first host that all can reach.",
        ) from error

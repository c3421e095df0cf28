"""Several processes that share one port: started, replaced when one dies, stopped together."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, TextIO

from adapt import errors
from adapt.config import parse
from adapt.data.columns import ColumnOptions
from adapt.errors import AdaptError, CheckpointError
from adapt.serve.metrics import SHARED
from adapt.serve.security import Keys
from adapt.serve.settings import Settings
from adapt.workflows.live_types import LiveOptions
from adapt.workflows.run_facts import plain

_READY = "ready"
_POLL = 0.1  # seconds
_SOON = 5.0  # seconds: a process that ends sooner after its start than this cannot work at all


@dataclass(frozen=True)
class Plan:
    """What each process does.

    Attributes:
        options: of the service that it opens.
        keys: that are accepted.
        settings: the bounds.
    """

    options: LiveOptions
    keys: Keys
    settings: Settings

    def to_json(self) -> str:
        """All of it as text."""
        return json.dumps(plain(asdict(self)))

    @classmethod
    def from_json(cls, text: str) -> Plan:
        """What :meth:`to_json` wrote."""
        values = json.loads(text)
        values["options"]["columns"] = parse(ColumnOptions, values["options"]["columns"], "the columns of a plan")
        keys = Keys(tuple(values["keys"]["read"]), tuple(values["keys"]["write"]))
        return cls(LiveOptions(**values["options"]), keys, Settings(**values["settings"]))


@dataclass(eq=False)
class _Child:
    """A process and the pipe on which it says that it is ready, or why it cannot be."""

    process: subprocess.Popen[bytes]
    started: float = field(default_factory=time.monotonic)
    said: str = ""
    listener: threading.Thread | None = None

    @property
    def ready(self) -> bool:
        """Whether it answers."""
        return self.said == _READY

    def listen(self) -> None:
        """Wait for its one line, in a thread."""
        assert self.process.stdout is not None
        self.said = self.process.stdout.readline().decode().strip()

    def error(self, code: int) -> AdaptError:
        """Why it ended so soon."""
        if self.listener is not None:
            self.listener.join(1)
        if self.said and not self.ready:
            told = json.loads(self.said)
            kind: type[AdaptError] = getattr(errors, told["kind"])
            return kind(told["message"], told["hint"])
        return CheckpointError(
            f"expected the service's processes to stay, found that one ended with {code} right away",
            "What it printed above says why; `adapt serve` without --workers shows it alone.",
        )


def run(
    plan: Plan, listener: socket.socket, workers: int, ready: Callable[[], None], note: Callable[[str], None]
) -> None:
    """Serve with several processes until SIGTERM or Ctrl-C.

    Args:
        plan: what each does.
        listener: the socket that they share.
        workers: how many.
        ready: called once all of them answer.
        note: told when a process died and is replaced.

    Raises:
        AdaptError: what kept a process from opening the index.
        CheckpointError: a process ended right after its start without saying why.
    """
    with tempfile.TemporaryDirectory(prefix="adapt-metrics-") as figures, _until_signal() as stopped:
        environment = {**os.environ, SHARED: figures, "PYTHONPATH": _import_path()}
        children = [_started(plan, listener, environment) for _ in range(workers)]
        told = False
        try:
            while not stopped.is_set():
                if not told and all(child.ready for child in children):
                    told = True
                    ready()
                for place, child in enumerate(children):
                    code = child.process.poll()
                    if code is None:
                        continue
                    if not child.ready or time.monotonic() - child.started < _SOON:
                        raise child.error(code)
                    note(f"a process of the service ended with {code}; another one takes its place")
                    _forget(figures, child.process.pid)
                    children[place] = _started(plan, listener, environment)
                stopped.wait(_POLL)
        finally:
            _end(children, plan.settings.stop_seconds)


def main(descriptor: int) -> None:
    """Be one of the processes: the plan comes on stdin; a line on stdout says that it answers, or why it cannot."""
    from adapt.serve.server import serve
    from adapt.workflows.live_service import LiveService

    plan = Plan.from_json(sys.stdin.read())
    say, sys.stdout = sys.stdout, sys.stderr  # what libraries print is no answer
    try:
        service = LiveService.open(plan.options)
    except AdaptError as error:
        told = {"kind": type(error).__name__, "message": error.message, "hint": error.hint}
        _tell(say, json.dumps(told))
        sys.exit(error.exit_code)
    listener = socket.socket(fileno=descriptor)

    def ready() -> None:
        _tell(say, _READY)

    try:
        serve(service, listener, keys=plan.keys, settings=plan.settings, ready=ready)
    finally:
        service.close()


def _tell(parent: TextIO, line: str) -> None:
    parent.write(line + "\n")
    parent.flush()


def _started(plan: Plan, listener: socket.socket, environment: dict[str, str]) -> _Child:
    command = [sys.executable, "-m", "adapt.serve.workers", str(listener.fileno())]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, pass_fds=[listener.fileno()], env=environment
    )
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError):  # it has ended already, which its exit code tells
        process.stdin.write(plan.to_json().encode())
        process.stdin.close()
    child = _Child(process)
    child.listener = threading.Thread(target=child.listen, daemon=True)
    child.listener.start()
    return child


def _end(children: list[_Child], seconds: float) -> None:
    """Have all finish what they are at; kill those that do not in time."""
    for child in children:
        with contextlib.suppress(ProcessLookupError):
            child.process.send_signal(signal.SIGTERM)
    deadline = time.monotonic() + seconds + 10
    for child in children:
        try:
            child.process.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            child.process.kill()
            child.process.wait()
        if child.process.stdout is not None:
            child.process.stdout.close()


@contextlib.contextmanager
def _until_signal() -> Iterator[threading.Event]:
    """An event that is set by SIGTERM and Ctrl-C."""
    stopped = threading.Event()

    def stop(_number: int, _frame: FrameType | None) -> None:
        stopped.set()

    before: dict[int, Any] = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stopped
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _forget(folder: str, process: int) -> None:
    """Take a dead process's gauges out of the sums; what it counted stays."""
    for name in Path(folder).glob(f"gauge_live*_{process}.db"):
        name.unlink(missing_ok=True)


def _import_path() -> str:
    package = Path(__file__).resolve().parents[2]
    return os.pathsep.join([os.fspath(package), *filter(None, [os.environ.get("PYTHONPATH")])])


if __name__ == "__main__":
    main(int(sys.argv[1]))

"""The real command in a process of its own."""

from __future__ import annotations

import contextlib
import os
import queue
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from adapt.workflows.live_types import LiveOptions

REPOSITORY = Path(__file__).resolve().parents[2]
PATIENCE = 60.0  # seconds; it starts in a few, but the machine may be busy


@dataclass(eq=False)
class Served:
    """A running command.

    Attributes:
        process: its process.
        url: where it listens.
        said: what it has written to stderr.
    """

    process: subprocess.Popen[str]
    url: str = ""
    said: list[str] = field(default_factory=list)

    def caller(self) -> httpx.Client:
        """Someone who asks."""
        return httpx.Client(base_url=self.url, timeout=PATIENCE)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """End it; its exit code."""
        self.process.send_signal(number)
        return self.process.wait(PATIENCE)


def serving(options: LiveOptions, *arguments: str) -> contextlib.AbstractContextManager[Served]:
    """``adapt serve`` over an index, from when it is ready until it is killed, if nobody has ended it."""
    words = ["--index", options.index, "--memory", options.memory, "--dataset", options.dataset]
    return started("serve", *words, "--port", "0", *arguments)


@contextlib.contextmanager
def started(*words: str) -> Iterator[Served]:
    """``adapt WORDS``, a service, from when it is ready until it is killed, if nobody has ended it."""
    path = os.pathsep.join(filter(None, [str(REPOSITORY), os.environ.get("PYTHONPATH", "")]))
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "adapt", *words]
    served = Served(subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment))
    ready: queue.Queue[str] = queue.Queue()
    thread = threading.Thread(target=_listen, args=(served, ready), daemon=True)
    thread.start()
    try:
        served.url = ready.get(timeout=PATIENCE)
        assert served.url, "".join(served.said)
        yield served
    finally:
        if served.process.poll() is None:
            served.process.kill()
            served.process.wait()
        thread.join(PATIENCE)


def _listen(served: Served, ready: queue.Queue[str]) -> None:
    """Collect what the command says; hand on its URL once, or nothing where it ends before."""
    assert served.process.stderr is not None
    with served.process.stderr as lines:
        for line in lines:
            served.said.append(line)
            if found := re.search(r"ready: (http://\S+)", line):
                ready.put(found[1])
    ready.put("")

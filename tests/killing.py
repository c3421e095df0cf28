"""Programs that end as a machine that loses power does: for tests of what is left, and of going on from there."""

from __future__ import annotations

import errno
import os
import signal
import traceback
from collections.abc import Callable
from pathlib import Path

import torch

from adapt.files import output_errors
from adapt.train.reports import Reports, StepReport


def kill_after(last: int) -> None:
    """Have this process kill itself once a training has told of as many steps; 0 = never."""
    _after(last, lambda: os.kill(os.getpid(), signal.SIGKILL))


def fail_after(last: int) -> None:
    """Have this process find its disk full once a training has told of as many steps."""

    def fail() -> None:
        with output_errors(Path("state")):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    _after(last, fail)


def _after(last: int, end: Callable[[], None]) -> None:
    steps, told = 0, Reports.step

    def step(self: Reports, report: StepReport, *, validated: bool) -> None:
        nonlocal steps
        told(self, report, validated=validated)
        steps += 1
        if steps == last:
            end()

    Reports.step = step  # type: ignore[method-assign]


def forked(work: Callable[[], object]) -> int:
    """Do ``work`` in a child, which exits with 0 where it returned and with 1 where it failed; its process id."""
    child = os.fork()
    if not child:
        code = 1
        try:
            torch.set_num_threads(1)  # the threads of a parent do not live on in its child
            work()
            code = 0
        except Exception:  # noqa: BLE001 - whatever it is, the test must see it
            traceback.print_exc()
        finally:
            os._exit(code)
    return child

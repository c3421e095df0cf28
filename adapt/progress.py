"""How long work reports on itself, without knowing who listens."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Protocol

Advance = Callable[[int], None]


class Progress(Protocol):
    """A listener: the command line draws bars, a program may do nothing."""

    def task(self, name: str, total: int | None, unit: str) -> contextlib.AbstractContextManager[Advance]:
        """Start a task of ``total`` ``unit`` (None: not known); call the yielded function with each amount done."""
        ...

    def note(self, message: str) -> None:
        """Say one thing that the user should know, once."""
        ...

    def status(self, line: str) -> None:
        """Show how the running task stands, in place of what was shown before."""
        ...


class Silent:
    """The listener that says nothing."""

    @contextlib.contextmanager
    def task(self, name: str, total: int | None, unit: str) -> Iterator[Advance]:  # noqa: ARG002
        yield lambda _amount: None

    def note(self, message: str) -> None:
        del message

    def status(self, line: str) -> None:
        del line


SILENT = Silent()

"""Progress bars on stderr for anything that takes longer than a moment."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterable, Iterator

from rich import progress as bars
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from adapt.cli import output
from adapt.progress import SILENT, Advance, Progress
from adapt.ranks import is_main

_SHOW_AFTER = 0.8  # seconds: a bar that flashes by is noise
_SAY_EVERY = 30.0  # seconds between two lines of a log file on how things stand


@contextlib.contextmanager
def computing() -> Iterator[Progress]:
    """Yield the listener for a piece of work; whatever libraries print to stdout meanwhile goes to stderr.

    Bars are drawn only when stderr is a terminal. Of several processes the main one shows progress.
    """
    console = output.stderr_console()
    with contextlib.redirect_stdout(sys.stderr):
        if not is_main():
            yield SILENT
            return
        if not console.is_terminal:
            os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")  # the Hub's own, which would fill a log file
            yield _Plain()
            return
        listener = _Bars(
            bars.TextColumn("{task.description}"),
            bars.BarColumn(bar_width=28),
            bars.MofNCompleteColumn(),
            _RateColumn(),
            bars.TimeRemainingColumn(compact=True),
            console=console,
            transient=True,
        )
        with listener:
            yield RichProgress(listener)


class RichProgress:
    """Draws each task of :class:`adapt.progress.Progress` as a bar with its rate."""

    def __init__(self, display: _Bars) -> None:
        self._display = display

    @contextlib.contextmanager
    def task(self, name: str, total: int | None, unit: str) -> Iterator[Advance]:
        """Start a bar; see :meth:`adapt.progress.Progress.task`."""
        number = self._display.add_task(name, total=total, unit=unit)
        try:
            yield lambda amount: self._display.update(number, advance=amount)
        finally:
            self._display.remove_task(number)
            self._display.line = ""

    def note(self, message: str) -> None:
        """Say it above the bars."""
        self._display.console.print(f"note: {message}", soft_wrap=True, markup=False)

    def status(self, line: str) -> None:
        """Show it below the bars."""
        self._display.line = line


class _Plain:
    """Notes, and now and then how things stand: no bars in a log file."""

    def __init__(self) -> None:
        self._said = time.monotonic()

    def task(self, name: str, total: int | None, unit: str) -> contextlib.AbstractContextManager[Advance]:
        return SILENT.task(name, total, unit)

    def note(self, message: str) -> None:
        output.note(message)

    def status(self, line: str) -> None:
        if time.monotonic() - self._said >= _SAY_EVERY:
            self._said = time.monotonic()
            output.note(line)


class _RateColumn(bars.ProgressColumn):
    def render(self, task: bars.Task) -> str:
        speed = task.finished_speed or task.speed
        return f"{speed:,.0f} {task.fields['unit']}/s" if speed else ""


class _Bars(bars.Progress):
    line = ""

    def get_renderables(self) -> Iterable[RenderableType]:
        table = self.make_tasks_table(self.tasks)
        yield table
        if self.line and table.row_count:
            yield Text(self.line, style="dim", no_wrap=True, overflow="ellipsis")

    def make_tasks_table(self, tasks: Iterable[bars.Task]) -> Table:
        return super().make_tasks_table([task for task in tasks if (task.elapsed or 0.0) > _SHOW_AFTER])

"""The only writer of the command line: stdout carries the result, stderr everything else."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import sys
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import typer
    from rich.console import Console, RenderableType


@dataclass
class _State:
    as_json: bool = False
    silent: bool = False


_state = _State()
_JOINERS = "\u00ad\u200c\u200d"  # format characters that words and emoji need


class ReaderGoneError(Exception):
    """Nobody reads stdout any more. Not an ``OSError``: typer would turn that into a failure of its own."""


def configure(*, as_json: bool, silent: bool = False) -> None:
    """Set, once at the start, whether errors are written as JSON, and whether another process says all but errors."""
    _state.as_json, _state.silent = as_json, silent


def text(line: str) -> None:
    """Write one result line (or several) to stdout."""
    _write(line + "\n")


def help_of(context: typer.Context) -> None:
    """Write the help of a command; depending on its settings, typer writes it itself and returns nothing."""
    if written := context.get_help():
        text(written)


def document(value: Any) -> None:
    """Write the result as one JSON document to stdout. NaN and infinity are refused."""
    encoding = (getattr(sys.stdout, "encoding", None) or "utf-8").lower().replace("-", "")
    _write(json.dumps(value, indent=2, ensure_ascii=encoding != "utf8", allow_nan=False) + "\n")


def show(*renderables: RenderableType) -> None:
    """Write rich tables or texts to stdout; plain text when it is not a terminal."""
    if _state.silent:
        return
    console = _console(stderr=False)
    for renderable in renderables:
        console.print(renderable)


def note(message: str) -> None:
    """Say one thing on stderr."""
    if not _state.silent:
        _labelled("note", message, "cyan")


def profile(stages: Mapping[str, Mapping[str, Any]]) -> None:
    """Show on stderr what each stage of a run took; see :meth:`adapt.profile.Stages.to_dict`."""
    from rich import box
    from rich.table import Table

    if _state.silent:
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("stage", "seconds", "CPU seconds", "peak memory", "without files", "speed"):
        table.add_column(heading, justify="left" if heading == "stage" else "right")
    for name, cost in stages.items():
        memory = [size(cost[part]) if part in cost else "" for part in ("peak_bytes", "own_bytes")]
        speed = f"{cost['per_second']:,.0f} {cost['unit']}/s" if "per_second" in cost else ""
        table.add_row(name, f"{cost['seconds']:,.2f}", f"{cost['cpu_seconds']:,.2f}", *memory, speed)
    _console(stderr=True).print(table)


def next_step(*words: object, purpose: str) -> None:
    """Say on stderr which command is worth trying next; a program that reads JSON is told nothing.

    Args:
        words: of the command after ``adapt``, as they stand; a path is quoted where a shell needs it.
        purpose: what it does, in a few words.
    """
    if _state.silent or _state.as_json:
        return
    command = " ".join(shlex.quote(str(word)) if isinstance(word, Path) else str(word) for word in words if word)
    _labelled("next", f"adapt {command}    {purpose}", "green")


def error(message: str, hint: str, exit_code: int) -> None:
    """Write an error to stderr: ``error:`` and ``fix:`` lines, or one JSON object when the result would be JSON."""
    with contextlib.suppress(BrokenPipeError, ReaderGoneError):
        if _state.as_json:
            sys.stderr.write(json.dumps({"error": message, "hint": hint, "exit_code": exit_code}) + "\n")
            return
        _labelled("error", message, "bold red")
        if hint:
            _labelled("fix", hint, "bold green")


def flush() -> None:
    """Hand everything written to stdout to the system, so that a closed pipe shows now and not at exit."""
    try:
        sys.stdout.flush()
    except BrokenPipeError as error:
        raise ReaderGoneError from error


def abandon() -> None:
    """Nobody reads stdout any more: let what is buffered vanish without a second error at exit."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def clean(value: str) -> str:
    """``value`` without control and direction-override characters, which could redraw a terminal.

    >>> clean("red \\x1b[31m and\\nnext")
    'red �[31m and next'
    """
    return "".join(
        character
        if character in _JOINERS or unicodedata.category(character) not in {"Cc", "Cf", "Cs"}
        else (" " if character in "\t\r\n" else "\ufffd")
        for character in value
    )


def size(count: int) -> str:
    """A number of bytes as a person reads it.

    >>> size(0), size(999), size(17_400_000)
    ('0 B', '999 B', '17.4 MB')
    """
    value, units = float(count), ["B", "kB", "MB", "GB", "TB"]
    while value >= 1000 and len(units) > 1:
        value, units = value / 1000, units[1:]
    return f"{count} B" if units[0] == "B" else f"{value:.1f} {units[0]}"


def _write(result: str) -> None:
    if _state.silent:
        return
    try:
        sys.stdout.write(result)
    except BrokenPipeError as error:
        raise ReaderGoneError from error


def _labelled(label: str, message: str, style: str) -> None:
    from rich.text import Text

    _console(stderr=True).print(Text.assemble((f"{label}: ", style), message), soft_wrap=True, highlight=False)


def stderr_console() -> Console:
    """The console that progress bars are drawn on."""
    return _console(stderr=True)


def _console(*, stderr: bool) -> Console:
    from rich.console import Console

    class PipeConsole(Console):
        def on_broken_pipe(self) -> None:
            raise ReaderGoneError

    console = PipeConsole(stderr=stderr, highlight=False, markup=False, emoji=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = 110  # a file or a pipe has no width: 80 would cut titles
    return console

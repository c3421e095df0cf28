"""What the argument parser refuses, told as every other error: what was expected, what was found, the fix."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from typing import Any


def explain(error: BaseException, arguments: Sequence[str]) -> tuple[str, str] | None:
    """Message and hint of an exception of the argument parser; None for any other exception.

    The parser is vendored by typer under changing names, so its exceptions are known by what they carry.

    Args:
        error: that ended the command.
        arguments: of the command line, in which the value that was refused is looked up.
    """
    format_message = getattr(error, "format_message", None)
    if not callable(format_message):
        return None
    context, parameter, kind = getattr(error, "ctx", None), getattr(error, "param", None), type(error).__name__
    command = str(getattr(context, "command_path", "") or "adapt")
    look = f"`{command} --help` shows what there is."
    if kind == "NoSuchOption":
        found = str(getattr(error, "option_name", ""))
        known = [name for option in _below(context, "params") for name in getattr(option, "opts", ())]
        return f"expected an option of `{command}`, found {found}", _suggested(found, known) + look
    if parameter is None:
        return _of_command(str(format_message()), command, _below(context, "commands"), look)
    name = _name(parameter)
    if kind == "MissingParameter":
        return f"expected {name}, found none", look
    found = _given(parameter, arguments)
    detail = str(getattr(error, "message", "")).removeprefix("Value error, ").rstrip(".")
    choices = re.findall(r"'([^']+)'", detail.partition(" is not one of ")[2])
    if choices:
        return f"expected {name} to be {' or '.join(choices)}, found {found!r}", _suggested(found, choices) + look
    return f"expected another value of {name}, found {found!r}: {detail[:1].lower()}{detail[1:]}", look


def _of_command(message: str, command: str, known: Iterable[Any], look: str) -> tuple[str, str]:
    """For an error that is about no option: a command that is not there, or an argument too many."""
    unknown = re.match(r"No such command '([^']*)'", message)
    if unknown is None:
        return f"`{command}` does not understand this: {message}", look
    suggestion = _suggested(unknown[1], [str(name) for name in known])
    return f"expected a command of `{command}`, found {unknown[1]!r}", suggestion + look


def _below(context: Any, what: str) -> Iterable[Any]:
    """The options or commands of the command that was being parsed."""
    return getattr(getattr(context, "command", None), what, ()) or ()


def _name(parameter: Any) -> str:
    """An option as it is typed; an argument as its help names it."""
    options = [str(name) for name in parameter.opts]
    return max(options, key=len) if options[0].startswith("-") else str(parameter.metavar or parameter.name).upper()


def _given(parameter: Any, arguments: Sequence[str]) -> str:
    """The last value that was given for an option; for an argument, and where it was not found, nothing."""
    found = ""
    for number, argument in enumerate(arguments):
        name, equals, value = argument.partition("=")
        if name in parameter.opts:
            found = value if equals else "".join(arguments[number + 1 : number + 2])
    return found


def _suggested(found: str, known: Sequence[str]) -> str:
    close = [name for name in known if name.startswith(found)] or difflib.get_close_matches(found, known, 1, 0.7)
    return f"Did you mean {close[0]}? " if close else ""

"""Every error a user can meet, each with its exit code.

An error says what was expected, what was found (file, row, column) and, in ``hint``, how to fix it. The command line
prints ``message`` and ``hint`` and exits with ``exit_code``; a program catches :class:`AdaptError` or one of its kinds.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

EXIT_OK = 0
EXIT_INTERRUPT = 130


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The beginning of a hint that names the known name most like ``name``; empty where none is.

    >>> did_you_mean("few-shto", ["zero-shot", "few-shot"]), did_you_mean("x", ["few-shot"])
    ('Did you mean few-shot? ', '')
    """
    import difflib

    close = difflib.get_close_matches(name, list(known), 1)
    return f"Did you mean {close[0]}? " if close else ""


class AdaptError(Exception):
    """A failure that the user can act on.

    Args:
        message: what was expected and what was found.
        hint: the fix, as a sentence or a command; empty when there is none to give.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n{self.hint}" if self.hint else self.message


class UsageError(AdaptError):
    """An argument is missing, malformed or contradicts another one."""

    exit_code = 2


class OutputError(UsageError):
    """A result could not be written: read-only folder, full disk, a file in the way."""


class ConflictError(UsageError):
    """What is asked contradicts what was asked before under the same key."""


class DataError(AdaptError):
    """A data set cannot be used as it is."""

    exit_code = 3


class NotFoundError(DataError):
    """An item or a user is not there."""


class CheckpointError(AdaptError):
    """A checkpoint, adapter, index or encoder is unknown, damaged or does not fit."""

    exit_code = 4


class EngineError(CheckpointError):
    """The engine behind an index is away, refuses, or does not hold what it should."""


class HubError(AdaptError):
    """The Hugging Face Hub could not be reached or refused."""

    exit_code = 5


class MissingExtraError(AdaptError):
    """An optional dependency is not installed; the hint is the command that installs it."""

    exit_code = 6


class LostRankError(AdaptError):
    """Of several processes that a launcher started, another one has failed, has died or cannot be reached."""

    exit_code = 7

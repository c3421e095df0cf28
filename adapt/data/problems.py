"""What can be wrong with a data set: every kind in one table, and the log that collects what was found."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, NoReturn, Protocol

import numpy as np
from numpy.typing import NDArray

from adapt.errors import DataError

Severity = Literal["error", "warning", "note"]
EXAMPLES = 5  # how many of each kind are kept


@dataclass(frozen=True)
class Example:
    """One place where a problem was met; ``line`` counts the physical lines of the file from 1."""

    file: str
    line: int | None
    column: str | None
    message: str

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        return f"{place}: {self.message}" if place else self.message


@dataclass(frozen=True)
class Problem:
    """All that was found of one kind: how often, the first five, and the fix."""

    kind: str
    severity: Severity
    count: int
    examples: tuple[Example, ...]
    message: str
    hint: str


class Numbered(Protocol):
    """A file that knows the line of each of its rows."""

    @property
    def name(self) -> str:
        """The name shown to people."""
        ...

    def line(self, row: int) -> int | None:
        """The physical line, from 1, on which a row begins; None where a file has no lines."""
        ...


class UnreadableError(DataError):
    """Reading cannot go on; what was wrong is already in the log."""


# kind -> severity, what it means, how to fix it. A row that lacks something is reported and ignored (a warning); a
# contradiction, or a file that does not have the form it should have, is an error.
KINDS: dict[str, tuple[Severity, str, str]] = {
    "unreadable": ("error", "a file cannot be read", "Check that the file is whole and that you may read it."),
    "encoding": ("error", "a file is not UTF-8 text", "Convert it, e.g. `iconv -f latin1 -t utf-8 old.csv > new.csv`."),
    "empty-file": ("error", "a file is empty", "The first line holds the column names, one row a line follows."),
    "unclosed-quote": (
        "error",
        "a quoted field is not closed before the end of the file",
        'Close the quote, or write a literal quote at the start of a field as `"""text"`.',
    ),
    "ragged-row": (
        "error",
        "a row has another number of fields than the header",
        "Quote fields that hold the separator or a line break.",
    ),
    "bad-json": ("error", "a line is not one JSON object", "Write one JSON object a line: {...}"),
    "duplicate-column": ("error", "a column name appears twice", "Rename one of the two columns."),
    "missing-column": ("error", "a needed column was not found", "Rename it, or name it with an option."),
    "no-files": (
        "error",
        "no file of items was found",
        "Name the files items.csv and interactions.csv (.tsv, .jsonl, .parquet), or give the path of a single file.",
    ),
    "ambiguous-files": (
        "error",
        "several files could be meant",
        "Keep one of them, or give the path of the file itself.",
    ),
    "no-items": ("error", "there is no item", "Give at least one row with an item id."),
    "no-content": (
        "error",
        "no item has text, an image or a feature",
        "Add a title, description or image column, or name them: --text-col, --image-col, --text-features.",
    ),
    "conflicting-item": (
        "error",
        "an item id appears on rows that contradict each other",
        "Keep one row for each item id.",
    ),
    "fractional-id": ("error", "an id is a fraction", "Store ids as text or as integers."),
    "bad-timestamp": (
        "error",
        "a timestamp is neither a number nor an ISO 8601 date",
        "Write seconds or milliseconds since 1970, or e.g. 2024-05-01T13:45:00Z; --time-col names another column.",
    ),
    "bad-features": (
        "error",
        "precomputed features do not fit the items",
        "Give one row of numbers for each row of the items file; a row of NaN means missing.",
    ),
    "empty-id": ("warning", "a row has no id and is ignored", "Fill in the id, or delete the row."),
    "float-id": (
        "warning",
        "ids are stored as floating-point numbers; they are read as integers",
        "Store ids as text or as integers: a float cannot hold every integer.",
    ),
    "unknown-item": (
        "warning",
        "interactions with items that are not in the catalog are ignored",
        "Add the items to the items file, or delete the interactions.",
    ),
    "missing-timestamp": (
        "warning",
        "interactions without a timestamp are ignored, as others have one",
        "Fill in the timestamps, or leave the column out to use the order of the file.",
    ),
    "bad-rating": ("warning", "a rating is not a number and is ignored", "Write ratings as numbers."),
    "image-missing": ("warning", "an image file does not exist", "Paths are relative to the data set's folder."),
    "image-broken": ("warning", "an image cannot be decoded and counts as missing", "Replace the file."),
    "image-huge": ("warning", "an image has too many pixels and counts as missing", "Scale it down."),
    "image-outside": (
        "warning",
        "an image path leaves the data set's folder and is ignored",
        "Copy the image into the folder; links may not lead out of it.",
    ),
    "image-url": (
        "warning",
        "an image is a web address; nothing is downloaded",
        "Download the pictures into images/ and give their paths.",
    ),
    "image-embedded": (
        "warning",
        "images stored inside the table are not read",
        "Save them as files in images/ and give their paths.",
    ),
    "no-modality": (
        "warning",
        "an item has neither text nor image and can never be recommended",
        "Give it a title, a description or an image.",
    ),
    "no-interactions": ("warning", "the interactions file has no usable row", "Check its columns and item ids."),
    "duplicate-item": ("note", "a row repeats an earlier one exactly; it is counted once", ""),
    "varying-column": ("note", "a column differs between rows of one item, so it does not describe items", ""),
    "other-column": ("note", "several columns could be meant; one was chosen", ""),
    "no-timestamp": ("note", "there are no timestamps: the order of the file is the order in time", ""),
    "equal-timestamps": ("note", "interactions of one user share a timestamp; the file's order decides", ""),
    "images-by-name": ("note", "there is no image column: files in images/ named after the item id are used", ""),
    "unused-images": ("note", "a column of picture names is not used", "Name it: --image-col NAME."),
    "unused-features": ("note", "a column of vectors is not used", "Name it: --text-features or --image-features."),
}

_ORDER: dict[Severity, int] = {"error": 0, "warning": 1, "note": 2}


class ProblemLog:
    """Collects problems while a data set is read; counts all, keeps the first five of each kind."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._examples: dict[str, list[Example]] = {}
        self._hints: dict[str, str] = {}

    def add(self, kind: str, example: Example, *, count: int = 1, hint: str = "") -> None:
        """Note one example of ``kind`` that stands for ``count`` cases."""
        self.extend(kind, [example], count=count, hint=hint)

    def extend(self, kind: str, examples: Iterable[Example], *, count: int, hint: str = "") -> None:
        """Note ``count`` cases of ``kind``, with the first examples of them."""
        if count <= 0:
            return
        self._counts[kind] = self._counts.get(kind, 0) + count
        kept = self._examples.setdefault(kind, [])
        kept.extend(list(examples)[: EXAMPLES - len(kept)])
        if hint:
            self._hints.setdefault(kind, hint)

    def rows(
        self,
        kind: str,
        file: Numbered,
        rows: Sequence[int] | NDArray[np.integer],
        column: str | None,
        message: Callable[[int], str],
        *,
        hint: str = "",
    ) -> None:
        """Note a case of ``kind`` for each of ``rows`` of ``file``; lines are looked up for the first five only."""
        room = EXAMPLES - len(self._examples.get(kind, ()))
        examples = [row_example(file, int(row), column, message(int(row))) for row in rows[: max(room, 0)]]
        self.extend(kind, examples, count=len(rows), hint=hint)

    def fatal(self, kind: str, example: Example, *, hint: str = "") -> NoReturn:
        """Note it and stop reading.

        Raises:
            UnreadableError: always.
        """
        self.add(kind, example, hint=hint)
        raise UnreadableError(str(example), hint or KINDS[kind][2])

    def problems(self) -> tuple[Problem, ...]:
        """All that was found, errors first, in the order of finding within a severity."""
        found = [
            Problem(kind, KINDS[kind][0], count, tuple(self._examples[kind]), KINDS[kind][1], self._hint(kind))
            for kind, count in self._counts.items()
        ]
        return tuple(sorted(found, key=lambda problem: _ORDER[problem.severity]))

    def _hint(self, kind: str) -> str:
        return self._hints.get(kind) or KINDS[kind][2]


def row_example(file: Numbered, row: int, column: str | None, message: str) -> Example:
    """An example on a row of a file; where a file has no lines, the row's number (from 1) is in the message."""
    line = file.line(row)
    return Example(file.name, line, column, message if line is not None else f"row {row + 1}: {message}")

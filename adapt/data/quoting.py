"""What pyarrow may split of a CSV file as Python's csv module would, and where it may be cut.

By RFC 4180 a field that starts with ``"`` ends at the next single ``"``, and ``""`` inside it is a quote. pyarrow and
the csv module agree on files in which every quote has that part, and differ where one stands elsewhere (``5" pipe``).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Style = Literal["plain", "quoted", "other"]
_QUOTE, _LF, _CR = b'"\n\r'
_PIECE = 1 << 24  # bytes that are split at a time


class StyleFinder:
    """Finds how a file is written, a chunk of bytes at a time.

    ``plain``: no quote. ``quoted``: every quote opens, closes or is doubled. ``other``: a quote elsewhere, or a
    carriage return that does not stand before a line feed.

    Args:
        delimiter: one character.
    """

    def __init__(self, delimiter: str) -> None:
        self._ends = (ord(delimiter), _LF)
        self._quotes = 0
        self._sound = True
        self._last = b"\n"  # as if a line ended before the first

    def add(self, chunk: bytes) -> None:
        """Look at the next bytes, at least one; those of a byte order mark at the start are left out."""
        if self._sound:
            self._sound = self._returns(chunk) and self._placed(chunk)
        self._last = chunk[-1:]

    def style(self) -> Style:
        """How the file is written, after its last chunk."""
        if not self._sound or self._last == b"\r" or self._quotes % 2:
            return "other"
        return "quoted" if self._quotes else "plain"

    def _returns(self, chunk: bytes) -> bool:
        ends = chunk.count(b"\r\n") + (self._last == b"\r" and chunk.startswith(b"\n"))
        return ends == chunk.count(b"\r") + (self._last == b"\r") - chunk.endswith(b"\r")

    def _placed(self, chunk: bytes) -> bool:
        closed = self._last == b'"' and self._quotes and not self._quotes % 2
        if closed and chunk[0] not in (*self._ends, _CR, _QUOTE):
            return False
        if b'"' not in chunk:
            return True
        data = np.frombuffer(self._last + chunk, dtype=np.uint8)
        places = np.flatnonzero(data[1:] == _QUOTE) + 1
        opening, closing = places[self._quotes % 2 :: 2], places[1 - self._quotes % 2 :: 2]
        self._quotes += len(places)
        before = data[opening - 1]
        after = data[closing[closing < len(data) - 1] + 1]
        return bool(np.isin(before, (*self._ends, _QUOTE)).all() and np.isin(after, (*self._ends, _CR, _QUOTE)).all())


def pieces(path: Path, start: int) -> Iterator[tuple[memoryview, bool]]:
    """The bytes of a plain or quoted file in pieces that end where a row does.

    Args:
        path: the file.
        start: the byte at which the first row begins.

    Yields:
        The piece, and whether it holds a line feed inside quotes.
    """
    with path.open("rb") as handle:
        handle.seek(start)
        rest = b""
        while chunk := handle.read(_PIECE):
            data = rest + chunk
            cut, inside = _last_end(data)
            if cut:
                yield memoryview(data)[:cut], inside
            rest = data[cut:]
        if rest:
            yield memoryview(rest), _last_end(rest)[1]


def _last_end(data: bytes) -> tuple[int, bool]:
    """The place after the last line feed that ends a row, 0 where there is none; whether others stand in quotes."""
    if b'"' not in data:
        return data.rfind(b"\n") + 1, False
    array = np.frombuffer(data, dtype=np.uint8)
    quotes, feeds = np.flatnonzero(array == _QUOTE), np.flatnonzero(array == _LF)
    within: NDArray[np.bool_] = np.searchsorted(quotes, feeds) % 2 == 1
    ends = feeds[~within]
    return (int(ends[-1]) + 1 if len(ends) else 0), bool(within.any())

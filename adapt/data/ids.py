"""Columns of ids, encoded a batch at a time."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adapt.data.views import Strings, strings

_PENDING = 1 << 22  # rows that wait as strings; more where more are known, as these are hashed again each time


@dataclass(frozen=True, eq=False)
class Codes:
    """A column of ids: ``values[codes[row]]``.

    Attributes:
        codes: int32 (rows,).
        values: the distinct ids: those known from the start, then the others in order of first appearance.
    """

    codes: NDArray[np.int32]
    values: Strings

    def __len__(self) -> int:
        return len(self.codes)

    def at(self, row: int) -> str:
        """The id in a row."""
        return self.values[int(self.codes[row])]

    @property
    def empty(self) -> int:
        """The code of the empty string, -1 where there is none."""
        return int(np.argmin(self.values.filled())) if "" in self.values else -1


class IdEncoder:
    """Numbers the ids of a column in order of first appearance, while its batches come.

    Many rows are numbered in a thread, so that reading goes on and several columns are numbered at once.

    Args:
        known: distinct ids that come before all others: id ``known[n]`` gets number ``n``.
    """

    def __init__(self, known: Sequence[str] = ()) -> None:
        self._known: Any = strings(known).arrow.combine_chunks()
        self._pending: list[Any] = []
        self._waiting = 0
        self._codes: list[NDArray[np.int32]] = []
        self._thread: ThreadPoolExecutor | None = None
        self._job: Future[tuple[Any, NDArray[np.int32]]] | None = None

    def add(self, array: Any) -> None:
        """Take the next rows: a pyarrow Array of strings without nulls."""
        self._pending.append(array)
        self._waiting += len(array)
        if self._waiting >= max(_PENDING, len(self._known)):
            self._take()
            self._thread = self._thread or ThreadPoolExecutor(1, "ids")
            self._job = self._thread.submit(_numbered, self._known, self._pending)
            self._pending, self._waiting = [], 0

    def finish(self) -> Codes:
        """The column."""
        self._take()
        if self._thread is not None:
            self._thread.shutdown()
        self._known, codes = _numbered(self._known, self._pending)
        parts, self._codes, self._pending = [*self._codes, codes], [], []
        return Codes(np.concatenate(parts), Strings(self._known))

    def _take(self) -> None:
        """Wait for the rows that are being numbered."""
        if self._job is not None:
            self._known, codes = self._job.result()
            self._codes.append(codes)
            self._job = None


def _numbered(known: Any, arrays: list[Any]) -> tuple[Any, NDArray[np.int32]]:
    """The ids known after ``arrays``, and the numbers of those in them."""
    import pyarrow as pa

    # the known ids come first, each once: they keep their numbers, and the new ones go on from there
    encoded = pa.chunked_array([known, *arrays], pa.string()).dictionary_encode()
    codes = [chunk.indices.to_numpy(zero_copy_only=False) for chunk in encoded.chunks]
    if not codes:
        return known, np.zeros(0, dtype=np.int32)
    return encoded.chunk(encoded.num_chunks - 1).dictionary, np.concatenate(codes)[len(known) :].astype(np.int32)

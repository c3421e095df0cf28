"""Columns of ids, encoded a batch at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adapt.data.views import Strings

_PENDING = 1 << 20  # rows that wait as strings; more where more are known, so that these are rarely hashed again


@dataclass(frozen=True, eq=False)
class Codes:
    """A column of ids: ``values[codes[row]]``.

    Attributes:
        codes: int32 (rows,).
        values: the distinct ids in order of first appearance.
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
    """Numbers the ids of a column in order of first appearance, while its batches come."""

    def __init__(self) -> None:
        import pyarrow as pa

        self._known: Any = pa.array([], pa.string())
        self._pending: list[Any] = []
        self._waiting = 0
        self._codes: list[NDArray[np.int32]] = []

    def add(self, array: Any) -> None:
        """Take the next rows: a pyarrow Array of strings without nulls."""
        self._pending.append(array)
        self._waiting += len(array)
        if self._waiting >= max(_PENDING, len(self._known)):
            self._encode()

    def finish(self) -> Codes:
        """The column."""
        self._encode()
        codes, self._codes = self._codes, []
        return Codes(np.concatenate(codes) if codes else np.zeros(0, dtype=np.int32), Strings(self._known))

    def _encode(self) -> None:
        import pyarrow as pa

        if not self._pending:
            return
        # the known ids come first, each once: they keep their numbers, and the new ones go on from there
        encoded = pa.chunked_array([self._known, *self._pending], pa.string()).dictionary_encode()
        self._pending, self._waiting, known = [], 0, len(self._known)
        codes = [chunk.indices.to_numpy(zero_copy_only=False) for chunk in encoded.chunks]
        if codes:
            self._codes.append(np.concatenate(codes)[known:].astype(np.int32, copy=False))
            self._known = encoded.chunk(encoded.num_chunks - 1).dictionary

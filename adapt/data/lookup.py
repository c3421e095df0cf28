"""From ids to rows without a Python object an id: their hashes, sorted, and the column of ids itself.

A million ids take 12 MB, where a dict of them takes 150. A hash only says where to look: what is found there is
compared with what was asked, so equal hashes cost a step and never an answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adapt.data.views import strings

Hashes = NDArray[np.uint64]
_ROWS = 1 << 14  # ids that are hashed at a time
_PLACES = 1 << 10  # factors; they repeat in longer ids
_FACTORS: Hashes = np.random.default_rng(0).integers(1, 2**64, _PLACES, dtype=np.uint64) | np.uint64(1)
_PLAIN: list[int] = _FACTORS.tolist()
_MASK = 2**64 - 1


class IdLookup(Mapping[str, int]):
    """Id -> row, for distinct ids.

    Args:
        ids: row -> id.
    """

    def __init__(self, ids: Sequence[str]) -> None:
        self._ids = strings(ids)

    def __len__(self) -> int:
        return len(self._ids)

    def __iter__(self) -> Iterator[str]:
        return iter(self._ids)

    def __contains__(self, wanted: object) -> bool:
        return isinstance(wanted, str) and self._find(wanted) >= 0

    def __getitem__(self, wanted: str) -> int:
        row = self._find(wanted)
        if row < 0:
            raise KeyError(wanted)
        return row

    def rows(self, wanted: Sequence[str]) -> NDArray[np.int64]:
        """int64 (n,): the row of each id, -1 where there is none."""
        found = [self._rows(array) for array in strings(wanted).arrays(_ROWS)]
        return np.concatenate(found) if found else np.zeros(0, dtype=np.int64)

    @cached_property
    def _sorted(self) -> tuple[Hashes, NDArray[np.int32]]:
        hashes = [_hashes(array) for array in self._ids.arrays(_ROWS)]
        joined = np.concatenate(hashes) if hashes else np.zeros(0, dtype=np.uint64)
        order = np.argsort(joined, kind="stable").astype(np.int32)
        return joined[order], order

    def _find(self, wanted: str) -> int:
        known, order = self._sorted
        data = wanted.encode("utf-8", "surrogatepass")
        value = sum((byte + 1) * _PLAIN[place % _PLACES] for place, byte in enumerate(data)) & _MASK
        place = int(np.searchsorted(known, np.uint64(value)))
        while place < len(known) and known[place] == value:
            if self._ids[row := int(order[place])] == wanted:
                return row
            place += 1
        return -1

    def _rows(self, wanted: Any) -> NDArray[np.int64]:
        import pyarrow as pa
        from pyarrow import compute

        known, order = self._sorted
        hashes = _hashes(wanted)
        found = np.full(len(wanted), -1, dtype=np.int64)
        place = np.searchsorted(known, hashes)
        asked = np.arange(len(wanted))
        while len(asked := asked[place[asked] < len(known)]):
            asked = asked[known[place[asked]] == hashes[asked]]
            rows = order[place[asked]].astype(np.int64)
            same = compute.equal(self._ids.take(rows), wanted.take(pa.array(asked)))
            same = same.to_numpy(zero_copy_only=False).astype(bool)
            found[asked[same]] = rows[same]
            asked = asked[~same]
            place[asked] += 1
        return found


def _hashes(array: Any) -> Hashes:
    """uint64 (n,): the bytes of each string times factors by their place, added up."""
    _, ends, data = array.buffers()
    offsets = np.frombuffer(ends, dtype=np.int32)[array.offset : array.offset + len(array) + 1].astype(np.int64)
    size = int(offsets[-1] - offsets[0])
    letters = np.frombuffer(data, dtype=np.uint8)[offsets[0] : offsets[-1]] if size else np.zeros(0, dtype=np.uint8)
    offsets -= offsets[0]
    places = np.arange(size) - np.repeat(offsets[:-1], np.diff(offsets))
    sums = np.zeros(size + 1, dtype=np.uint64)
    np.cumsum((letters + np.uint64(1)) * _FACTORS[places % _PLACES], out=sums[1:])
    return np.asarray(sums[offsets[1:]] - sums[offsets[:-1]])

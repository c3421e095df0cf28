"""Feature vectors on disk by content key: shards that are written whole, only ever added, and memory-mapped."""

from __future__ import annotations

import contextlib
import os
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from adapt.files import atomic_write
from adapt.shards import ROWS, release

KEY_BYTES = 16
_MOST_SHARDS = 32  # beyond, the smaller ones of the shards that are not full are merged into one
_STALE_SECONDS = 600.0
_KEYS, _VALUES = ".keys.npy", ".values.npy"


@dataclass(frozen=True, eq=False)
class Located:
    """Where the vectors of some keys lie.

    Attributes:
        shard_of: int32 (keys,), number of the shard, -1 where there is none.
        row_of: int64 (keys,), row in it.
        shards: float32 (rows, dim) each, memory-mapped.
        dim: width of a vector.
    """

    shard_of: NDArray[np.int32]
    row_of: NDArray[np.int64]
    shards: Sequence[NDArray[np.float32]]
    dim: int

    @property
    def known(self) -> NDArray[np.bool_]:
        """bool (keys,), the keys that have a vector."""
        return self.shard_of >= 0

    def take(self, numbers: NDArray[np.integer]) -> NDArray[np.float32]:
        """The vectors of some keys by their numbers: float32 (n, dim), zeros where there is none."""
        values = np.zeros((len(numbers), self.dim), np.float32)
        owner = self.shard_of[numbers]
        for shard in np.unique(owner[owner >= 0]):
            mine = np.flatnonzero(owner == shard)
            values[mine] = self.shards[shard][self.row_of[numbers[mine]]]
            release(self.shards[shard])
        return values


class ShardFolder:
    """The cached vectors of one encoder.

    A shard is two files of one name: ``.values.npy`` and, written after it, ``.keys.npy``. A shard without its keys
    was interrupted and does not count; a damaged one does not count either, so its items are encoded again. Several
    processes may add shards at once; a key in two shards is harmless.

    Args:
        folder: of the encoder; created by the first :meth:`add`.
        dim: width of a vector.
    """

    def __init__(self, folder: Path, dim: int) -> None:
        self.folder = folder
        self.dim = dim

    def locate(self, keys: NDArray[np.uint8]) -> Located:
        """Look vectors up.

        Args:
            keys: uint8 (n, 16), distinct.
        """
        wanted = _as_integers(keys.tobytes())
        order = np.argsort(wanted[:, 0], kind="stable")
        ordered = wanted[order]
        shard_of, row_of = np.full(len(keys), -1, np.int32), np.zeros(len(keys), np.int64)
        shards: list[NDArray[np.float32]] = []
        for name in self._names() if len(keys) else ():
            if (shard := self._read(name)) is None:
                continue
            stored, vectors = shard
            place = _search(ordered, stored)
            rows = np.flatnonzero(place >= 0)
            numbers = order[place[rows]]
            new = shard_of[numbers] < 0
            if new.any():
                shard_of[numbers[new]], row_of[numbers[new]] = len(shards), rows[new]
                shards.append(vectors)
        return Located(shard_of, row_of, shards, self.dim)

    def add(self, keys: NDArray[np.uint8], values: NDArray[np.float32]) -> None:
        """Add a shard, whole or not at all.

        Args:
            keys: uint8 (n, 16).
            values: float32 (n, dim).

        Raises:
            OutputError: it could not be written.
        """
        self._write(keys, values)
        if len(keys) >= ROWS:
            return
        names = [name for name, rows in self._rows().items() if rows < ROWS]
        if len(names) > _MOST_SHARDS:
            with self._merging() as alone:
                if alone:
                    self._merge(names)

    def _names(self) -> list[str]:
        return sorted(path.name.removesuffix(_KEYS) for path in self.folder.glob(f"*{_KEYS}"))

    def _rows(self) -> dict[str, int]:
        """Name -> rows of every shard, by the size of its file of keys."""
        found = {}
        for name in self._names():
            with contextlib.suppress(OSError):  # merged meanwhile
                found[name] = (self.folder / (name + _KEYS)).stat().st_size // KEY_BYTES
        return found

    def _read(self, name: str) -> tuple[NDArray[np.uint64], NDArray[np.float32]] | None:
        """Keys as integers (n, 2) and vectors (n, dim), memory-mapped; None for a damaged or merged shard."""
        try:
            keys = np.load(self.folder / (name + _KEYS), allow_pickle=False)
            vectors = np.load(self.folder / (name + _VALUES), mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError):
            return None
        if keys.dtype != np.uint8 or keys.shape != (len(vectors), KEY_BYTES):
            return None
        if vectors.dtype != np.float32 or vectors.shape != (len(keys), self.dim):
            return None
        return _as_integers(keys.tobytes()), vectors

    def _write(self, keys: NDArray[np.uint8], values: NDArray[np.float32]) -> None:
        name = uuid.uuid4().hex
        with atomic_write(self.folder / (name + _VALUES), "wb") as handle:
            np.save(handle, np.ascontiguousarray(values, dtype=np.float32))
        with atomic_write(self.folder / (name + _KEYS), "wb") as handle:
            np.save(handle, keys)

    def _merge(self, names: Sequence[str]) -> None:
        """Write the smaller half of the shards as one, then remove them; a reader in between finds both."""
        sizes = {name: shard for name in names if (shard := self._read(name)) is not None}
        small = sorted(sizes, key=lambda name: len(sizes[name][0]))[: len(names) // 2 + 1]
        stored = np.concatenate([sizes[name][0] for name in small])
        _, first = np.unique(stored, axis=0, return_index=True)
        values = np.concatenate([sizes[name][1] for name in small])
        self._write(np.frombuffer(stored[first].tobytes(), dtype=np.uint8).reshape(-1, KEY_BYTES), values[first])
        sizes.clear()  # Windows removes no file that is mapped
        for name in small:
            for suffix in (_KEYS, _VALUES):
                with contextlib.suppress(OSError):
                    (self.folder / (name + suffix)).unlink()

    @contextlib.contextmanager
    def _merging(self) -> Iterator[bool]:
        """Whether this process alone may merge now; a lock that a killed process left behind expires."""
        lock = self.folder / "merging.lock"
        with contextlib.suppress(OSError):
            if time.time() - lock.stat().st_mtime > _STALE_SECONDS:
                lock.unlink()
        try:
            os.close(os.open(lock, os.O_CREAT | os.O_EXCL))
        except OSError:
            yield False
            return
        try:
            yield True
        finally:
            lock.unlink(missing_ok=True)


def _as_integers(data: bytes) -> NDArray[np.uint64]:
    """Keys as two integers each, uint64 (keys, 2): numpy sorts and compares those."""
    return np.frombuffer(data, dtype=np.uint64).reshape(-1, 2)


def _search(ordered: NDArray[np.uint64], wanted: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Row of each wanted key in the sorted ones, -1 where it is absent.

    The first halves of two different keys are equal with a chance of 2**-64 a pair, so a look at one row is enough.
    """
    if not len(ordered):
        return np.full(len(wanted), -1, dtype=np.int64)
    place = np.minimum(np.searchsorted(ordered[:, 0], wanted[:, 0]), len(ordered) - 1)
    return np.where((ordered[place] == wanted).all(axis=1), place, -1)

"""Long sequences in shards, and matrices that are written to disk a shard at a time.

A shard is the unit that is computed, kept and resumed. Where shards begin and end follows from the length of the
sequence alone, never from how many processes share the work, so that process ``r`` of ``n`` may take
``plan(total)[r::n]`` and what all of them write is the same as what one writes.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import mmap
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from adapt import ranks
from adapt.errors import UsageError
from adapt.files import cache_dir, output_errors, write_json
from adapt.profile import Stages

ROWS = 1 << 15
"""Rows of a shard of items: some tens of megabytes of features."""

IN_MEMORY = 256 << 20
"""Bytes up to which a matrix is held in memory; a larger one lies in a file that is mapped."""


@dataclass(frozen=True)
class Shard:
    """Rows ``start`` to ``stop`` (exclusive) of a sequence; ``number`` counts from 0."""

    number: int
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start

    @property
    def rows(self) -> slice:
        """The rows, to index with."""
        return slice(self.start, self.stop)


def plan(total: int, size: int = 0) -> tuple[Shard, ...]:
    """The shards of a sequence, in order; all but the last have ``size`` rows (0: :data:`ROWS`).

    >>> plan(5, 2)
    (Shard(number=0, start=0, stop=2), Shard(number=1, start=2, stop=4), Shard(number=2, start=4, stop=5))
    """
    size = size or ROWS
    return tuple(Shard(number, start, min(start + size, total)) for number, start in enumerate(range(0, total, size)))


class ShardedRows:
    """A matrix that is written a shard at a time, in memory or in a file.

    In a file, a shard counts as written once its values are on disk and, after them, its byte in ``done``: a process
    that is killed at any moment leaves shards that are there in full and shards that are not there. The processes of
    a launcher write one file: each computes every n-th shard, and all wait for the others before they read.

    Args:
        values: (rows, width), in memory or mapped copy-on-write.
        size: rows of a shard.
        file: descriptor of the values; None = they are in memory.
        done: descriptor of the file with one byte a shard; None = nothing is kept beyond this process.
        shared: whether all processes of a launcher write this file; else each has one of its own.
    """

    def __init__(
        self,
        values: NDArray[Any],
        size: int,
        file: int | None = None,
        done: int | None = None,
        *,
        shared: bool = False,
    ) -> None:
        self.values = values
        self.shards = plan(len(values), size)
        self._file, self._done, self._shared = file, done, shared
        self._own = frozenset(ranks.mine(len(self.shards)) if shared else range(len(self.shards)))
        self._written = bytearray()
        self._look()

    @property
    def missing(self) -> tuple[Shard, ...]:
        """The shards that this process is still to write."""
        return tuple(shard for shard in self.shards if shard.number in self._own and not self._written[shard.number])

    @property
    def written(self) -> int:
        """How many shards are there."""
        return sum(map(bool, self._written))

    def wait(self) -> None:
        """Wait for the shards of the other processes, if there are some.

        Raises:
            LostRankError: one of them has failed or is gone.
            UsageError: what they have written is not to be seen from here.
        """
        if not self._shared:
            return
        ranks.barrier()
        self._look()
        if self.written < len(self.shards):
            raise UsageError(
                f"expected {len(self.shards)} shards of all processes, found {self.written}",
                "Put --output on a file system that all hosts share.",
            )
        if self.values.nbytes <= IN_MEMORY:  # as one process holds it: a product may round otherwise on what is mapped
            self.values = np.array(self.values)

    def _look(self) -> None:
        there = os.pread(self._done, len(self.shards), 0) if self._done is not None else b""
        self._written[:] = there.ljust(len(self.shards), b"\0")

    def write(self, shard: Shard, values: NDArray[Any]) -> None:
        """Write a shard; from then on it is not :attr:`missing`.

        Raises:
            OutputError: it could not be written.
        """
        if self._file is None:
            self.values[shard.rows] = values
        else:
            row = self.values.dtype.itemsize * self.values.shape[1]
            data = np.ascontiguousarray(values, self.values.dtype).data.cast("B")
            with output_errors(Path("a file of unfinished work")):
                place = shard.start * row
                while data:  # a call writes 2 GiB at most
                    count = os.pwrite(self._file, data, place)
                    data, place = data[count:], place + count
                if self._done is not None:
                    os.fdatasync(self._file)
                    os.pwrite(self._done, b"\1", shard.number)
        self._written[shard.number] = 1

    def close(self) -> None:
        """Let go of the files; what is mapped stays readable."""
        for descriptor in (self._file, self._done):
            if descriptor is not None:
                os.close(descriptor)
        self._file = self._done = None

    def __del__(self) -> None:
        self.close()


class Work:
    """Where a run keeps matrices that do not fit memory, and what it has computed so far.

    Args:
        folder: outlives a killed process, and the next run of the same identity goes on from it; None = nothing is
            kept, and what does not fit memory lies in nameless files of the cache, which end with the process.
        stages: told what takes how long.
    """

    def __init__(self, folder: Path | None = None, stages: Stages | None = None) -> None:
        self.folder = folder
        self.stages = stages or Stages()
        self.resumed: dict[str, tuple[int, int]] = {}
        """Name -> how many shards were there already, and of how many."""
        self._lock: int | None = None

    def rows(
        self,
        name: str,
        identity: Mapping[str, Any],
        shape: tuple[int, int],
        *,
        dtype: DTypeLike = np.float32,
        size: int = 0,
        keep: bool | None = None,
    ) -> ShardedRows:
        """A matrix to be written in shards, with those that an earlier run of the same identity has written.

        Args:
            name: what it is; one that an earlier run of another identity has begun is removed.
            identity: all that decides the values, ready for JSON.
            shape: rows and width.
            dtype: of the values.
            size: rows of a shard; 0 = :data:`ROWS`.
            keep: whether it is kept in the folder; None = where it does not fit memory, or several processes share it.

        Raises:
            OutputError: the file could not be made.
            UsageError: another process is at work in the folder.
        """
        kind, size = np.dtype(dtype), size or ROWS
        length = shape[0] * shape[1] * kind.itemsize
        if keep is None:
            keep = length > IN_MEMORY or self.shared
        if self.folder is None or not keep:
            if length <= IN_MEMORY:
                return ShardedRows(np.zeros(shape, kind), size)
            return ShardedRows(*_mapped(_nameless(), shape, kind, size))
        described = {"name": name, "shape": list(shape), "dtype": kind.str, "size": size, **identity}
        digest = hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()[:16]
        place = self.folder / f"{name}-{digest}"
        with output_errors(place):
            if ranks.is_main():
                self._prepare(self.folder, place, described)
            if self.shared:
                ranks.barrier()
            values, done = (os.open(place / part, os.O_RDWR | os.O_CREAT, 0o666) for part in ("values", "done"))
            rows = ShardedRows(*_mapped(values, shape, kind, size), done, shared=self.shared)
        self.resumed[name] = (rows.written, len(rows.shards))
        if self.shared:
            ranks.barrier()  # all have seen what was there before one adds to it
        return rows

    @property
    def shared(self) -> bool:
        """Whether several processes write what is kept."""
        return self.folder is not None and ranks.count() > 1

    def _prepare(self, folder: Path, place: Path, described: Mapping[str, Any]) -> None:
        """Make the folder of a matrix, and remove what an earlier run of another identity has begun."""
        self._hold(folder)
        name = str(described["name"])
        for other in folder.glob(f"{name}-*"):
            if other != place:
                shutil.rmtree(other, ignore_errors=True)
        place.mkdir(exist_ok=True)
        write_json(place / "identity.json", described)

    def finish(self) -> None:
        """Remove what was kept: the run is over."""
        if self.folder is not None and ranks.is_main():
            shutil.rmtree(self.folder, ignore_errors=True)
        self._let_go()

    def __del__(self) -> None:
        self._let_go()

    def _let_go(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _hold(self, folder: Path) -> None:
        """Be the only process in the folder; the system lets go of it when this one dies."""
        if self._lock is not None:
            return
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._let_go()
            raise UsageError(
                f"expected to be the only run that writes to {folder.parent}, found that another one is at it",
                "Wait for it, or choose another --output.",
            ) from error


def release(*arrays: NDArray[Any]) -> None:
    """Let the pages of mapped matrices go from this process; they are read again when they are asked for.

    Arrays in memory are left as they are. What was written into a mapped one in memory is lost.
    """
    for array in arrays:
        base: Any = array
        while base is not None and not isinstance(base, mmap.mmap):
            base = getattr(base, "base", None)
        if base is not None and hasattr(mmap, "MADV_DONTNEED"):
            base.madvise(mmap.MADV_DONTNEED)


def is_mapped(array: NDArray[Any]) -> bool:
    """Whether a matrix lies in a file that is mapped."""
    return isinstance(array, np.memmap)


def taken(array: NDArray[Any], rows: NDArray[np.integer]) -> NDArray[Any]:
    """Some rows of a matrix, in a file of their own where the matrix is mapped from one."""
    if not is_mapped(array):
        found: NDArray[Any] = array[rows]
        return found
    copy = Work().rows("taken", {}, (len(rows), array.shape[1]), dtype=array.dtype)
    for shard in copy.shards:
        copy.write(shard, array[rows[shard.rows]])
        release(array)
    return copy.values


def digest_of(*arrays: NDArray[Any]) -> str:
    """A fingerprint of numbers, their shapes and types."""
    found = hashlib.blake2b(digest_size=16)
    for array in arrays:
        found.update(f"{array.dtype.str}{array.shape}".encode())
        for shard in plan(len(array)):
            found.update(np.ascontiguousarray(array[shard.rows]).data.cast("B"))
    return found.hexdigest()


def _mapped(descriptor: int, shape: tuple[int, int], kind: np.dtype[Any], size: int) -> tuple[NDArray[Any], int, int]:
    """The values of a file, which gets the length it needs, and the arguments of :class:`ShardedRows` after them."""
    if not shape[0] * shape[1]:
        return np.zeros(shape, kind), size, descriptor
    os.ftruncate(descriptor, shape[0] * shape[1] * kind.itemsize)
    with os.fdopen(os.dup(descriptor), "rb+") as handle:
        # Copy-on-write: torch warns of arrays that it could not write to, and an index may change rows of its own.
        return np.memmap(handle, kind, "c", shape=shape), size, descriptor


def _nameless() -> int:
    """A file in the cache (/tmp may be memory) that nobody can open and that is gone when this process is."""
    folder = cache_dir() / "scratch"
    with output_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as handle:
            return os.dup(handle.fileno())

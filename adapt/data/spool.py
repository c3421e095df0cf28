"""Record batches that stay in memory while they are few, and lie in a file without a name once they are many.

Either way they are Arrow buffers, so whoever reads them does not know which. The file is mapped: the system reads what
is asked for, and takes the memory back when it needs it. Nothing is kept for the next command: a key of size and time
can be wrong, one of the content costs as much as reading again, and a file without a name can be neither stale, nor met
by another process, nor left behind by one that was killed.
"""

from __future__ import annotations

import contextlib
import mmap
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from adapt import files

MEMORY = 64 << 20  # bytes of one table that stay in memory


@dataclass(frozen=True, eq=False)
class Stored:
    """A table, and the file behind it.

    Attributes:
        table: a pyarrow Table.
        mapping: the mapped file; None: the table is in memory.
    """

    table: Any
    mapping: mmap.mmap | None = None

    def batches(self) -> Iterator[Any]:
        """The batches in order; the memory of a mapped one is given back before the next."""
        for batch in self.table.to_batches():
            yield batch
            self.release()

    def release(self) -> None:
        """Give back the memory of mapped pages; they are read again when they are next looked at."""
        if self.mapping is not None and hasattr(mmap, "MADV_DONTNEED"):
            self.mapping.madvise(mmap.MADV_DONTNEED)


def store(schema: Any, batches: Iterable[Any], memory: int | None = None) -> Stored:
    """Keep record batches.

    Args:
        schema: a pyarrow Schema.
        batches: of that schema; they are asked for one at a time.
        memory: bytes that may stay in memory; what is larger goes to disk as a whole. None: :data:`MEMORY`.

    Raises:
        OutputError: there is no room on the disk.
    """
    import pyarrow as pa

    limit = MEMORY if memory is None else memory
    coming, held, size = iter(batches), deque[Any](), 0
    for batch in coming:
        held.append(batch)
        size += batch.nbytes
        if size > limit:
            return _on_disk(schema, held, coming)
    return Stored(pa.Table.from_batches(held, schema))


def _on_disk(schema: Any, held: deque[Any], coming: Iterator[Any]) -> Stored:
    import pyarrow as pa

    handle = files.scratch_file()
    try:
        with files.scratch_errors():
            writer = pa.ipc.new_file(handle, schema)
        while held:  # the heap is free before more comes
            batch = held.popleft()
            with files.scratch_errors():
                writer.write_batch(batch)
        for batch in coming:
            with files.scratch_errors():
                writer.write_batch(batch)
        with files.scratch_errors():
            writer.close()
            handle.flush()
            mapping = mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ)
    finally:
        with contextlib.suppress(OSError):  # after a fault it tries to write the rest once more
            handle.close()
    pa.default_memory_pool().release_unused()  # what the batches needed on their way
    reader = pa.ipc.open_file(pa.BufferReader(pa.py_buffer(mapping)))
    stored = [reader.get_batch(number) for number in range(reader.num_record_batches)]
    return Stored(pa.Table.from_batches(stored, schema), mapping)

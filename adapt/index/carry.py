"""Rows of an index carried to an engine, so that a reader of any generation finds its rows there, whole.

A collection holds one numbering of rows. New rows are put there before the generation that counts them is committed;
a row is removed when no generation on disk counts it any more. A new numbering gets a new collection, to which the
lasting name is switched after the commit; collections that no generation on disk names are removed then, and so are
those of a process that died before it committed.
"""

from __future__ import annotations

import contextlib
import re
import socket
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from adapt.errors import AdaptError, CheckpointError, EngineError
from adapt.files import sha256_bytes
from adapt.index.description import Description, read_description
from adapt.index.engine import RemoteEntry, RemoteSettings, Rows, Server, Wanted, connect
from adapt.index.generations import Generations, Writer
from adapt.index.quantise import decode
from adapt.index.remote import RemoteRows, identity_of
from adapt.index.segments import Items
from adapt.index.snapshot import Snapshot
from adapt.index.storage import deleted_rows
from adapt.progress import SILENT, Progress

_BLOCK = 8_192


def asked_of(settings: RemoteSettings, folder: str | Path) -> RemoteEntry:
    """An entry for :func:`carrying` to fill: a file by its absolute path, a collection named after the folder.

    Args:
        settings: as the user gave them.
        folder: of the index.
    """
    name = re.sub(r"\W+", "_", Path(folder).resolve().name, flags=re.ASCII)
    uri = settings.uri if "://" in settings.uri else str(Path(settings.uri).resolve())
    settings = replace(settings, uri=uri, collection=settings.collection or f"adapt_{name}")
    return RemoteEntry(settings=settings, name="", owner="")


def owner_of(folder: Generations) -> str:
    """Who makes collections for a folder: this machine and the folder's place, unreadable for others."""
    return sha256_bytes(f"{socket.gethostname()}:{folder.path.resolve()}".encode())[:16]


@contextlib.contextmanager
def carrying(
    writer: Writer, described: Description, items: Items, progress: Progress = SILENT
) -> Iterator[RemoteRows | None]:
    """Carry items into a new collection; it is removed again where the block does not end well.

    Args:
        writer: of the index.
        described: with a lineage, and the settings of the engine; without, nothing is carried.
        items: all of the generation.
        progress: told the rows.

    Raises:
        EngineError: the engine is away or refuses, or the lasting name is another index's.
    """
    if described.remote is None:
        yield None
        return
    settings, owner = described.remote.settings, owner_of(writer.folder)
    server = connect(settings)
    server.free(owner, _named(_descriptions(writer.folder)))
    name = f"{settings.collection}_{described.lineage[:12]}"
    entry = RemoteEntry(
        settings=settings,
        name=name,
        owner=owner,
        columns=server.columns_of(items.columns),
        breadth=settings.first_breadth,
    )
    try:
        rows = RemoteRows(server, entry, identity_of(described, owner), len(items.ids))
        _fill(rows, items, progress)
        yield rows
    except BaseException:
        with contextlib.suppress(EngineError):  # what cannot be removed now is removed by the next writer
            server.drop(name)
        raise


def append(now: Snapshot, items: Items) -> RemoteEntry | None:
    """Put new items after the rows of a generation; they do not count until the next generation is committed.

    Args:
        now: the generation that counts.
        items: new rows.

    Returns:
        The entry of the next generation; None where no engine is used.

    Raises:
        EngineError: the engine is away or refuses.
    """
    rows = now.remote
    if rows is None:
        return None
    collection = rows.collection
    collection.delete_from(rows.count)  # of a writer that died
    columns = rows.server.columns_left(rows.entry.columns, items.columns)
    collection = rows.server.open(rows.entry.name, rows.identity, columns)
    collection.put(Rows(rows.count, items.ids, decode(items.embeddings), items.columns))
    return replace(rows.entry, columns=columns)


def settle(
    writer: Writer, now: Snapshot | None = None, *, left: RemoteEntry | None = None, progress: Progress = SILENT
) -> None:
    """Switch the lasting name to the generation that counts, and remove what no generation on disk counts.

    What cannot be done now, because the engine has gone away since the commit, is left to the next writer.

    Args:
        writer: of the index.
        now: the generation that counts, where it is open.
        left: where the rows were before this change.
        progress: told of a collection that could not be removed and that no later writer will look for.
    """
    writer.collect()
    described = list(_descriptions(writer.folder))
    pointer = writer.folder.pointer()
    counts = next((one for one in described if pointer and one.generation == pointer.generation), None)
    entry = counts.description.remote if counts is not None else None
    if entry is not None and counts is not None:
        rows = now.remote if now is not None else None
        server = rows.server if rows is not None and rows.entry.settings == entry.settings else connect(entry.settings)
        with contextlib.suppress(EngineError):
            server.publish(entry.name, entry.owner, _named(described))
            _remove(server, writer.folder, described)
            _vacuum(server, counts, entry, described)
    if left is not None and (entry is None or entry.settings != left.settings):
        try:
            stay = _remove(connect(left.settings), writer.folder, described)
        except AdaptError as error:
            stay = [f"{left.name} ({error.message})"]
        if stay:
            progress.note(f"collections that are still searched or out of reach, to be removed later: {stay}")


def _remove(server: Server, folder: Generations, described: Sequence[_Described]) -> list[str]:
    """Remove the folder's collections that no generation on disk names; those that stay."""
    named = _named(described)
    mine = server.owned(owner_of(folder))
    for name in mine:
        if name not in named:
            server.drop(name)
    return [name for name in mine if name in named]


def _fill(rows: RemoteRows, items: Items, progress: Progress) -> None:
    entry, count = rows.entry, len(items.ids)
    collection = rows.server.create(entry.name, rows.identity, entry.columns)
    with progress.task(f"carrying items to {entry.settings.engine}", count, "items") as advance:
        for start in range(0, count, _BLOCK):
            part = slice(start, min(start + _BLOCK, count))
            columns = {name: items.columns[name][part] for name in entry.columns}
            collection.put(Rows(start, items.ids[part], decode(items.embeddings, part), columns))
            advance(part.stop - part.start)
    collection.settle()


def _vacuum(server: Server, counts: _Described, entry: RemoteEntry, described: Sequence[_Described]) -> None:
    """Remove the rows that no generation of this numbering counts."""
    dead = counts.deleted
    for other in described:
        if other.description.lineage == counts.description.lineage:
            dead = np.intersect1d(dead, other.deleted, assume_unique=True)
    if not len(dead):
        return
    collection = server.open(entry.name, identity_of(counts.description, entry.owner), entry.columns)
    rows = counts.description.rows
    if collection.count(Wanted(below=rows)) > rows - len(dead):  # else they went with an earlier change
        collection.delete(dead)


@dataclass(frozen=True, eq=False)
class _Described:
    """A generation on disk."""

    generation: str
    description: Description
    deleted: npt.NDArray[np.int64]


def _descriptions(folder: Generations) -> Iterator[_Described]:
    """Every generation on disk that can be read."""
    for name, sealed in folder.generations():
        with contextlib.suppress(CheckpointError):
            found = read_description(sealed)
            yield _Described(name, found, deleted_rows(sealed, found))


def _named(described: Iterable[_Described]) -> list[str]:
    """The collections of generations."""
    return [one.description.remote.name for one in described if one.description.remote is not None]

"""How the engine behind an index stands: for people, and against the folder."""

from __future__ import annotations

from typing import Any

import numpy as np

from adapt.errors import AdaptError, CheckpointError
from adapt.index.engine import Wanted
from adapt.index.remote import RemoteRows
from adapt.index.snapshot import Snapshot

_SAMPLE = 2_000


def engine_facts(now: Snapshot) -> dict[str, Any] | None:
    """The engine that searches a snapshot, ready for JSON; None where that is this machine.

    ``server`` is what it calls itself, or why it could not be asked; ``rows`` what the collection holds.
    """
    remote = now.remote
    if remote is None:
        return None
    settings = remote.entry.settings
    known: dict[str, Any] = {
        "engine": settings.engine,
        "uri": settings.uri,
        "collection": settings.collection,
        "holds": remote.entry.name,
        "index": settings.index,
        "breadth": remote.entry.breadth,
        "consistency": settings.consistency,
        "columns": [name for name in remote.entry.columns if name],
    }
    try:
        return known | {"server": remote.server.state(), "rows": remote.collection.count(Wanted()), "away": None}
    except AdaptError as error:
        return known | {"server": None, "rows": None, "away": error.message}


def check_engine(now: Snapshot, remote: RemoteRows, rng: np.random.Generator) -> str:
    """Compare the engine's rows with the folder's: how many there are, and a sample bit for bit.

    Raises:
        CheckpointError: they differ, or the engine is away.
    """
    collection = remote.collection
    held = collection.count(Wanted(below=remote.count))
    if not len(now) <= held <= remote.count:
        raise CheckpointError(
            f"expected the {len(now):,} items of the folder in {remote.entry.name}, found {held:,} rows",
            "`adapt index compact` carries all rows there again.",
        )
    rows = np.sort(rng.permutation(now.rows)[:_SAMPLE])
    ids, vectors = collection.stored(rows)
    same = (vectors.view(np.uint32) == now.vectors.take(rows).astype(np.float32).view(np.uint32)).all(axis=1)
    if not same.all() or ids != [now.id(row) for row in rows.tolist()]:
        raise CheckpointError(
            f"expected the rows of {remote.entry.name} to be those of the folder, found others among {len(rows):,}",
            "`adapt index compact` carries all rows there again.",
        )
    return f"{held:,} rows at {remote.entry.settings.uri}; {len(rows):,} of them are the folder's bit for bit"

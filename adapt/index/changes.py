"""What a change makes of a generation: new items in a part of their own, deleted rows listed, nothing rewritten.

Rows keep their numbers until the index is compacted. Small parts at the end are folded into one as they come, so that
an index of any history has few parts and every item is written anew a few times only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from adapt.index.carry import append
from adapt.index.description import Description, PartEntry
from adapt.index.generations import Writer
from adapt.index.segments import Items, stored_items, together, write_items
from adapt.index.snapshot import Snapshot
from adapt.index.storage import write_deleted

GROWN = 0.2
"""Recall is measured again when the index has grown by this share."""
_TAIL = 5_000
_FOLD = 2


def put(writer: Writer, now: Snapshot, items: Items) -> tuple[int, int]:
    """Commit a generation in which ``items`` are there, in place of those with the same ids.

    Args:
        writer: of the index.
        now: the generation that counts.
        items: distinct ids; embeddings in the type of the index.

    Returns:
        How many were added, and how many replaced.

    Raises:
        OutputError: it cannot be written; nothing has changed then.
        EngineError: the engine that searches is away or refuses; nothing has changed then.
    """
    replaced = [now.row(item_id) for item_id in items.ids if item_id in now]
    entries = list(_item_entries(now.description))
    first, size = len(entries), len(items.ids)
    while first and entries[first - 1].rows <= _FOLD * size:
        first -= 1
        size += entries[first].rows
    folded = [stored_items(segment) for segment in now.segments[first:]]
    entry = write_items(writer, together([*folded, items]) if folded else items)
    rows = now.description.rows + len(items.ids)
    deleted = np.union1d(np.flatnonzero(~now.alive), np.array(replaced, np.int64))
    graph = now.description.graph
    if graph is not None and rows - graph.rows > _TAIL:
        graph = replace(graph, rows=rows)
    description = replace(now.description, rows=rows, graph=graph, remote=append(now, items))
    commit(writer, description, [*entries[:first], entry], deleted, changes=len(items.ids))
    return len(items.ids) - len(replaced), len(replaced)


def delete(writer: Writer, now: Snapshot, ids: Sequence[str]) -> None:
    """Commit a generation without some items.

    Raises:
        DataError: an id is not in the index; nothing has changed then.
        OutputError: it cannot be written; nothing has changed then.
    """
    rows = np.array([now.row(item_id) for item_id in ids], np.int64)
    deleted = np.union1d(np.flatnonzero(~now.alive), rows)
    commit(writer, now.description, _item_entries(now.description), deleted, changes=len(ids))


def commit(
    writer: Writer,
    description: Description,
    items: Sequence[PartEntry],
    deleted: npt.NDArray[np.int64],
    *,
    changes: int = 0,
) -> None:
    """Make a generation of item parts and deleted rows the one that counts; the model's part stays.

    Args:
        writer: of the index.
        description: of which parts and count are replaced.
        items: parts in the order of their rows.
        deleted: int64, ascending.
        changes: items that changed since recall was measured, to add to those before.
    """
    models = [part for part in description.parts if part.role == "model"]
    recall = description.recall
    described = replace(
        description,
        parts=(*items, *models),
        count=description.rows - len(deleted),
        recall=replace(recall, changes=recall.changes + changes) if recall is not None else None,
    )
    writer.commit(described.to_dict(), lambda folder: write_deleted(folder, deleted))


def has_grown(description: Description) -> bool:
    """Whether there are so many more items than when recall was measured that it should be measured again."""
    recall = description.recall
    return recall is not None and description.count > (1 + GROWN) * max(recall.count, 1)


def _item_entries(description: Description) -> tuple[PartEntry, ...]:
    return tuple(part for part in description.parts if part.role == "items")

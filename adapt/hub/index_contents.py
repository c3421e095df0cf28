"""What an index in a folder holds, read without building what searches it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adapt.errors import CheckpointError
from adapt.features.normalise import unit
from adapt.index.description import Description, read_description
from adapt.index.generations import Generations
from adapt.index.quantise import Encoded, decode
from adapt.index.segments import Items, open_segment, stored_items, together
from adapt.index.storage import alive_rows

Rows = NDArray[np.int64]
_EXAMPLES = 5
_BLOCK = 8192
_SAME = 1 - 1e-5


def described(folder: Path) -> Description:
    """What the generation that counts says of itself.

    Raises:
        CheckpointError: there is no index, or it is damaged.
    """
    return read_description(Generations(folder).hold().folder)


def refuse_remote(folder: Path) -> None:
    """Make sure that an index that somebody else made is searched on this machine.

    Raises:
        CheckpointError: it sends what is asked to a server of its author; or it is damaged.
    """
    remote = described(folder).remote
    if remote is not None:
        raise CheckpointError(
            f"expected a shared index that is searched on this machine, found one that asks {remote.settings.uri}",
            "Do not use it: `adapt hub push` leaves the engine out.",
        )


def contents_of(folder: Path) -> Items:
    """The items that can be found, without their features.

    Raises:
        CheckpointError: there is no index, or it is damaged.
    """
    index = Generations(folder)
    held = index.hold()
    found = read_description(held.folder)
    parts = [
        replace(stored_items(open_segment(index, entry, found.dim, found.storage)), features={})
        for entry in found.parts
        if entry.role == "items"
    ]
    return together(parts, alive_rows(held.folder, found))


def item_changes(first: Items, second: Items) -> Iterator[tuple[str, Any, Any]]:
    """What differs between the items of two indexes.

    Returns:
        What, and what the first and the second hold: the ids that only one has; of titles and columns how many items
        have another one, with examples; the lowest cosine of an item's two embeddings, where they have one width.
    """
    place = ({item: row for row, item in enumerate(first.ids)}, {item: row for row, item in enumerate(second.ids)})
    only = [[item for item in place[n] if item not in place[1 - n]] for n in (0, 1)]
    if any(only):
        yield "ids that the other lacks", only[0], only[1]
    common = [item for item in first.ids if item in place[1]]
    rows = (_rows(place[0], common), _rows(place[1], common))
    names = dict.fromkeys([*first.columns, *second.columns])
    cells = {"title": (first.titles, second.titles)} | {
        f"column {name}": (first.columns.get(name), second.columns.get(name)) for name in names
    }
    for name, (ours, theirs) in cells.items():
        yield from _cells(name, common, _chosen(ours, rows[0]), _chosen(theirs, rows[1]))
    if common and first.embeddings.values.shape[1] == second.embeddings.values.shape[1]:
        cosine = _cosines(first.embeddings, second.embeddings, rows)
        if changed := int((cosine < _SAME).sum()):
            yield f"lowest cosine of an item's embeddings ({changed:,} differ)", 1.0, round(float(cosine.min()), 6)


def _rows(place: Mapping[str, int], ids: Sequence[str]) -> Rows:
    return np.array([place[item] for item in ids], np.int64)


def _chosen(column: Sequence[str] | None, rows: Rows) -> list[str] | None:
    return None if column is None else [column[row] for row in rows.tolist()]


def _cells(name: str, ids: Sequence[str], ours: list[str] | None, theirs: list[str] | None) -> Iterator[Any]:
    if ours is None or theirs is None:
        yield name, *("not there" if column is None else "there" for column in (ours, theirs))
        return
    changed = [row for row, (here, there) in enumerate(zip(ours, theirs, strict=True)) if here != there]
    if changed:
        shown = changed[:_EXAMPLES]
        examples = ", ".join(ids[row] for row in shown) + (", ..." if shown != changed else "")
        yield (
            f"{name} of {len(changed):,} items ({examples})",
            [ours[row] for row in shown],
            [theirs[row] for row in shown],
        )


def _cosines(first: Encoded, second: Encoded, rows: tuple[Rows, Rows]) -> NDArray[np.float32]:
    found = []
    for start in range(0, len(rows[0]), _BLOCK):
        here, there = (
            unit(decode(one, mine[start : start + _BLOCK])) for one, mine in ((first, rows[0]), (second, rows[1]))
        )
        found.append((here * there).sum(axis=1))
    return np.concatenate(found)

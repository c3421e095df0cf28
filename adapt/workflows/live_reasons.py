"""Why an item stands in a list, in plain words and numbers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from adapt.index.snapshot import Snapshot
from adapt.memory.cooccurrence import WINDOW
from adapt.memory.fusion import POPULARITY, Channels, standardised
from adapt.memory.memory import COOCCURRENCE, ITEM_KNN, STATES, SUCCESSORS
from adapt.workflows.item_numbers import ItemNumbers, NumberedContent
from adapt.workflows.live_types import Reason
from adapt.workflows.living_index import LivingIndex
from adapt.workflows.living_memory import LivingMemory

_NAMED = 2
_TOGETHER = {
    COOCCURRENCE: "often chosen together with {}",
    SUCCESSORS: "often chosen after {}",
    ITEM_KNN: "often chosen by those who chose {}",
}
_ALONE = {STATES: "what people with a history like yours chose next", POPULARITY: "popular with others"}


def content_reasons(
    index: LivingIndex, now: Snapshot, history: NDArray[np.int64], found: NDArray[np.int64], scores: Sequence[float]
) -> list[Reason]:
    """Reasons by content alone.

    Args:
        index: that was searched.
        now: its snapshot.
        history: int64, rows, oldest first, at least one.
        found: int64, rows of the list.
        scores: of the list.
    """
    close = _closest(index, now, history, found)
    return [
        Reason(_close_to(now, rows), tuple(now.id(row) for row in rows), {"content": round(float(score), 4)})
        for rows, score in zip(close, scores, strict=True)
    ]


def fused_reasons(
    memory: LivingMemory,
    content: NumberedContent,
    numbers: ItemNumbers,
    history: NDArray[np.int64],
    channels: Channels,
    place: int,
    found: NDArray[np.int64],
) -> list[Reason]:
    """Reasons by everything that was fused; call it inside :meth:`LivingMemory.now`.

    Args:
        memory, content, numbers: that fit each other.
        history: int64, numbers, oldest first; may be empty.
        channels: of several histories, this one's in row ``place``.
        place: see ``channels``.
        found: int64, numbers of the list.
    """
    parts = _parts(memory, content, channels, place, found)
    now = content.now
    rows = content.rows[history]
    rows = rows[rows >= 0]
    close = _closest(content.index, now, rows, content.rows[found]) if len(rows) else [()] * len(found)
    latest = list(dict.fromkeys(history[::-1][:WINDOW].tolist()))
    witnesses = {name: memory.evidence(latest, name).toarray() for name in _TOGETHER if latest and name in parts}
    reasons = []
    for number, item in enumerate(found.tolist()):
        said = {name: round(float(values[number]), 4) for name, values in parts.items()}
        strongest = max(said, key=lambda name: said[name])
        text, because = "", tuple(now.id(row) for row in close[number])
        if strongest in _TOGETHER and said[strongest] > 0:
            order = np.argsort(-witnesses[strongest][:, item], kind="stable")[:_NAMED]
            ids = [numbers.id(latest[row]) for row in order.tolist() if witnesses[strongest][row, item] > 0]
            if ids:
                because = tuple(ids)
                text = _TOGETHER[strongest].format(_title(now, ids[0])) + " in your history"
        elif strongest in _ALONE and said[strongest] > 0:
            text = _ALONE[strongest]
        reasons.append(Reason(text or _close_to(now, close[number]), because, said))
    return reasons


def _parts(
    memory: LivingMemory, content: NumberedContent, channels: Channels, place: int, found: NDArray[np.int64]
) -> dict[str, NDArray[np.float32]]:
    """Channel -> what it adds to the score of each item found."""
    fusion = memory.fusion
    by_content = standardised(channels.content[place : place + 1], content.usable)[0]
    parts = {"content": fusion.content * by_content[found]}
    for name, votes in channels.evidence.items():
        parts[name] = fusion.weights[name] * votes[[place]].toarray()[0][found]
    if fusion.weights.get(POPULARITY):
        parts[POPULARITY] = fusion.weights[POPULARITY] * channels.popularity[found]
    return parts


def _closest(
    index: LivingIndex, now: Snapshot, history: NDArray[np.int64], found: NDArray[np.int64]
) -> list[tuple[int, ...]]:
    """The rows of a history that are closest to each of some rows, closest first."""
    distinct = np.array(list(dict.fromkeys(history[::-1].tolist())), np.int64)
    if not len(found):
        return []
    cosines = now.vectors.take(found) @ index.as_queries(now, now.vectors.take(distinct)).T
    order = np.argsort(-cosines, axis=1, kind="stable")[:, :_NAMED]
    return [tuple(distinct[row].tolist()) for row in order]


def _close_to(now: Snapshot, rows: Sequence[int]) -> str:
    return f"close to {now.title(rows[0])} in your history" if rows else "fits what is known of you"


def _title(now: Snapshot, item_id: str) -> str:
    return now.title(now.row(item_id)) if item_id in now else item_id

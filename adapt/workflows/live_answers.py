"""Ranked lists for many requests at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from adapt.errors import AdaptError
from adapt.index.diversity import POOL, diversify
from adapt.index.snapshot import Snapshot
from adapt.top import top_k
from adapt.workflows.index_rows import allowed_rows, rows_of_history
from adapt.workflows.index_types import SearchOptions
from adapt.workflows.live_reasons import content_reasons, fused_reasons
from adapt.workflows.live_types import Answer, Ask, RankedItem, Reason
from adapt.workflows.living_index import LivingIndex
from adapt.workflows.living_memory import LivingMemory

Member: TypeAlias = tuple[Ask, tuple[str, ...]]
"""A request, and the items of its history, oldest first."""
Answered: TypeAlias = "Answer | AdaptError"
HasPicture: TypeAlias = Callable[[str], bool]


def by_content(index: LivingIndex, method: str, members: Sequence[Member], has_picture: HasPicture) -> list[Answered]:
    """Answers by what the towers say alone, in one batch; each error is in the place of its answer.

    Args:
        index: that is searched.
        method: its name in the answers.
        members: requests with their histories.
        has_picture: whether there is a picture of an item.
    """
    now = index.snapshot
    answers: dict[int, Answered] = {}
    known: dict[int, NDArray[np.int64]] = {}
    for place, (_, history) in enumerate(members):
        try:
            known[place] = rows_of_history(now, history)
        except AdaptError as error:
            answers[place] = error
    there = list(known)
    states = index.states_of(now, list(known.values())) if known else np.zeros((0, 0), np.float32)
    alike: dict[SearchOptions, list[int]] = {}
    for number, place in enumerate(there):
        alike.setdefault(members[place][0].options, []).append(number)
    for options, group in alike.items():
        places = [there[number] for number in group]
        try:
            found = index.answer(now, states[group], [known[place] for place in places], options)
        except AdaptError as error:
            answers |= dict.fromkeys(places, error)
            continue
        for place, (rows, scores) in zip(places, found, strict=True):
            ask, history = members[place]
            reasons = content_reasons(index, now, known[place], rows, scores.tolist()) if ask.explain else None
            answers[place] = _list(now, method, rows, scores, history, reasons, has_picture)
    return [answers[place] for place in range(len(members))]


def by_memory(memory: LivingMemory, method: str, members: Sequence[Member], has_picture: HasPicture) -> list[Answered]:
    """Answers by content and what other users did, in one batch; see :func:`by_content`."""
    answers: list[Answered] = []
    with memory.now() as (content, numbers):
        now = content.now
        histories = [numbers.known(history) for _, history in members]
        channels = memory.channels(histories)
        scores = memory.scores(channels)
        for place, (ask, history) in enumerate(members):
            options, values = ask.options, scores[place]
            try:
                if ask.history is not None and not content.usable[histories[place]].any():
                    rows_of_history(now, history)  # says what is wrong with it
                allowed = allowed_rows(now, options)
                if allowed is not None:
                    values[content.usable & ~allowed[content.rows]] = -np.inf
                if not options.keep_seen:
                    values[histories[place]] = -np.inf
                found, best = top_k(values[None], options.k * POOL if options.diversity else options.k)
                found, best = found[0][found[0] >= 0], best[0][found[0] >= 0]
                if options.diversity:
                    found, best = _diverse(now, content.rows[found], found, best, options)
                reasons = None
                if ask.explain:
                    reasons = fused_reasons(memory, content, numbers, histories[place], channels, place, found)
                answers.append(_list(now, method, content.rows[found], best, history, reasons, has_picture))
            except AdaptError as error:
                answers.append(error)
    return answers


def _list(
    now: Snapshot,
    method: str,
    rows: NDArray[np.int64],
    scores: NDArray[np.float32],
    history: Sequence[str],
    reasons: Sequence[Reason] | None,
    has_picture: HasPicture,
) -> Answer:
    items = []
    for place, (row, score) in enumerate(zip(rows.tolist(), scores.tolist(), strict=True)):
        item_id = now.id(row)
        reason = reasons[place] if reasons is not None else None
        items.append(RankedItem(item_id, now.title(row), score, has_picture(item_id), reason))
    unknown = tuple(item_id for item_id in history if item_id not in now)
    return Answer(tuple(items), method, now.generation, unknown)


def _diverse(
    now: Snapshot,
    rows: NDArray[np.int64],
    found: NDArray[np.int64],
    scores: NDArray[np.float32],
    options: SearchOptions,
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The most relevant and unlike of a longer list, whose scores are brought to the range of a cosine."""
    low, high = float(scores.min(initial=0)), float(scores.max(initial=0))
    relevance = (scores - low) / max(high - low, 1e-6)
    order = diversify(relevance.astype(np.float32), now.vectors.take(rows), options.k, options.diversity)
    return found[order], scores[order]

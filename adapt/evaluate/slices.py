"""Which cases of a task belong together: by whether the hidden item has training events, and by history length."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from adapt.errors import UsageError
from adapt.evaluate.tasks import Task

HISTORY_EDGES = (1, 3, 6, 11, 21)
"""The first length of each bucket: 0, 1-2, 3-5, 6-10, 11-20, 21 and more."""


def by_warmth(task: Task) -> dict[str, NDArray[np.bool_]]:
    """Which cases ask for a warm item (with a training event) and which for a cold one.

    Returns:
        ``"overall"``, ``"warm"`` and ``"cold"`` to bool (cases,); one of the last two may be empty.

    >>> from adapt.data.catalog import Interactions
    >>> from adapt.evaluate.tasks import leave_one_out_task
    >>> events = Interactions(("a", "b"), np.array([0, 3, 5]), np.array([0, 1, 2, 2, 1], np.int32))
    >>> by_warmth(leave_one_out_task(events, np.ones(4, bool)))["warm"]
    array([ True,  True])
    """
    warm = task.warm[task.targets]
    return {"overall": np.ones(len(task), bool), "warm": warm, "cold": ~warm}


def by_history_length(task: Task, edges: tuple[int, ...] = HISTORY_EDGES) -> dict[str, NDArray[np.bool_]]:
    """Which cases have a history of which length.

    Args:
        task: whose cases.
        edges: the first length of each bucket, ascending, the first at least 1.

    Returns:
        Range of lengths (``"3–5"``) to bool (cases,), ascending; ranges without a case are left out.

    Raises:
        UsageError: the edges do not ascend from 1 or more.

    >>> from adapt.data.catalog import Interactions
    >>> from adapt.evaluate.tasks import leave_one_out_task
    >>> events = Interactions(("a", "b"), np.array([0, 4, 6]), np.array([0, 1, 2, 3, 2, 1], np.int32))
    >>> by_history_length(leave_one_out_task(events, np.ones(4, bool)))
    {'1–2': array([False,  True]), '3–5': array([ True, False])}
    """
    if not edges or edges[0] < 1 or any(later <= first for first, later in pairwise(edges)):
        raise UsageError(f"expected edges that ascend from 1 or more, found {edges}")
    bounds = (0, *edges)
    lengths = np.diff(task.histories.offsets)
    bucket = np.searchsorted(bounds, lengths, side="right") - 1
    return {_label(bounds, int(number)): bucket == number for number in np.unique(bucket)}


def _label(bounds: tuple[int, ...], number: int) -> str:
    first = bounds[number]
    if number + 1 == len(bounds):
        return f"{first}+"
    last = bounds[number + 1] - 1
    return str(first) if first == last else f"{first}–{last}"

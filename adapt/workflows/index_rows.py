"""Rows of a snapshot for the ids of a request."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from adapt.errors import UsageError
from adapt.index.filters import Selection
from adapt.index.snapshot import Snapshot
from adapt.workflows.index_types import SearchOptions


def rows_of_history(now: Snapshot, history: Sequence[str]) -> NDArray[np.int64]:
    """The rows of those items of a history that a snapshot holds, oldest first: int64, at least one.

    Raises:
        NotFoundError: it holds none of them; the hint names ids like the last one.
        UsageError: the history is empty.
    """
    rows = [now.row(item_id) for item_id in history if item_id in now]
    if not rows:
        if not history:
            raise UsageError("expected a history of at least one item, found none")
        now.row(history[-1])  # says what is close
    return np.array(rows, np.int64)


def allowed_rows(now: Snapshot, options: SearchOptions) -> NDArray[np.bool_] | None:
    """bool (rows,) of what may be returned; None = all."""
    return now.allowed(selected(now, options))


def selected(now: Snapshot, options: SearchOptions) -> Selection:
    """The rows of a snapshot that may be returned."""
    allow, deny = (
        np.array([now.row(item_id) for item_id in ids if item_id in now], np.int64)
        for ids in (options.allow or (), options.deny)
    )
    return Selection(options.where, None if options.allow is None else allow, deny)

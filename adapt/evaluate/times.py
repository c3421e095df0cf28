"""Whether the timestamps of a data set are points in time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from adapt.data.catalog import Interactions
from adapt.errors import DataError


def real_times(interactions: Interactions) -> NDArray[np.float64]:
    """The timestamps, float64 (n,), if they can be compared between users.

    Files without times often number each user's events from 0 or 1. Such numbers are taken for an order and no time:
    most histories start at one and the same number, and most steps are 1.

    Raises:
        DataError: there are none, or they only give an order.

    >>> real_times(Interactions(("a",), np.array([0, 2]), np.array([0, 1], np.int32), np.array([5e8, 6e8])))
    array([5.e+08, 6.e+08])
    """
    hint = "Use the protocol leave-one-out, or give the data set a column of times."
    if interactions.timestamps is None:
        raise DataError("expected timestamps, found interactions in file order", hint)
    times = np.asarray(interactions.timestamps, np.float64)
    starts = interactions.offsets[:-1][interactions.lengths() > 0]
    inside = np.ones(len(times), bool)
    inside[starts] = False
    steps = np.diff(times, prepend=times[:1])[inside]
    _, counts = np.unique(times[starts], return_counts=True)
    if (
        len(starts) > 1
        and len(steps)
        and 2 * counts.max() > len(starts)
        and 2 * np.count_nonzero(steps == 1) > len(steps)
    ):
        raise DataError("expected points in time, found timestamps that only number the events of each user", hint)
    return times

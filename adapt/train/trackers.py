"""Who else is told every step of a training."""

from __future__ import annotations

import importlib.util
from typing import Literal

from adapt.errors import MissingExtraError

Tracker = Literal["", "tensorboard"]


def check_tracker(tracker: Tracker) -> None:
    """Make sure that a tracker's package is installed; it is not imported.

    Raises:
        MissingExtraError: it is not.
    """
    if tracker and importlib.util.find_spec(tracker) is None:
        raise MissingExtraError(
            f"expected the package {tracker} for --tracker {tracker}, found none",
            'pip install "adapt-mmrec[trackers]"',
        )

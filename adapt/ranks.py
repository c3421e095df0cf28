"""The processes that a launcher started together: who this one is, which work is its own, and what all agree on.

`accelerate launch` and `torchrun` say who is who in the environment. Without a launcher every function here answers at
once for the one process there is.
"""

from __future__ import annotations

import os
from typing import Any

from adapt.meeting import JOIN_SECONDS, Meeting, meet


def rank() -> int:
    """Which of the processes this one is, from 0."""
    return int(os.environ.get("RANK", "0"))


def local_rank() -> int:
    """Which of the processes of this host this one is, from 0."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def count() -> int:
    """How many processes a launcher started together; 1 without one."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_main() -> bool:
    """Whether this process speaks and writes for all those that a launcher started together."""
    return rank() == 0


def mine(pieces: int) -> range:
    """Which of ``pieces`` pieces of work (shards, files, blocks) are this process's: every piece is exactly one's.

    >>> mine(3)
    range(0, 3)
    """
    return range(rank(), pieces, count())


def barrier() -> None:
    """Wait until every process has come here.

    Raises:
        LostRankError: one of them has failed or is gone.
    """
    gather(None)


def agree(value: Any) -> Any:
    """What the main process has, in every process.

    Args:
        value: that JSON can hold; that of the other processes is dropped.

    Raises:
        LostRankError: a process has failed or is gone.
    """
    return gather(value)[0]


def gather(value: Any) -> list[Any]:
    """The values of all processes, by rank.

    Args:
        value: that JSON can hold.

    Raises:
        LostRankError: a process has failed or is gone.
    """
    if count() == 1:
        return [value]
    return meeting().gather(value)


_meeting: Meeting | None = None


def meeting(seconds: float = JOIN_SECONDS) -> Meeting:
    """The meeting of all processes, which the first call joins.

    Args:
        seconds: that are waited for the others.

    Raises:
        LostRankError: the others do not come.
    """
    global _meeting  # noqa: PLW0603 - a process is in one run
    if _meeting is None:
        _meeting = meet(rank(), count(), seconds)
    return _meeting


def joined() -> Meeting | None:
    """The meeting, if this process has joined it."""
    return _meeting

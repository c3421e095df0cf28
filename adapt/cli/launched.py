"""A command in several processes: one of them speaks, and none waits for one that has ended."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from platform import node

from adapt import ranks
from adapt.cli import output
from adapt.errors import AdaptError, LostRankError, UsageError
from adapt.meeting import DEAD_AFTER, Failure, Meeting

COMMANDS = ("pretrain", "finetune", "zero-shot", "few-shot", "recommend", "index build")
"""Those that share their work out; any other would do it, and write it, once for each process."""

_LOOK = DEAD_AFTER + 3.0
_FIRST, _GRACE = 2.0, 10.0
_ending = threading.Lock()


def begin(arguments: Sequence[str]) -> None:
    """Meet the other processes, if a launcher started some, and have all but the main one say nothing.

    Raises:
        UsageError: the command is none that several processes share.
        LostRankError: the others do not come.
    """
    if ranks.count() == 1:
        _say_where_one_is_alone()
        return
    output.configure(as_json="--json" in arguments, silent=not ranks.is_main())
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # what torch remarks on the training, once for each process
    meeting = ranks.meeting()
    meeting.watch(_end_this_process)
    _take_a_gpu()
    named = [argument for argument in arguments if not argument.startswith("-")]
    asks = not named or "--help" in arguments or "-h" in arguments
    if not asks and not {named[0], " ".join(named[:2])} & set(COMMANDS):
        raise UsageError(
            f"expected a command that several processes share ({', '.join(COMMANDS)}), found {named[0]} in "
            f"{ranks.count()} processes",
            f"Start it once, without a launcher: adapt {named[0]} ...",
        )


def finish() -> None:
    """This process has done its part."""
    meeting = ranks.joined()
    if meeting is None:
        return
    torch = sys.modules.get("torch")
    if torch is not None and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
    meeting.leave()


def here(message: str, hint: str, exit_code: int) -> Failure:
    """A failure of this process."""
    return Failure(ranks.rank(), node(), message, hint, exit_code)


def cause(error: BaseException, own: Failure) -> tuple[Failure, bool]:
    """What ends the run, of which the error in this process may be but a consequence, and whether to say it here.

    Args:
        error: that ended the command in this process.
        own: what it would say by itself.
    """
    with _ending:
        meeting = ranks.joined()
        if meeting is None:
            return own, ranks.local_rank() == 0
        if not isinstance(error, Exception):
            own = replace(own, rank=0)  # a signal of the user's or of the launcher's, which goes to all of them
        found = meeting.failure()
        known = isinstance(error, KeyboardInterrupt | AdaptError) and not isinstance(error, LostRankError)
        if found is None:
            found = _of_main(meeting) if known else _look_for_cause(meeting)
        found = meeting.fail(found or own)
        says = meeting.may_speak()
        meeting.leave()
        return found, says


def told(failure: Failure) -> str:
    """The message of a failure, with where it happened unless it was in the main process, or is about another."""
    if failure.rank == 0 or failure.exit_code == LostRankError.exit_code:
        return failure.message
    return f"{failure.message} (rank {failure.rank} of {ranks.count()}, on {failure.host})"


def deaf() -> None:
    """What ends this process has been decided: a second signal adds nothing."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)


def _of_main(meeting: Meeting) -> Failure | None:
    """What is wrong everywhere (an option, a file) is for the main process to say: give it the time."""
    until = time.monotonic() + (0.0 if ranks.is_main() else _FIRST)
    while time.monotonic() < until:
        if (found := meeting.failure()) is not None:
            return found
        time.sleep(0.1)
    return None


def _look_for_cause(meeting: Meeting) -> Failure | None:
    """Wait as long as it takes to notice that another process is gone; None = all are there, or have left."""
    meeting.stop()
    until = time.monotonic() + _LOOK
    while time.monotonic() < until:
        found = meeting.failure() or meeting.lost(DEAD_AFTER)
        if found is not None or meeting.all_stopped():
            return found
        time.sleep(0.1)
    return None


def _end_this_process() -> None:
    """Another process has ended: unwind, or, where the main thread waits for that one inside a library, leave."""
    timer = threading.Timer(_GRACE, _leave)
    timer.daemon = True
    timer.start()
    os.kill(os.getpid(), signal.SIGTERM)


def _leave() -> None:
    lost = LostRankError("another process has ended")
    failure, says = cause(lost, here(lost.message, lost.hint, lost.exit_code))
    if says:
        output.error(told(failure), failure.hint, failure.exit_code)
    os._exit(failure.exit_code)


def _take_a_gpu() -> None:
    """``cuda`` is the GPU of this process, one for each process of a host."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.set_device(ranks.local_rank() % torch.cuda.device_count())


def _say_where_one_is_alone() -> None:
    """`accelerate launch` starts one process on a machine without GPUs, however many it was asked for."""
    asked_for_several = "ACCELERATE_MIXED_PRECISION" in os.environ and "MASTER_PORT" in os.environ
    if asked_for_several and "WORLD_SIZE" not in os.environ:
        output.note(
            "the launcher was asked for several processes and started this one alone: without several GPUs, "
            "`accelerate launch` wants --multi_gpu too, also for processors"
        )

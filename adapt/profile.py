"""Where the time and the memory of a run go, stage by stage."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_STATUS = Path("/proc/self/status")
_PERIOD = 0.05


@dataclass
class StageCost:
    """What a stage has taken so far.

    Attributes:
        seconds: by the clock.
        cpu_seconds: of all threads, and of child processes that have ended.
        peak_bytes: the most memory that was resident while it ran, mapped pages of files too; 0 = not known.
        own_bytes: the same without pages of files, which the system may drop.
        count: items or users that it went through; 0 = not counted.
        unit: what they are.
    """

    seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_bytes: int = 0
    own_bytes: int = 0
    count: int = 0
    unit: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON; what is not known is left out."""
        found: dict[str, Any] = {"seconds": round(self.seconds, 3), "cpu_seconds": round(self.cpu_seconds, 3)}
        if self.peak_bytes:
            found |= {"peak_bytes": self.peak_bytes, "own_bytes": self.own_bytes}
        if self.count:
            rate = round(self.count / max(self.seconds, 1e-9), 1)
            found |= {"count": self.count, "unit": self.unit, "per_second": rate}
        return found


class Stages:
    """What each stage of a run takes; a stage that is entered again adds to its cost.

    A stage inside another one is a stage of its own: its time counts in both.

    Args:
        profile: whether memory is watched too, which takes a thread.

    >>> stages = Stages()
    >>> with stages.stage("encode", count=3, unit="items"):
    ...     pass
    >>> sorted(stages.costs["encode"].to_dict())
    ['count', 'cpu_seconds', 'per_second', 'seconds', 'unit']
    """

    def __init__(self, profile: bool = False) -> None:
        self.costs: dict[str, StageCost] = {}
        self.profile = profile

    @property
    def seconds(self) -> dict[str, float]:
        """Seconds by stage."""
        return {name: round(cost.seconds, 3) for name, cost in self.costs.items()}

    @contextmanager
    def stage(self, name: str, count: int = 0, unit: str = "") -> Iterator[None]:
        """Measure what happens inside the block.

        Args:
            name: of the stage.
            count: items or users that it goes through.
            unit: what they are.
        """
        cost = self.costs.setdefault(name, StageCost())
        started, worked = time.monotonic(), _processor_time()
        memory = _MemoryWatch() if self.profile else None
        try:
            yield
        finally:
            cost.seconds += time.monotonic() - started
            cost.cpu_seconds += _processor_time() - worked
            cost.count, cost.unit = cost.count + count, unit or cost.unit
            if memory is not None:
                peak, own = memory.stop()
                cost.peak_bytes, cost.own_bytes = max(cost.peak_bytes, peak), max(cost.own_bytes, own)

    def counted(self, name: str, count: int, unit: str) -> None:
        """Say how much a stage went through, where that is known only when it is over."""
        cost = self.costs[name]
        cost.count, cost.unit = cost.count + count, unit

    def to_dict(self) -> dict[str, dict[str, Any]]:
        """The stages in the order in which they began, ready for JSON."""
        return {name: cost.to_dict() for name, cost in self.costs.items()}


def _processor_time() -> float:
    spent = os.times()
    return spent.user + spent.system + spent.children_user + spent.children_system


class _MemoryWatch:
    """Looks at this process's memory twenty times a second: the system's own peak is that of the whole run."""

    def __init__(self) -> None:
        self._most = (0, 0)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def stop(self) -> tuple[int, int]:
        """The most that was resident, and the most without pages of files: bytes."""
        self._ended.set()
        self._thread.join()
        self._look()
        return self._most

    def _watch(self) -> None:
        while True:
            self._look()
            if self._ended.wait(_PERIOD):
                return

    def _look(self) -> None:
        now = resident()
        self._most = (max(self._most[0], now[0]), max(self._most[1], now[1]))


def resident() -> tuple[int, int]:
    """What is resident of this process now, and what of that are no pages of files: bytes; zeros off Linux."""
    try:
        lines = _STATUS.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return 0, 0
    named = dict(line.split(":", 1) for line in lines if ":" in line)
    sizes = {name: int(named[name].split()[0]) << 10 for name in ("VmRSS", "RssAnon") if name in named}
    return sizes.get("VmRSS", 0), sizes.get("RssAnon", 0)

"""A service that is as slow or as broken as a test needs, and counts what it is asked."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from adapt.errors import AdaptError, DataError
from adapt.workflows.live_types import Answer, Ask, Event, Written
from adapt.workflows.living_index import SearchOptions


@dataclass(eq=False)
class FakeService:
    """Every answer waits for ``open``; ``error`` ends what is asked in place of an answer."""

    open: threading.Event = field(default_factory=threading.Event)
    error: BaseException | None = None
    batches: list[int] = field(default_factory=list)
    recorded: list[Event] = field(default_factory=list)
    begun: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    def refresh(self) -> None:
        """Nothing changes elsewhere."""

    def methods(self) -> tuple[str, ...]:
        return ("few-shot",)

    def recommend(self, asks: Sequence[Ask]) -> list[Answer | AdaptError]:
        self._wait()
        self.batches.append(len(asks))
        return [
            DataError("expected a known item, found none")
            if ask.history == ("unknown",)
            else Answer((), "few-shot", "1")
            for ask in asks
        ]

    def by_text(self, text: str, options: SearchOptions) -> Answer:
        self._wait()
        return Answer((), "search", "1")

    def record(self, events: Sequence[Event], key: str = "") -> Written:
        self._wait()
        self.recorded += events
        return Written(recorded=len(events))

    def info(self) -> dict[str, Any]:
        return {"index": {"count": 0}, "memory": {"events": len(self.recorded)}}

    def _wait(self) -> None:
        self.begun.release()
        assert self.open.wait(20)
        if self.error is not None:
            raise self.error

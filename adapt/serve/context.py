"""What every route works with."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from adapt.errors import AdaptError
from adapt.serve.batching import Batcher, Worker
from adapt.serve.metrics import Metrics
from adapt.serve.pictures import Pictures
from adapt.serve.settings import Settings
from adapt.workflows.live_types import Answer, Ask

if TYPE_CHECKING:
    from adapt.workflows.live_service import LiveService


@dataclass(eq=False)
class Context:
    """A running service.

    Searches and recommendations are computed in one thread, because two would take turns on the interpreter anyway and
    a batch is cheaper than its parts; changes are written in another, and pictures are decoded beside both.

    Attributes:
        service: what answers.
        settings: the bounds.
        metrics: what is counted.
        compute: the thread that computes.
        writes: the thread that writes.
        uploads: decodes pictures that were sent, and the thread that waits for it.
        thumbnails: makes small pictures of stored ones, likewise.
        ready: whether requests are to be sent here.
        running: requests that are being read or answered.
        started: when, of the monotonic clock.
    """

    service: LiveService
    settings: Settings
    metrics: Metrics
    compute: Batcher[Ask, Answer]
    writes: Worker
    uploads: tuple[Pictures, Worker]
    thumbnails: tuple[Pictures, Worker]
    ready: bool = False
    running: int = 0
    started: float = field(default_factory=time.monotonic)

    @classmethod
    def over(cls, service: LiveService, settings: Settings) -> Context:
        """The context of a service; nothing is started."""
        metrics = Metrics()

        def recommend(asks: Sequence[Ask]) -> Sequence[Answer | AdaptError]:
            service.refresh()
            return service.recommend(asks)

        return cls(
            service,
            settings,
            metrics,
            Batcher("adapt-compute", settings.queue, answer=recommend, most=settings.batch, told=metrics.batched),
            Worker("adapt-writes", settings.write_queue, full=429),
            (Pictures(settings), Worker("adapt-uploads", settings.write_queue)),
            (Pictures(settings), Worker("adapt-thumbnails", settings.queue)),
        )

    def start(self) -> None:
        """Start the threads."""
        for worker in self._workers():
            worker.start()
        self.ready = True

    def stop(self) -> None:
        """End the threads when they have done what waits, and the processes."""
        self.ready = False
        for worker in self._workers():
            worker.close()
        for pictures, _ in (self.uploads, self.thumbnails):
            pictures.close()

    def waiting(self) -> dict[str, int]:
        """Requests that wait, by thread."""
        names = ("compute", "writes", "uploads", "thumbnails")
        return {name: worker.waiting() for name, worker in zip(names, self._workers(), strict=True)}

    async def searched(self, work: Any) -> Any:
        """What ``work`` finds in the newest generation, in the thread that computes."""

        def fresh() -> Any:
            self.service.refresh()
            return work()

        return await self.compute.do(fresh)

    def _workers(self) -> tuple[Worker, ...]:
        return self.compute, self.writes, self.uploads[1], self.thumbnails[1]

"""One thread that computes and one that writes, each with a bounded queue; waiting recommendations form a batch."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from adapt.errors import AdaptError
from adapt.serve.problems import busy

AskT = TypeVar("AskT")
AnswerT = TypeVar("AnswerT")
ResultT = TypeVar("ResultT")


@dataclass(frozen=True, eq=False)
class _Job(Generic[ResultT]):
    """What waits, and who waits for it."""

    work: Any
    future: asyncio.Future[ResultT]
    loop: asyncio.AbstractEventLoop

    def wanted(self) -> bool:
        return not self.future.done()

    def give(self, result: ResultT | BaseException) -> None:
        if self.future.done():  # its request has run out of time
            return
        if isinstance(result, BaseException):
            self.future.set_exception(result)
        else:
            self.future.set_result(result)


@dataclass(eq=False)
class Worker:
    """A thread that runs what is submitted, in turn; over ``length`` waiting jobs are refused at once.

    Args:
        name: of the thread.
        length: jobs that may wait.
        full: status of HTTP for what is refused.
    """

    name: str
    length: int
    full: int = 503
    _jobs: deque[_Job[Any]] = field(default_factory=deque)
    _state: threading.Condition = field(default_factory=threading.Condition)
    _closed: bool = False
    _thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread."""
        self._thread = threading.Thread(target=self._run, name=self.name, daemon=True)
        self._thread.start()

    async def do(self, work: Callable[[], ResultT]) -> ResultT:
        """Run ``work`` in the thread.

        Raises:
            ProblemError: too much is waiting, or the service stops.
        """
        loop = asyncio.get_running_loop()
        job: _Job[ResultT] = _Job(work, loop.create_future(), loop)
        self._add(self._jobs, job)
        return await job.future

    def waiting(self) -> int:
        """Jobs that wait."""
        return len(self._jobs)

    def close(self, seconds: float = 5.0) -> None:
        """Refuse new jobs, do those that wait, and end the thread."""
        with self._state:
            self._closed = True
            self._state.notify_all()
        if self._thread is not None:
            self._thread.join(seconds)

    def _add(self, jobs: deque[_Job[Any]], job: _Job[Any]) -> None:
        with self._state:
            if self._closed:
                raise busy("the service is stopping")
            if self.waiting() >= self.length:
                raise busy(f"expected at most {self.length} waiting requests of this kind", self.full)
            jobs.append(job)
            self._state.notify()

    def _run(self) -> None:
        while True:
            with self._state:
                while not self.waiting() and not self._closed:
                    self._state.wait()
                if not self.waiting():
                    return
                jobs = self._next()
            if jobs:
                self._do(jobs)

    def _next(self) -> Sequence[_Job[Any]]:
        return [job] if (job := self._jobs.popleft()).wanted() else []

    def _do(self, jobs: Sequence[_Job[Any]]) -> None:
        (job,) = jobs
        _deliver([(job, _outcome(job.work))])


@dataclass(eq=False)
class Batcher(Worker, Generic[AskT, AnswerT]):
    """A worker that answers the asks that wait together, and other jobs between two batches.

    Nothing waits for a batch to fill: one that comes while the thread is idle is answered alone.

    Args:
        answer: all of a batch; an error in place of an answer is that ask's own.
        most: asks in a batch.
        told: the size of each batch.
    """

    answer: Callable[[Sequence[AskT]], Sequence[AnswerT | AdaptError]] = lambda _asks: []
    most: int = 32
    told: Callable[[int], None] = lambda _size: None
    _asks: deque[_Job[Any]] = field(default_factory=deque)
    _asks_last: bool = False

    async def ask(self, one: AskT) -> AnswerT:
        """The answer to one ask.

        Raises:
            AdaptError: its own.
            ProblemError: too much is waiting, or the service stops.
        """
        loop = asyncio.get_running_loop()
        job: _Job[AnswerT] = _Job(one, loop.create_future(), loop)
        self._add(self._asks, job)
        return await job.future

    def waiting(self) -> int:
        """Asks and jobs that wait."""
        return len(self._jobs) + len(self._asks)

    def _next(self) -> Sequence[_Job[Any]]:
        self._asks_last = bool(self._asks) and not (self._jobs and self._asks_last)  # in turn where both wait
        if not self._asks_last:
            return super()._next()
        batch: list[_Job[Any]] = []
        while self._asks and len(batch) < self.most:
            if (job := self._asks.popleft()).wanted():
                batch.append(job)
        return batch

    def _do(self, jobs: Sequence[_Job[Any]]) -> None:
        if not self._asks_last:
            super()._do(jobs)
            return
        self.told(len(jobs))
        answers = _outcome(lambda: self.answer([job.work for job in jobs]))
        if isinstance(answers, BaseException):
            answers = [answers] * len(jobs)
        _deliver(list(zip(jobs, answers, strict=True)))


def _outcome(work: Callable[[], Any]) -> Any:
    """What ``work`` returns, or the exception that ends it: the thread itself goes on."""
    try:
        return work()
    except BaseException as error:  # noqa: BLE001 - it is raised again where the result is awaited
        return error


def _deliver(results: Sequence[tuple[_Job[Any], Any]]) -> None:
    """Hand results to the loop of those who wait, all at once."""

    def give() -> None:
        for job, result in results:
            job.give(result)

    loop = results[0][0].loop
    if not loop.is_closed():
        loop.call_soon_threadsafe(give)

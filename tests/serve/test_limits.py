"""Too much at once, too much in one request, too slow: refused at once, with when to come back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from adapt.errors import CheckpointError, OutputError
from adapt.serve.settings import Settings

from .asking import asking, recommend, record, run, until
from .fake_service import FakeService


def test_over_the_queue_a_request_is_refused_at_once_and_probes_are_not() -> None:
    async def work() -> None:
        fake = FakeService()
        async with asking(fake, Settings(queue=4)) as caller:
            waiting = [recommend(caller) for _ in range(4)]
            context = caller._transport.app.state.context  # type: ignore[attr-defined]
            await until(lambda: context.running == 4)
            start = time.monotonic()
            refused = [await recommend(caller) for _ in range(20)]
            assert time.monotonic() - start < 5
            assert {answer.status_code for answer in refused} == {503}
            assert {answer.headers["retry-after"] for answer in refused} == {"1"}
            assert refused[0].json()["type"] == "urn:adapt:problem:unavailable"
            for probe in ("/v1/health", "/v1/ready", "/metrics"):
                assert (await caller.get(probe)).status_code == 200
            assert context.running == 4  # nothing is kept of what was refused
            fake.open.set()
            assert [(await task).status_code for task in waiting] == [200] * 4
            assert (await recommend(caller)).status_code == 200

    run(work())


def test_too_many_changes_get_429_while_reads_go_on() -> None:
    async def work() -> None:
        fake = FakeService()
        async with asking(fake, Settings(write_queue=3)) as caller:
            writes = [record(caller)]
            await asyncio.to_thread(fake.begun.acquire)
            context = caller._transport.app.state.context  # type: ignore[attr-defined]
            writes += [record(caller) for _ in range(3)]
            await until(lambda: context.writes.waiting() == 3)
            refused = await record(caller)
            assert refused.status_code == 429
            assert refused.headers["retry-after"] == "1"
            fake.open.set()
            assert [(await task).status_code for task in writes] == [200] * 4
        assert len(fake.recorded) == 4

    run(work())


async def chunks(count: int, seconds: float = 0.0) -> AsyncIterator[bytes]:
    """A body without a declared length."""
    yield b'{"history": ["'
    for _ in range(count):
        await asyncio.sleep(seconds)
        yield b"a" * 1_000
    yield b'"]}'


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_that_is_too_large_is_refused(chunked: bool) -> None:
    async def work() -> None:
        async with asking(FakeService(), Settings(body_bytes=10_000)) as caller:
            content = chunks(20) if chunked else b"x" * 10_001
            answer = await caller.post("/v1/recommend", content=content, headers={"content-type": "application/json"})
            assert answer.status_code == 413
            assert answer.json()["type"] == "urn:adapt:problem:too-large"
            assert answer.headers["connection"] == "close"

    run(work())


def test_a_body_that_takes_too_long_is_given_up() -> None:
    async def work() -> None:
        async with asking(FakeService(), Settings(body_seconds=0.1)) as caller:
            headers = {"content-type": "application/json"}
            answer = await caller.post("/v1/recommend", content=chunks(50, 0.05), headers=headers)
            assert answer.status_code == 408

    run(work())


@pytest.mark.parametrize("length", ["-1", "1e9", "99999999999999999999999999", "٣"])
def test_a_length_that_is_none_is_refused(length: str) -> None:
    async def work() -> None:
        async with asking(FakeService()) as caller:
            headers = {"content-type": "application/json", "content-length": length.encode()}
            answer = await caller.post("/v1/recommend", content=chunks(1), headers=headers)  # type: ignore[arg-type]
            assert answer.status_code in (400, 413)

    run(work())


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ZeroDivisionError("secret in /srv/shop/x.py"), 500),
        (RecursionError("secret"), 500),
        (CheckpointError("expected an index in /srv/shop/index: secret", "secret"), 503),
        (OutputError("expected to write /srv/shop/memory: secret", "secret"), 507),
    ],
)
def test_an_error_of_ones_own_tells_nothing(error: Exception, status: int, caplog: pytest.LogCaptureFixture) -> None:
    async def work() -> None:
        fake = FakeService(error=error)
        fake.open.set()
        async with asking(fake) as caller:
            for answer in (await recommend(caller), await record(caller)):
                assert answer.status_code == status
                assert answer.headers["content-type"] == "application/problem+json"
                for leak in ("secret", "/srv", "Traceback", "ZeroDivision", ".py"):
                    assert leak not in answer.text
            fake.error = None
            assert (await recommend(caller)).status_code == 200  # the threads have outlived it

    run(work())
    assert "secret" in caplog.text  # the log is where it is told

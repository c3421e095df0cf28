"""Many requests at once to an application in this process."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar, cast

import httpx

from adapt.serve.app import create_app
from adapt.serve.security import NO_KEYS, Keys
from adapt.serve.settings import DEFAULTS, Settings
from adapt.workflows.live_service import LiveService

from .conftest import HERE
from .fake_service import FakeService

ResultT = TypeVar("ResultT")


@contextlib.asynccontextmanager
async def asking(
    service: FakeService, settings: Settings = DEFAULTS, keys: Keys = NO_KEYS
) -> AsyncIterator[httpx.AsyncClient]:
    """A caller of a service that is slow or broken."""
    app = create_app(cast(LiveService, service), settings, keys)
    app.state.context.start()
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    try:
        async with httpx.AsyncClient(transport=transport, base_url=HERE) as caller:
            yield caller
    finally:
        service.open.set()
        await asyncio.to_thread(app.state.context.stop)


async def until(true: Callable[[], bool], seconds: float = 10.0) -> None:
    """Wait for something to be so."""
    for _ in range(int(seconds / 0.005)):
        if true():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it did not come to be")


def recommend(caller: httpx.AsyncClient, history: str = "a") -> asyncio.Task[httpx.Response]:
    """Ask for recommendations beside what else is asked."""
    return asyncio.ensure_future(_posted(caller, "/v1/recommend", {"history": [history]}))


def record(caller: httpx.AsyncClient) -> asyncio.Task[httpx.Response]:
    """Record an event beside what else is asked."""
    return asyncio.ensure_future(_posted(caller, "/v1/events", {"user_id": "u", "item_id": "a"}))


async def _posted(caller: httpx.AsyncClient, path: str, body: Any) -> httpx.Response:
    return await caller.post(path, json=body)


def run(work: Awaitable[ResultT]) -> ResultT:
    """Run what is awaited."""

    async def within() -> ResultT:
        return await asyncio.wait_for(work, 30)

    return asyncio.run(within())

"""The application: routes, problems and bounds around a live service."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING

import anyio.to_thread
from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match

from adapt.errors import AdaptError
from adapt.serve.about import add_about
from adapt.serve.context import Context
from adapt.serve.documents import describe
from adapt.serve.limits import EncodedPath, Limits
from adapt.serve.metrics import Meter
from adapt.serve.problems import ProblemError, of_error
from adapt.serve.reads import add_reads
from adapt.serve.security import NO_KEYS, Guard, Keys
from adapt.serve.settings import DEFAULTS, Settings
from adapt.serve.writes import add_writes

if TYPE_CHECKING:
    from adapt.workflows.live_service import LiveService


def create_app(service: LiveService, settings: Settings = DEFAULTS, keys: Keys = NO_KEYS) -> FastAPI:
    """The service over HTTP.

    Args:
        service: what answers; it is closed by whoever opened it.
        settings: the bounds.
        keys: that are accepted; none = everyone, and only requests that name this machine as their host.

    Returns:
        The application; its ``state.context`` is the :class:`Context`.
    """
    context = Context.over(service, settings)

    @contextlib.asynccontextmanager
    async def running(_app: FastAPI) -> AsyncIterator[None]:
        context.start()
        yield
        await anyio.to_thread.run_sync(context.stop)

    app = FastAPI(lifespan=running, docs_url=None, redoc_url=None, redirect_slashes=False)
    app.state.context = context
    add_reads(app, context)
    add_writes(app, context)
    add_about(app, context)
    describe(app, keys=bool(keys))
    app.add_exception_handler(ProblemError, _handler(_as_it_is))
    app.add_exception_handler(AdaptError, _handler(_of_library))
    app.add_exception_handler(HTTPException, _handler(_of_http))
    # the last one added is the outermost
    app.add_middleware(Limits, context=context)
    app.add_middleware(Guard, keys=keys)
    app.add_middleware(EncodedPath)
    app.add_middleware(Meter, metrics=context.metrics)
    return app


def _handler(made: Callable[[Request, Exception], ProblemError]) -> Callable[[Request, Exception], Awaitable[Response]]:
    async def handle(request: Request, error: Exception) -> Response:
        return made(request, error).response()

    return handle


def _of_http(request: Request, error: Exception) -> ProblemError:
    """The problem of what the router refuses."""
    assert isinstance(error, HTTPException)
    if error.status_code == 404:
        return ProblemError(404, "expected a route of this service, found another path", "See /openapi.json.")
    if error.status_code == 405:
        allowed = sorted(
            {
                method
                for route in request.app.routes
                if route.matches(request.scope)[0] is not Match.NONE
                for method in route.methods
            }
        )
        return ProblemError(
            405, f"expected {' or '.join(allowed)}, found another method", headers={"Allow": ", ".join(allowed)}
        )
    return ProblemError(error.status_code, str(error.detail), headers=error.headers)


def _as_it_is(_request: Request, error: Exception) -> ProblemError:
    assert isinstance(error, ProblemError)
    return error


def _of_library(_request: Request, error: Exception) -> ProblemError:
    assert isinstance(error, AdaptError)
    return of_error(error)

"""The bounds of every request: its bytes, its time, and how many there are at once."""

from __future__ import annotations

import anyio
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from adapt.serve.context import Context
from adapt.serve.problems import ProblemError, busy, internal

PROBES = ("/v1/health", "/v1/ready", "/metrics")
"""Answered however much is waiting."""


class _GoneError(Exception):
    """The caller has hung up before the whole body was there."""


class Limits:
    """ASGI middleware: refuses at once what is too much, and ends what takes too long.

    A body is counted while it arrives, with or without a ``Content-Length``, and handed on whole.

    Args:
        app: what is bounded.
        context: its settings are the bounds.
    """

    def __init__(self, app: ASGIApp, context: Context) -> None:
        self._app, self._context, self._settings = app, context, context.settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = False

        async def send_once(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        problem: ProblemError | None = None
        try:
            await self._bounded(scope, receive, send_once)
        except ProblemError as error:
            problem = error
        except _GoneError:
            return
        except Exception as error:  # noqa: BLE001 - no trace may reach the caller
            problem = internal(error)
        if problem is not None and not started:
            await problem.response()(scope, receive, send)

    async def _bounded(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] in PROBES:
            await self._app(scope, receive, send)
            return
        if self._context.running >= self._settings.queue:
            raise busy(f"expected at most {self._settings.queue} requests at once")
        self._context.running += 1
        try:
            body = await self._body(scope, receive)
            with anyio.move_on_after(self._settings.seconds) as limit:
                await self._app(scope, _replay(body, receive), send)
            if limit.cancelled_caught:
                raise busy(
                    f"the request was not answered within {self._settings.seconds:g} seconds; a change may have been "
                    "made: asking again with the same Idempotency-Key makes it once"
                )
        finally:
            self._context.running -= 1

    async def _body(self, scope: Scope, receive: Receive) -> bytes:
        most = self._settings.body_bytes
        too_large = ProblemError(
            413, f"expected a body of at most {most:,} bytes, found more", headers={"Connection": "close"}
        )
        declared = Headers(scope=scope).get("content-length", "0")
        if not declared.isdigit() or int(declared[:20]) > most:
            raise too_large
        chunks, size = [], 0
        with anyio.move_on_after(self._settings.body_seconds) as limit:
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise _GoneError
                chunk = message.get("body", b"")
                size += len(chunk)
                if size > most:
                    raise too_large
                chunks.append(chunk)
                if not message.get("more_body", False):
                    break
        if limit.cancelled_caught:
            raise ProblemError(
                408,
                f"expected the whole body within {self._settings.body_seconds:g} seconds",
                headers={"Connection": "close"},
            )
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def _replay(body: bytes, receive: Receive) -> Receive:
    """The body as one message, then what else there is."""
    given = False

    async def replayed() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replayed


class EncodedPath:
    """ASGI middleware: routes see a path as it was sent, so that an id may hold a slash, and HEAD is answered as GET.

    Args:
        app: with the routes.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope["path"] = scope.get("raw_path", scope["path"].encode()).decode("latin-1")
        if scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return

        async def send_no_body(message: Message) -> None:
            await send({**message, "body": b""} if message["type"] == "http.response.body" else message)

        # a copy: the server below looks at its own scope to know that a body may be missing
        asked = {**scope, "method": "GET"}
        await self._app(asked, receive, send_no_body)
        if "route" in asked:
            scope["route"] = asked["route"]

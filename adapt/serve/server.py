"""One process that serves: its socket, its stop, and its readiness."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import signal
import socket
import sys
import threading
from collections.abc import Callable, Generator
from dataclasses import dataclass
from types import FrameType
from typing import Any

import torch
import uvicorn
from uvicorn.protocols.http.auto import AutoHTTPProtocol

from adapt.errors import UsageError
from adapt.serve.app import create_app
from adapt.serve.problems import ProblemError
from adapt.serve.security import HEADERS, NO_KEYS, Keys
from adapt.serve.settings import DEFAULTS, Settings
from adapt.workflows.live_service import LiveService

_SWITCH = 0.0005  # seconds after which a thread that computes lets the loop answer; Python's own 5 ms would be seen
_BACKLOG = 512


@dataclass(frozen=True)
class Address:
    """Where a service listens.

    Attributes:
        host: a name or number of this machine.
        port: 0 = any that is free.
    """

    host: str = "127.0.0.1"
    port: int = 8000


def bind(address: Address) -> socket.socket:
    """A socket that listens.

    Raises:
        UsageError: the port is taken, or the host is not of this machine.
    """
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(place)
        listener.listen(_BACKLOG)
    except socket.gaierror as error:
        raise UsageError(f"expected a host of this machine after --host, found {address.host!r}: {error}") from error
    except OSError as error:
        fix = "Stop what listens there, or choose another --port." if error.errno == errno.EADDRINUSE else ""
        reason = error.strerror or str(error)
        raise UsageError(f"expected to listen on {address.host}, port {address.port}, found: {reason}", fix) from error
    return listener


def url(listener: socket.socket) -> str:
    """Where a browser finds the service."""
    host, port = listener.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def serve(
    service: LiveService,
    listener: socket.socket,
    *,
    keys: Keys = NO_KEYS,
    settings: Settings = DEFAULTS,
    ready: Callable[[], None] = lambda: None,
) -> None:
    """Answer until SIGTERM or Ctrl-C; requests in flight are finished first.

    Args:
        service: what answers; it stays open.
        listener: the socket.
        keys: that are accepted.
        settings: the bounds.
        ready: called when the first request may come.
    """
    sys.setswitchinterval(_SWITCH)
    torch.set_num_threads(1)  # one thread computes, the other core is for the loop; more wait for each other
    app = create_app(service, settings, keys)
    config = uvicorn.Config(
        app,
        http=_bounded_protocol(settings),
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=_BACKLOG,
        timeout_graceful_shutdown=max(1, round(settings.stop_seconds)),
    )
    _Server(config, app.state.context, ready).run(sockets=[listener])


class _Server(uvicorn.Server):
    """Says when it is ready, and that it is not from the moment it is told to stop; a stop is a success."""

    def __init__(self, config: uvicorn.Config, context: Any, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._context, self._ready = context, ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        self._ready()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        if threading.current_thread() is not threading.main_thread():  # Python hands signals to no other
            yield
            return
        before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._context.ready = False
        super().handle_exit(sig, frame)


def _raw(problem: ProblemError) -> bytes:
    """An answer as it goes over the wire."""
    response = problem.response()
    headers = [*response.raw_headers, *((name.encode(), value.encode()) for name, value in HEADERS.items())]
    head = b"".join(b"%s: %s\r\n" % pair for pair in [*headers, (b"connection", b"close")])
    return b"HTTP/1.1 %d %s\r\n%s\r\n%s" % (problem.status, b"Bad Request", head, bytes(response.body))


def _bounded_protocol(settings: Settings) -> type[asyncio.Protocol]:
    """The server's protocol with a bound on open connections, and on the time that one may be silent at first."""
    base: Any = AutoHTTPProtocol

    class Bounded(base):  # type: ignore[misc]
        _silent: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:
            if len(self.connections) >= settings.connections:
                transport.abort()
                return
            super().connection_made(transport)
            self._silent = self.loop.call_later(settings.head_seconds, self._end_if_silent)

        def _end_if_silent(self) -> None:
            if self.cycle is None and not self.transport.is_closing():
                self.transport.close()

        def send_400_response(self, msg: str) -> None:
            """What cannot be read as HTTP is answered in the form of every other problem."""
            problem = ProblemError(400, f"expected a request of HTTP, found something else: {msg}")
            self.transport.write(_raw(problem))
            self.transport.close()

        def connection_lost(self, exc: Exception | None) -> None:
            if self._silent is not None:
                self._silent.cancel()
                super().connection_lost(exc)

    return Bounded

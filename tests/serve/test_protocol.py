"""What comes over the wire before it is a request: no HTTP, too many connections, connections that say nothing."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any, cast

import pytest
import uvicorn

from adapt.serve.server import Address, bind, serve
from adapt.serve.settings import Settings
from adapt.workflows.live_service import LiveService

from .fake_service import FakeService

FEW, SOON = 6, 0.5


@pytest.fixture(scope="module")
def address() -> Iterator[tuple[str, int]]:
    """A real server in a thread, with few connections and little patience."""
    running: list[uvicorn.Server] = []
    ready = threading.Event()
    known = uvicorn.Server.startup

    async def startup(self: uvicorn.Server, sockets: Any = None) -> None:
        running.append(self)
        await known(self, sockets=sockets)

    fake = FakeService()
    fake.open.set()
    with pytest.MonkeyPatch.context() as patch, bind(Address(port=0)) as listener:
        patch.setattr(uvicorn.Server, "startup", startup)
        place = listener.getsockname()
        settings = Settings(connections=FEW, head_seconds=SOON, body_seconds=SOON)
        thread = threading.Thread(
            target=lambda: serve(cast(LiveService, fake), listener, settings=settings, ready=ready.set)
        )
        thread.start()
        assert ready.wait(30)
        yield place
        running[0].should_exit = True
        thread.join(30)
        assert not thread.is_alive()


def received(connection: socket.socket) -> bytes:
    """Everything until the other side closes."""
    connection.settimeout(20)
    found = b""
    with contextlib.suppress(ConnectionResetError):
        while chunk := connection.recv(65_536):
            found += chunk
    return found


@pytest.mark.parametrize(
    "sent",
    [b"hello\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00", b"GET / HTTP/1.1\r\na b: c\r\n\r\n"],
)
def test_what_is_no_http_is_a_problem_too(address: tuple[str, int], sent: bytes) -> None:
    with socket.create_connection(address) as connection:
        connection.sendall(sent)
        head, _, body = received(connection).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert b"content-type: application/problem+json" in head
    assert b"content-security-policy: default-src 'none'" in head
    assert json.loads(body)["type"] == "urn:adapt:problem:malformed"


def test_a_connection_that_says_nothing_is_closed(address: tuple[str, int]) -> None:
    for sent in (b"", b"POST /v1/recom"):
        with socket.create_connection(address) as connection:
            connection.sendall(sent)
            start = time.monotonic()
            assert received(connection) == b""
            assert time.monotonic() - start > SOON / 2


def test_a_body_that_never_ends_is_given_up(address: tuple[str, int]) -> None:
    with socket.create_connection(address) as connection:
        connection.sendall(
            b"POST /v1/recommend HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Content-Length: 100\r\n\r\n{"
        )
        answer = received(connection)
    assert answer.startswith(b"HTTP/1.1 408 ")


def test_a_chunked_body_without_end_is_given_up_when_it_is_too_large(address: tuple[str, int]) -> None:
    with socket.create_connection(address) as connection:
        connection.sendall(
            b"POST /v1/recommend HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n"
        )
        chunk = b"100000\r\n" + b"x" * (1 << 20) + b"\r\n"
        sent = 0
        with contextlib.suppress(OSError):
            for _ in range(64):
                connection.sendall(chunk)
                sent += 1
        assert sent < 64 or received(connection).startswith(b"HTTP/1.1 413 ")


ASK = b"GET /v1/health HTTP/1.1\r\nHost: localhost\r\n\r\n"


def alive(connection: socket.socket) -> bool:
    """Whether a question is answered, whole."""
    connection.sendall(ASK)
    found = b""
    while not found.endswith(b'{"status":"alive"}') and (chunk := connection.recv(4_096)):
        found += chunk
    return found.startswith(b"HTTP/1.1 200 ")


def connected(address: tuple[str, int]) -> socket.socket:
    """A connection that is answered, as soon as there is room for it: one that was closed leaves after a moment."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        connection = socket.create_connection(address)
        with contextlib.suppress(ConnectionResetError, BrokenPipeError):
            if alive(connection):
                return connection
        connection.close()
        time.sleep(0.02)
    raise AssertionError("there was no room")


def test_over_the_bound_a_connection_is_refused_and_the_others_go_on(address: tuple[str, int]) -> None:
    with contextlib.ExitStack() as stack:
        held = [stack.enter_context(connected(address)) for _ in range(FEW)]
        more = stack.enter_context(socket.create_connection(address))
        assert received(more) == b""
        assert alive(held[0])
    connected(address).close()  # when they are gone there is room again

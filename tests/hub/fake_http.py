"""How a fake Hub speaks HTTP: requests are recorded, faults strike, then a route answers."""

from __future__ import annotations

import contextlib
import http.server
import json
import re
import time
import urllib.parse
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .fake_hub import FakeHub

Answer = Callable[[], None]


@dataclass
class Fault:
    """What goes wrong with the requests whose ``METHOD /path`` matches.

    Attributes:
        pattern: searched in the method and the path.
        status: answered instead; 0 = the right answer.
        times: how often; -1 = always.
        after: the connection is closed after so many bytes of the body; -1 = it is not.
        seconds: waited first.
        headers: of the answer with ``status``.
        body: of it.
        then: run when the fault strikes, such as a commit of somebody else.
    """

    pattern: str
    status: int = 0
    times: int = 1
    after: int = -1
    seconds: float = 0.0
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b"{}"
    then: Callable[[], object] | None = None


@dataclass(frozen=True)
class Asked:
    """A request: what it was for, from which byte on, and with which token."""

    method: str
    path: str
    range: str
    token: str


class Handler(http.server.BaseHTTPRequestHandler):
    hub: FakeHub
    routes: tuple[tuple[str, Callable[..., Answer]], ...] = ()
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        self.handle_one()

    do_HEAD = do_POST = do_PUT = do_DELETE = do_GET  # noqa: N815

    def handle_one(self) -> None:
        self.sent_after = -1
        parsed = urllib.parse.urlsplit(self.path)
        self.route = urllib.parse.unquote(parsed.path)
        self.query = dict(urllib.parse.parse_qsl(parsed.query))
        length = int(self.headers.get("Content-Length") or 0)
        self.content = self.rfile.read(length) if length else self.read_chunks()
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        with self.hub.lock:
            self.hub.asked.append(Asked(self.command, self.route, self.headers.get("Range") or "", token))
        self.account = self.hub.accounts.get(token)
        if fault := self.struck():
            time.sleep(fault.seconds)
            if fault.then is not None:
                fault.then()
            if fault.status:
                self.reply(fault.status, fault.body, headers=fault.headers)
                return
            self.sent_after = fault.after
        if token and self.account is None:
            self.refuse(401, "", "Invalid credentials in Authorization header")
            return
        self.answer()

    def read_chunks(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return b""
        parts = []
        while size := int(self.rfile.readline().strip() or b"0", 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def struck(self) -> Fault | None:
        with self.hub.lock:
            for fault in self.hub.faults:
                if fault.times and re.search(fault.pattern, f"{self.command} {self.route}"):
                    fault.times -= 1 if fault.times > 0 else 0
                    return fault
        return None

    def answer(self) -> None:
        for pattern, method in self.routes:
            if found := re.fullmatch(pattern, f"{self.command} {self.route}"):
                with self.hub.lock:
                    ready = method(self, **found.groupdict())
                ready()
                return
        self.refuse(404, "", f"no such route: {self.command} {self.route}")

    # -- answers

    def reply(
        self, status: int, content: bytes = b"", kind: str = "application/json", headers: Mapping[str, str] = {}
    ) -> None:
        self.send_response(status)
        given = {"Content-Type": kind, "Content-Length": str(len(content)), **headers}
        for name, value in given.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        with contextlib.suppress(ConnectionError):  # the client may have gone
            if 0 <= self.sent_after < len(content):
                self.wfile.write(content[: self.sent_after])
                self.wfile.flush()
                self.close_connection = True
            else:
                self.wfile.write(content)

    def json(self, value: object, status: int = 200) -> Answer:
        return lambda: self.reply(status, json.dumps(value).encode())

    def refuse(self, status: int, code: str, message: str) -> None:
        headers = {"X-Error-Code": code, "X-Error-Message": message}
        self.reply(status, json.dumps({"error": message}).encode(), headers={k: v for k, v in headers.items() if v})

    def refusal(self, status: int, code: str, message: str) -> Answer:
        return lambda: self.refuse(status, code, message)

    def log_message(self, *_: object) -> None:
        """Say nothing."""

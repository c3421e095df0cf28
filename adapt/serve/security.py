"""Who may ask: API keys, the name of the host, and the headers that keep a browser safe."""

from __future__ import annotations

import hmac
import ipaddress
import re
import secrets
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Literal, get_args

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from adapt.errors import UsageError
from adapt.serve.problems import ProblemError

Role = Literal["read", "write"]

HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "x-frame-options": "DENY",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
}
_RAW_HEADERS = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
OPEN = ("/v1/health", "/v1/ready", "/openapi.json", "/")
"""Paths that need no key: what a probe or a browser asks first; none of them tells of the catalog."""
PAGE = "/page/"
_READING = {"/v1/recommend", "/v1/similar", "/v1/search"}


@dataclass(frozen=True)
class Keys:
    """The hashes of the keys that are accepted.

    Attributes:
        read: SHA-256 of keys that may ask.
        write: of keys that may also change.
    """

    read: tuple[str, ...] = ()
    write: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.read or self.write)

    def role(self, key: str) -> Role | None:
        """What ``key`` allows; it is compared with every hash, each in constant time."""
        found: Role | None = None
        hashed = sha256(key.encode("utf-8", "surrogateescape")).hexdigest()
        for known in self.read:
            if hmac.compare_digest(hashed, known):
                found = "read"
        for known in self.write:
            if hmac.compare_digest(hashed, known):
                found = "write"
        return found


NO_KEYS = Keys()


def new_key(role: Role) -> tuple[str, str]:
    """A new key, and the line of the keys' file that accepts it."""
    key = f"adapt_{role}_{secrets.token_urlsafe(32)}"
    return key, f"{role} {sha256(key.encode()).hexdigest()}"


def read_keys(path: Path) -> Keys:
    """The keys of a file with lines ``read SHA256`` and ``write SHA256``; empty lines and ``#`` lines are skipped.

    Raises:
        UsageError: it cannot be read, holds no key, or a line is neither.
    """
    fix = "Make a key and its line with `adapt serve --new-key read` or `--new-key write`."
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"expected --api-keys to name a readable file, found {path}: {error}", fix) from error
    found: dict[str, list[str]] = {role: [] for role in get_args(Role)}
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        role, _, hashed = line.strip().partition(" ")
        if role not in found or re.fullmatch(r"[0-9a-f]{64}", hashed.strip()) is None:
            raise UsageError(
                f"expected 'read' or 'write' and 64 hexadecimal digits, found another line: {path}, {number}", fix
            )
        found[role].append(hashed.strip())
    keys = Keys(tuple(found["read"]), tuple(found["write"]))
    if not keys:
        raise UsageError(f"expected at least one key in {path}, found none", fix)
    return keys


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches ``host``."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


class Guard:
    """ASGI middleware: asks for a key where there are keys, and adds the security headers to every answer.

    Without keys the service is bound to loopback; a request must then name this machine as its host, because a page
    elsewhere can point a name of its own at 127.0.0.1 and would be allowed to read the answers.

    Args:
        app: what is guarded.
        keys: that are accepted; none = everyone on this machine.
    """

    def __init__(self, app: ASGIApp, keys: Keys) -> None:
        self._app, self._keys = app, keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_safely(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = [*message["headers"], *_RAW_HEADERS]
                if not any(name == b"cache-control" for name, _ in headers):
                    headers.append((b"cache-control", b"no-store"))
                message["headers"] = headers
            await send(message)

        try:
            self._check(scope)
        except ProblemError as problem:
            await problem.response()(scope, receive, send_safely)
            return
        await self._app(scope, receive, send_safely)

    def _check(self, scope: Scope) -> None:
        headers, path = Headers(scope=scope), scope["path"]
        if not self._keys:
            host = re.sub(r":\d*$", "", headers.get("host", ""))
            if not is_loopback(host):
                raise ProblemError(
                    421,
                    "expected the host to be this machine, found another name",
                    "Start the service with --api-keys.",
                )
            return
        if path in OPEN or path.startswith(PAGE):
            return
        role = self._keys.role(key) if (key := _presented(headers)) else None
        if role is None:
            raise ProblemError(
                401,
                "expected an API key that is known, found " + ("another one" if key else "none"),
                "Send it as `Authorization: Bearer KEY` or `X-API-Key: KEY`.",
                headers={"WWW-Authenticate": "Bearer"},
            )
        if role == "read" and scope["method"] not in ("GET", "HEAD", "OPTIONS") and path not in _READING:
            raise ProblemError(403, "expected a key that may change the index, found one that may read")


def _presented(headers: Headers) -> str:
    """The key of a request; empty = none."""
    scheme, _, key = headers.get("authorization", "").partition(" ")
    return key.strip() if scheme.lower() == "bearer" else headers.get("x-api-key", "")

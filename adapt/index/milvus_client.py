"""A connection to Milvus: made late, with limits of time, its errors told in our words and without secrets."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
import re
import threading
import time
from typing import Any
from urllib.parse import urlsplit

from adapt.errors import EngineError, MissingExtraError, UsageError
from adapt.index.engine import RemoteSettings

NOT_FOUND = 100
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 3.0
_SHORTEST = 0.5  # seconds that a request is given when the deadline is close
_DEEPEST = 5
_REFUSED = ("unauthenticated", "auth check failure", "permission", "privilege")
_AWAY = ("unavailable", "deadline", "timeout", "connect", "open local milvus failed")
_SCHEMES = ("http", "https", "tcp", "unix")
_EXTRA = 'pip install "adapt-mmrec[milvus]"'
_LITE = "pip install milvus-lite"


class MissingCollectionError(EngineError):
    """A collection is not there."""


class AwayError(EngineError):
    """A server did not answer."""


class Connection:
    """Requests to one server, from any thread; a process that was forked connects anew.

    A request is repeated with growing pauses while the server cannot be reached, until the timeout has passed. That is
    safe because every request is one that may be repeated: reads, and writes of rows under their own numbers.

    Args:
        settings: of the server; the token is read from its environment variable when a connection is made.
    """

    def __init__(self, settings: RemoteSettings) -> None:
        check_settings(settings)
        self.settings = settings
        self._client: Any = None
        self._process = 0
        self._lock = threading.Lock()

    def ask(self, what: str, method: str, *arguments: Any, timeout: float = 0.0, **named: Any) -> Any:
        """Make a request.

        Args:
            what: it is for, for an error: "searching", "adding rows".
            method: of pymilvus's client.
            arguments, named: of the method.
            timeout: seconds, where it may take longer than the settings say.

        Raises:
            EngineError: the server is away, refuses the token or the request.
            MissingExtraError: the client is not installed.
        """
        if self._client is None:
            check_installed(self.settings.uri)
        limit = max(timeout, self.settings.timeout)
        deadline, pause = time.monotonic() + limit, _FIRST_PAUSE
        while True:
            try:
                client = self._connected(max(_SHORTEST, deadline - time.monotonic()))
                return getattr(client, method)(*arguments, timeout=max(_SHORTEST, deadline - time.monotonic()), **named)
            except FileNotFoundError as error:
                raise UsageError(f"expected the certificates for Milvus to be files, found none: {error}") from error
            except _failures() as error:
                explained = self._explained(what, error, limit)
                if not isinstance(explained, AwayError) or time.monotonic() + pause >= deadline:
                    raise explained from None  # the cause's text may hold what the server was sent
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _explained(self, what: str, error: Any, limit: float) -> EngineError:
        """The error of a request in our words."""
        causes = [error]
        while causes[-1].__cause__ is not None and len(causes) < _DEEPEST:
            causes.append(causes[-1].__cause__)
        found = [self._without_token(_said(cause)) for cause in causes]
        text, where = " ".join(found).lower(), self.settings.uri
        said = _brief(self._without_token(str(getattr(error, "message", None) or error)))
        if any(word in text for word in _REFUSED):
            given = "what was found there was sent" if self._token() else "none is set there"
            return EngineError(
                f"expected Milvus at {where} to accept the token, found it refused while {what}",
                f"The token or user:password is read from ${self.settings.token_env}; {given}.",
            )
        if getattr(error, "code", None) == NOT_FOUND or "collection not found" in text:
            return MissingCollectionError(f"expected a collection in Milvus at {where}, found while {what}: {said}")
        if any(word in text for word in _AWAY):
            return AwayError(
                f"expected Milvus at {where} to answer within {limit:g} s, found no answer while {what}: {said}",
                self._reach(),
            )
        return EngineError(f"expected Milvus at {where} to do what it was asked, found while {what}: {said}")

    def _without_token(self, text: str) -> str:
        """``text`` without the token."""
        token = self._token()
        for secret in {token, token.rpartition(":")[2]} - {""}:
            text = text.replace(secret, "***")
        return text

    def _token(self) -> str:
        return os.environ.get(self.settings.token_env, "")

    def _reach(self) -> str:
        if is_embedded(self.settings.uri):
            return (
                "A file of Milvus Lite is open in one process at a time: end the other one, or let all of them use a "
                "server (`milvus-lite server --data-dir FOLDER`, or Milvus itself)."
            )
        return "Start it, or correct --uri (`adapt index move --engine milvus --uri URI`); then do the same again."

    def _connected(self, limit: float) -> Any:
        with self._lock:
            if self._client is None or self._process != os.getpid():
                self._client, self._process = self._connect(limit), os.getpid()
            return self._client

    def _connect(self, limit: float) -> Any:
        settings = self.settings
        # A connection of one's own: those that the client shares are told apart by address and token, not by TLS.
        options: dict[str, Any] = {"dedicated": True}
        if _is_secure(settings):
            options["secure"] = True
        if settings.cert:
            options |= {
                "client_pem_path": settings.cert,
                "client_key_path": settings.key,
                "ca_pem_path": settings.ca,
            }
        elif settings.ca:
            options["server_pem_path"] = settings.ca
        if settings.server_name:
            options["server_name"] = settings.server_name
        client_class = _client_class()
        return client_class(uri=settings.uri, token=self._token(), db_name=settings.database, timeout=limit, **options)


def check_settings(settings: RemoteSettings) -> None:
    """Make sure that settings can be meant.

    Raises:
        UsageError: they cannot; nothing secret is repeated.
    """
    uri = settings.uri
    parts = urlsplit(uri)
    if parts.username or parts.password:
        raise UsageError(
            "expected a URI without a user and a password, found them in it",
            f"Put the token or user:password into ${settings.token_env}; it is read from there and written nowhere.",
        )
    if not is_embedded(uri) and parts.scheme not in _SCHEMES:
        raise UsageError(
            f"expected the URI of a Milvus server (http://HOST:19530, https://...) or a file NAME.db, found {uri!r}"
        )
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,199}", settings.collection or "_"):
        raise UsageError(
            f"expected a collection's name of letters, digits and _, not starting with a digit, found "
            f"{settings.collection!r}"
        )
    if bool(settings.cert) != bool(settings.key) or (settings.cert and not settings.ca):
        raise UsageError("expected cert, key and ca together for a certificate of one's own, found only some of them")
    if settings.timeout <= 0 or settings.m < 2 or settings.ef_construction < 1:
        raise UsageError(
            "expected a timeout above 0, m of at least 2 and ef_construction of at least 1, found "
            f"{settings.timeout:g}, {settings.m} and {settings.ef_construction}"
        )


def is_embedded(uri: str) -> bool:
    """Whether a URI names a file of Milvus Lite, which runs inside this process."""
    return uri.endswith(".db") and "://" not in uri


def _is_secure(settings: RemoteSettings) -> bool:
    return urlsplit(settings.uri).scheme == "https" or bool(settings.ca or settings.cert)


def check_installed(uri: str) -> None:
    """Make sure that what asks a server, or opens a file, is installed; it is not imported.

    Raises:
        MissingExtraError: pymilvus, or for a file Milvus Lite, is not.
    """
    if importlib.util.find_spec("pymilvus") is None:
        raise MissingExtraError("the engine milvus needs pymilvus, found nothing of that name", _EXTRA)
    if is_embedded(uri) and importlib.util.find_spec("milvus_lite") is None:
        raise MissingExtraError(f"the file {uri} needs Milvus Lite, found no milvus_lite", _LITE)


def _client_class() -> Any:
    """pymilvus's client."""
    from pymilvus import MilvusClient

    # It logs every refusal with its trace, at ERROR; what a user should know is in the error that we raise.
    for name in ("pymilvus", "milvus_lite"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    return MilvusClient


def _failures() -> tuple[type[Exception], ...]:
    """What the client raises where a server is away or refuses."""
    import grpc
    from pymilvus.exceptions import MilvusException

    return (grpc.RpcError, MilvusException)


def _said(error: Any) -> str:
    """What an error says of itself, with its code."""
    parts = [getattr(error, "message", None) or str(error)]
    for name in ("code", "details"):
        value = getattr(error, name, None)
        parts.append(str(value() if callable(value) else value or ""))
    return " ".join(part for part in parts if part and part != "0")


def _brief(text: str) -> str:
    """The first line, cut."""
    with contextlib.suppress(IndexError):
        text = text.strip().splitlines()[0]
    return text if len(text) <= 300 else f"{text[:300]}..."

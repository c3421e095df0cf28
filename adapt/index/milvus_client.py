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
_ATTEMPTS = 3
_FIRST_PAUSE = 0.2
_REFUSED = ("unauthenticated", "auth check failure", "permission", "privilege")
_SCHEMES = ("http", "https", "tcp", "unix")
_EXTRA = 'pip install "adapt-mmrec[milvus]"'
_LITE = "pip install milvus-lite"


class MissingCollectionError(EngineError):
    """A collection is not there."""


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
        """
        client = self._connected()
        try:
            return getattr(client, method)(*arguments, timeout=max(timeout, self.settings.timeout), **named)
        except _failures() as error:
            raise self._explained(what, error) from None  # the cause's text may hold what the server was sent

    def _explained(self, what: str, error: Any) -> EngineError:
        """The error of a request in our words."""
        code = error.code() if callable(error.code) else error.code
        said = self._without_token(str(getattr(error, "message", "") or getattr(error, "details", str)() or code))
        text = f"{code} {said}".lower()
        where = self.settings.uri
        if any(word in text for word in _REFUSED):
            given = "the one that was found there" if self._token() else "none is set there"
            return EngineError(
                f"expected Milvus at {where} to accept the token, found it refused while {what}: {_brief(said)}",
                f"The token or user:password is read from ${self.settings.token_env} ({given}).",
            )
        if code == NOT_FOUND or "collection not found" in text or "can't find collection" in text:
            return MissingCollectionError(f"expected a collection in Milvus at {where}, found while {what}: {said}")
        if any(word in text for word in ("unavailable", "deadline", "timeout", "fail connecting", "connect")):
            return EngineError(
                f"expected Milvus at {where} to answer within {self.settings.timeout:g} s, found no answer while "
                f"{what}: {_brief(said)}",
                self._reach(),
            )
        return EngineError(f"expected Milvus at {where} to do what it was asked, found while {what}: {_brief(said)}")

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

    def _connected(self) -> Any:
        with self._lock:
            if self._client is None or self._process != os.getpid():
                self._client, self._process = self._connect(), os.getpid()
            return self._client

    def _connect(self) -> Any:
        client_class = _client_class(self.settings.uri)
        settings, pause = self.settings, _FIRST_PAUSE
        options: dict[str, Any] = {"secure": True} if _is_secure(settings) else {}
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
        for attempt in range(_ATTEMPTS):
            try:
                return client_class(
                    uri=settings.uri,
                    token=self._token(),
                    db_name=settings.database,
                    timeout=settings.timeout,
                    **options,
                )
            except OSError as error:
                raise UsageError(
                    f"expected the certificates for Milvus to be readable files, found: {error}"
                ) from error
            except _failures() as error:
                if attempt == _ATTEMPTS - 1 or _is_refusal(error):
                    raise self._explained("connecting", error) from None
            time.sleep(pause)
            pause *= 4
        raise AssertionError("the last attempt returns or raises")


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


def _is_refusal(error: Any) -> bool:
    text = f"{error} {getattr(error, 'message', '')}".lower()
    return any(word in text for word in (*_REFUSED, "illegal"))


def _client_class(uri: str) -> Any:
    """pymilvus's client.

    Raises:
        MissingExtraError: it, or for a file Milvus Lite, is not installed.
    """
    if importlib.util.find_spec("pymilvus") is None:
        raise MissingExtraError("the engine milvus needs pymilvus, found nothing of that name", _EXTRA)
    if is_embedded(uri) and importlib.util.find_spec("milvus_lite") is None:
        raise MissingExtraError(f"the file {uri} needs Milvus Lite, found no milvus_lite", _LITE)
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


def _brief(text: str) -> str:
    """The first line, cut."""
    with contextlib.suppress(IndexError):
        text = text.strip().splitlines()[0]
    return text if len(text) <= 300 else f"{text[:300]}..."

"""A server of Milvus Lite that asks for a token, speaks TLS, or comes up late: what Milvus Lite itself does not do."""

from __future__ import annotations

import base64
import contextlib
import subprocess
from collections.abc import Callable, Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
from milvus_lite.adapter.grpc.servicer import MilvusServicer
from milvus_lite.db import MilvusLite
from pymilvus.grpc_gen import milvus_pb2_grpc


class TokenAsked(grpc.ServerInterceptor):
    """Refuses every request without the token, as Milvus does."""

    def __init__(self, token: str) -> None:
        self._expected = base64.b64encode(token.encode()).decode()

    def intercept_service(self, continuation: Callable[[Any], Any], details: Any) -> Any:
        if dict(details.invocation_metadata).get("authorization") == self._expected:
            return continuation(details)

        def refuse(_: Any, context: grpc.ServicerContext) -> None:
            context.abort(grpc.StatusCode.UNAUTHENTICATED, "auth check failure, please check api key is correct")

        return grpc.unary_unary_rpc_method_handler(refuse)


@contextlib.contextmanager
def serving(
    folder: Path,
    *,
    port: int = 0,
    token: str = "",
    certificate: tuple[Path, Path] | None = None,
    ca: Path | None = None,
) -> Iterator[int]:
    """A server for as long as the block lasts; its port.

    Args:
        folder: of its data.
        port: 0 = any that is free.
        token: that it asks for; empty = none.
        certificate: its own and the key; None = no TLS.
        ca: that clients' certificates must be signed by; None = clients need none.
    """
    database = MilvusLite(str(folder))
    guards = [TokenAsked(token)] if token else []
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=2), interceptors=guards)
    milvus_pb2_grpc.add_MilvusServiceServicer_to_server(MilvusServicer(database), server)
    address = f"127.0.0.1:{port}"
    if certificate is None:
        bound = server.add_insecure_port(address)
    else:
        own, key = (path.read_bytes() for path in certificate)
        trusted = ca.read_bytes() if ca is not None else None
        credentials = grpc.ssl_server_credentials([(key, own)], trusted, require_client_auth=ca is not None)
        bound = server.add_secure_port(address, credentials)
    server.start()
    try:
        yield bound
    finally:
        server.stop(grace=0).wait()
        database.close()


def certificate(folder: Path, name: str) -> tuple[Path, Path]:
    """A self-signed certificate for ``milvus.test`` and its key."""
    paths = folder / f"{name}.pem", folder / f"{name}.key"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-days", "2", "-subj", "/CN=milvus.test", "-addext", "subjectAltName=DNS:milvus.test"),
            *("-keyout", str(paths[1]), "-out", str(paths[0])),
        ],
        check=True,
        capture_output=True,
    )
    return paths

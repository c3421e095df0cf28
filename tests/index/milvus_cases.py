"""Milvus for tests: a file of Milvus Lite inside this process, or the server of ``ADAPT_MILVUS_URI``."""

from __future__ import annotations

import importlib.util
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from adapt.index.engine import RemoteSettings

SERVER = "ADAPT_MILVUS_URI"
needs_lite = pytest.mark.skipif(
    importlib.util.find_spec("milvus_lite") is None or importlib.util.find_spec("pymilvus") is None,
    reason="needs Milvus Lite: pip install pymilvus milvus-lite",
)


def settings(uri: str | Path, **options: object) -> RemoteSettings:
    """A collection that no other test uses."""
    return RemoteSettings(uri=str(uri), collection=f"test_{uuid.uuid4().hex[:8]}", **options)  # type: ignore[arg-type]


def lite(folder: Path) -> Iterator[str]:
    """The path of a file of Milvus Lite, closed at the end."""
    from milvus_lite.server_manager import server_manager_instance

    path = str(folder / "milvus.db")
    yield path
    server_manager_instance.release_server(path)


def closed(path: str) -> None:
    """Let go of a file of Milvus Lite, so that another process can open it."""
    from milvus_lite.server_manager import server_manager_instance

    server_manager_instance.release_server(path)


def server() -> str:
    """The server to test against; skips where there is none."""
    uri = os.environ.get(SERVER, "")
    if not uri:
        pytest.skip(f"needs a Milvus server: set {SERVER} (recipes/milvus/compose.yaml starts one)")
    return uri

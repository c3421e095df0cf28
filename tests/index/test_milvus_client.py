"""A server that is away, refuses or comes late: clear errors in bounded time, and never a secret in them."""

from __future__ import annotations

import importlib.util
import logging
import shutil
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from adapt.errors import EngineError, MissingExtraError, UsageError
from adapt.index.engine import Identity, Rows, connect
from adapt.index.remote_index import RemoteIndex
from tests.ports import free_port

from .milvus_cases import lite, needs_lite, settings

TOKEN = "root:s3cret-Pa55"
IDENTITY = Identity("fingerprint", 4, "owner", "lineage", 2)


def url(port: int, scheme: str = "http") -> str:
    return f"{scheme}://127.0.0.1:{port}"


@needs_lite
def test_a_server_that_is_away_is_said_within_the_timeout() -> None:
    started = time.monotonic()
    with pytest.raises(EngineError, match="no answer while looking at collections") as caught:
        connect(settings(url(free_port()), timeout=2)).names()
    assert time.monotonic() - started < 20
    assert caught.value.exit_code == 4
    assert "--uri" in caught.value.hint


@needs_lite
def test_a_server_that_goes_away_is_asked_again_until_the_timeout(tmp_path: Path) -> None:
    from .guarded_milvus import serving

    with serving(tmp_path / "data") as port:
        server = connect(settings(url(port), timeout=2))
        assert "milvus_lite" in server.state()
    with pytest.raises(EngineError, match="within 2 s"):
        server.state()
    with serving(tmp_path / "data", port=port):
        assert "milvus_lite" in server.state()


@needs_lite
def test_a_server_that_comes_up_late_is_waited_for(tmp_path: Path) -> None:
    from .guarded_milvus import serving

    port, came = free_port(), threading.Event()

    def serve() -> None:
        time.sleep(0.3)
        with serving(tmp_path / "data", port=port):
            came.wait(30)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        assert connect(settings(url(port), timeout=10)).names() == []
    finally:
        came.set()
        thread.join()


@needs_lite
def test_the_token_is_passed_on_and_said_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    from .guarded_milvus import serving

    caplog.set_level(logging.DEBUG)
    with serving(tmp_path / "data", token=TOKEN) as port:
        asked = settings(url(port), token_env="MY_TOKEN", timeout=3)
        said = []
        for given in ("", "root:wrong-Pa55"):
            monkeypatch.setenv("MY_TOKEN", given)
            started = time.monotonic()
            with pytest.raises(EngineError, match="refused") as caught:
                connect(asked).names()
            assert time.monotonic() - started < 15
            assert "$MY_TOKEN" in caught.value.hint
            said += [str(caught.value), repr(caught.value.__cause__), repr(caught.value.__context__)]
        monkeypatch.setenv("MY_TOKEN", TOKEN)
        server = connect(asked)
        assert server.names() == []
        with pytest.raises(EngineError) as caught:
            server.open("missing", IDENTITY, ())
        said += [str(caught.value), repr(server.settings), caplog.text, *capfd.readouterr()]
    for secret in ("s3cret", "wrong-Pa55"):
        assert not any(secret in text for text in said)


@needs_lite
@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl to make a certificate")
def test_tls_is_spoken_and_certificates_are_checked(tmp_path: Path) -> None:
    from .guarded_milvus import certificate, serving

    own, client = certificate(tmp_path, "server"), certificate(tmp_path, "client")
    trusted = {"ca": str(own[0]), "server_name": "milvus.test", "timeout": 3}
    with serving(tmp_path / "data", certificate=own) as port:
        assert connect(settings(url(port, "https"), **trusted)).names() == []
        with pytest.raises(EngineError):
            connect(settings(url(port, "https"), **{**trusted, "ca": str(client[0])})).names()
        with pytest.raises(EngineError):
            connect(settings(url(port), timeout=2)).names()
    with serving(tmp_path / "both", certificate=own, ca=client[0]) as port:
        both = {"cert": str(client[0]), "key": str(client[1]), **trusted}
        assert connect(settings(url(port, "https"), **both)).names() == []
    with pytest.raises(UsageError, match="to be files"):
        connect(settings(url(port, "https"), ca=str(tmp_path / "none.pem"))).names()


@needs_lite
def test_an_index_that_is_of_another_length_or_not_ours_is_refused(tmp_path: Path) -> None:
    file = lite(tmp_path)
    asked = settings(next(file), index="FLAT")
    server = connect(asked)
    made = server.create(f"{asked.collection}_1", IDENTITY, ())
    with pytest.raises(EngineError, match="do what it was asked"):
        made.put(Rows(0, ["a"], np.zeros((1, 5), np.float32)))
    with pytest.raises(EngineError, match="found none"):
        server.open(f"{asked.collection}_2", IDENTITY, ())
    server._connection.ask("", "create_collection", "foreign", dimension=4)  # type: ignore[attr-defined]
    with pytest.raises(EngineError, match="not made by this package"):
        server.open("foreign", IDENTITY, ())
    with pytest.raises(EngineError, match="a collection of that name"):
        connect(settings(asked.uri).__class__(uri=asked.uri, collection="foreign")).free("owner", ())
    with pytest.raises(UsageError, match="Milvus Lite has"):
        connect(settings(asked.uri, index="DISKANN")).create("x_1", IDENTITY, ())
    next(file, None)


@needs_lite
def test_a_file_that_another_process_has_open_is_said(tmp_path: Path) -> None:
    import subprocess
    import sys

    path = tmp_path / "milvus.db"
    program = f"import milvus_lite.db, sys; milvus_lite.db.MilvusLite({str(path)!r}); print('open'); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        assert other.stdout.readline() == "open\n"
        with pytest.raises(EngineError) as caught:
            connect(settings(path, timeout=2)).names()
        assert "one process at a time" in caught.value.hint
        other.stdin.close()


@needs_lite
def test_a_collection_of_a_program_that_was_killed_is_removed_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = lite(tmp_path)
    asked = settings(next(file), index="FLAT")
    left = RemoteIndex(["a"], [[1.0, 0.0]], asked)
    left._drop.detach()  # as if it had been killed
    assert len(connect(asked).names()) == 1
    monkeypatch.setattr("adapt.index.remote_index._runs", lambda _: False)
    with_name = RemoteIndex(["a"], [[1.0, 0.0]], asked)
    assert connect(asked).names() == [with_name._entry.name]
    with_name.close()
    assert connect(asked).names() == []
    next(file, None)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"uri": "http://root:s3cret@127.0.0.1:1"}, "without a user and a password"),
        ({"uri": "milvus"}, "URI of a Milvus server"),
        ({"uri": "ftp://127.0.0.1"}, "URI of a Milvus server"),
        ({"cert": "a.pem"}, "together"),
        ({"cert": "a.pem", "key": "b.pem"}, "together"),
        ({"timeout": 0}, "timeout"),
        ({"m": 1}, "m of at least 2"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(options, said) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        connect(settings(options.pop("uri", "http://127.0.0.1:1"), **options))
    assert "s3cret" not in str(caught.value)


def test_a_collections_name_is_checked() -> None:
    asked = settings("http://127.0.0.1:1")
    for name in ("1abc", "a-b", "a b", "ä", "x" * 300):
        with pytest.raises(UsageError, match="letters, digits and _"):
            connect(type(asked)(uri=asked.uri, collection=name))


def test_a_client_that_is_not_installed_is_said_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    for absent, command in (("pymilvus", "adapt-mmrec[milvus]"), ("milvus_lite", "pip install milvus-lite")):
        monkeypatch.setattr(importlib.util, "find_spec", lambda name, gone=absent: None if name == gone else find(name))
        if absent == "milvus_lite" and find("pymilvus") is None:
            continue
        with pytest.raises(MissingExtraError) as caught:
            connect(settings("x.db")).names()
        assert command in caught.value.hint
        assert caught.value.exit_code == 6

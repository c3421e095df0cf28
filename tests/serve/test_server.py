"""The real command: it starts, says where it is, shares its port among processes, and stops when it has answered."""

from __future__ import annotations

import os
import re
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from adapt.errors import UsageError
from adapt.serve.security import new_key
from adapt.serve.server import Address, bind, url
from adapt.workflows.live_types import LiveOptions

from .processes import PATIENCE, serving

ASK = {"history": ["000", "003"], "k": 5}


def test_it_serves_and_what_is_in_flight_when_it_is_stopped_is_answered(options: LiveOptions) -> None:
    with serving(options) as served, served.caller() as caller:
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+", served.url)
        assert any(options.memory in line for line in served.said)
        assert caller.get("/v1/ready").json() == {"status": "ready"}
        assert len(caller.post("/v1/recommend", json=ASK).json()["items"]) == 5
        answers: list[int] = []
        items = [{"item_id": f"new {number}", "title": f"new thing {number}"} for number in range(300)]
        sent = threading.Thread(
            target=lambda: answers.append(
                httpx.put(f"{served.url}/v1/items", json={"items": items}, timeout=PATIENCE).status_code
            )
        )
        sent.start()
        _until_running(caller)
        assert served.stop() == 0
        sent.join()
        assert answers == [200]
        assert "stopped" in served.said[-1]
        with pytest.raises(httpx.TransportError):
            caller.get("/v1/health")


def _until_running(caller: httpx.Client) -> None:
    """Wait until the service is at a request."""
    for _ in range(2_000):
        if "adapt_requests_running 1.0" in caller.get("/metrics").text:
            return
        time.sleep(0.001)
    raise AssertionError("the request was never seen")


def test_processes_that_share_a_port_see_each_others_changes_and_are_replaced(
    options: LiveOptions, tmp_path: Path
) -> None:
    key, line = new_key("write")
    (tmp_path / "keys").write_text(line, encoding="utf-8")
    with serving(options, "--workers", "2", "--api-keys", str(tmp_path / "keys")) as served:
        headers = {"X-API-Key": key}

        def ask(number: int) -> tuple[int, str]:
            """One change and a look at it, each over a connection of its own, so that any process may answer."""
            item = f"w{number}"
            put = httpx.put(
                f"{served.url}/v1/items/{item}",
                json={"title": f"brass bell {number}"},
                headers=headers,
                timeout=PATIENCE,
            )
            got = httpx.get(f"{served.url}/v1/items/{item}", headers=headers, timeout=PATIENCE)
            return put.status_code, got.json().get("title", got.text)

        with ThreadPoolExecutor(4) as pool:
            assert list(pool.map(ask, range(12))) == [(200, f"brass bell {number}") for number in range(12)]
        assert httpx.get(f"{served.url}/v1/info").status_code == 401
        for _ in range(4):  # the data set's interactions began the memory once
            info = httpx.get(f"{served.url}/v1/info", headers=headers, timeout=PATIENCE).json()
            assert (info["memory"]["events"], info["index"]["count"]) == (60, 52)
        text = httpx.get(f"{served.url}/metrics", headers=headers).text
        assert 'adapt_requests_total{method="PUT",route="/v1/items/{item_id}",status="200"} 12.0' in text  # of both
        children = _children(served.process.pid)
        assert len(children) == 2
        time.sleep(max(0.0, 5.5 - _age(children[0])))  # one that dies right after its start would end the service
        os.kill(children[0], signal.SIGKILL)
        deadline = time.monotonic() + PATIENCE
        while len(set(_children(served.process.pid)) - set(children)) < 1:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert httpx.post(f"{served.url}/v1/recommend", json=ASK, headers=headers, timeout=PATIENCE).status_code == 200
        assert served.stop() == 0
        assert any("takes its place" in line for line in served.said)
        assert not [child for child in children if Path(f"/proc/{child}").exists()]


def _children(parent: int) -> list[int]:
    """The processes that answer: children of the one that was started."""
    found = Path(f"/proc/{parent}/task/{parent}/children").read_text(encoding="ascii").split()
    return [int(child) for child in found if "adapt.serve.workers" in Path(f"/proc/{child}/cmdline").read_text()]


def _age(process: int) -> float:
    return time.time() - Path(f"/proc/{process}").stat().st_ctime


def test_a_port_that_is_taken_is_named() -> None:
    with bind(Address("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert url(taken) == f"http://127.0.0.1:{port}"
        with pytest.raises(UsageError, match=str(port)) as caught:
            bind(Address("127.0.0.1", port))
        assert "--port" in caught.value.hint


@pytest.mark.parametrize("host", ["192.0.2.7", "no such host"])
def test_a_host_that_is_not_of_this_machine_is_named(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if " " in host:

        def unknown(*_: object, **__: object) -> None:
            raise socket.gaierror(-2, "Name or service not known")

        monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(UsageError, match=host):
        bind(Address(host, 0))

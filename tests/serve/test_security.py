"""Keys, the host's name, and the headers that a browser minds."""

from __future__ import annotations

import hmac
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from adapt.errors import UsageError
from adapt.serve.app import create_app
from adapt.serve.security import Keys, is_loopback, new_key, read_keys
from adapt.workflows.live_service import LiveService

READ, WRITE = "adapt_read_key", "adapt_write_key"
KEYS = Keys((sha256(b"another").hexdigest(), sha256(READ.encode()).hexdigest()), (sha256(WRITE.encode()).hexdigest(),))
READS: list[tuple[str, str, Any]] = [
    ("POST", "/v1/recommend", {"history": ["000"]}),
    ("POST", "/v1/similar", {"item_id": "000"}),
    ("POST", "/v1/search", {"text": "tent"}),
    ("GET", "/v1/items/000", None),
    ("GET", "/v1/items/000/picture", None),
    ("GET", "/v1/info", None),
    ("GET", "/metrics", None),
]
WRITES: list[tuple[str, str, Any]] = [
    ("PUT", "/v1/items/k", {"title": "k"}),
    ("PUT", "/v1/items", {"items": [{"item_id": "k", "title": "k"}]}),
    ("POST", "/v1/events", {"user_id": "u", "item_id": "000"}),
    ("DELETE", "/v1/items/k", None),
    ("DELETE", "/v1/items", {"item_ids": ["001"]}),
]


@pytest.fixture(scope="module")
def guarded(service: LiveService) -> Iterator[TestClient]:
    with TestClient(create_app(service, keys=KEYS), base_url="http://shop.example") as caller:
        yield caller


@pytest.mark.parametrize(("method", "path", "body"), [*READS, *WRITES])
def test_without_a_known_key_nothing_is_answered(guarded: TestClient, method: str, path: str, body: Any) -> None:
    for headers in (
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": f"Basic {WRITE}"},
        {"Authorization": "Bearer "},
        {"X-API-Key": WRITE[:-1]},
        {"X-API-Key": ""},
        {"X-API-Key": sha256(WRITE.encode()).hexdigest()},
    ):
        answer = guarded.request(method, path, json=body, headers=headers)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == "Bearer"
        assert answer.json()["type"] == "urn:adapt:problem:key-missing"


@pytest.mark.parametrize(("method", "path", "body"), READS)
def test_both_kinds_of_key_may_read(guarded: TestClient, method: str, path: str, body: Any) -> None:
    for headers in ({"Authorization": f"Bearer {READ}"}, {"X-API-Key": READ}, {"authorization": f"bearer {WRITE}"}):
        assert guarded.request(method, path, json=body, headers=headers).status_code == 200


@pytest.mark.parametrize(("method", "path", "body"), WRITES)
def test_only_a_write_key_may_change(guarded: TestClient, method: str, path: str, body: Any) -> None:
    refused = guarded.request(method, path, json=body, headers={"X-API-Key": READ})
    assert refused.status_code == 403
    assert refused.json()["type"] == "urn:adapt:problem:key-insufficient"
    assert guarded.request(method, path, json=body, headers={"X-API-Key": WRITE}).status_code == 200


def test_an_escaped_path_is_no_way_around_the_key(guarded: TestClient) -> None:
    for path in (
        "/v1/%65vents",
        "//v1/events",
        "/v1/./events",
        "/page/../v1/events",
        "/page/..%2fv1%2fevents",
        "/V1/events",
    ):
        answer = guarded.request("POST", path, json={"user_id": "u", "item_id": "000"}, headers={"X-API-Key": READ})
        assert answer.status_code in (403, 404, 405), path


@pytest.mark.parametrize("path", ["/", "/v1/health", "/v1/ready", "/openapi.json", "/page/main.js"])
def test_the_page_and_the_probes_need_no_key(guarded: TestClient, path: str) -> None:
    assert guarded.get(path).status_code == 200


def test_every_key_is_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[str, str]] = []
    known = hmac.compare_digest

    def compare(one: str, other: str) -> bool:
        compared.append((one, other))
        return known(one, other)

    monkeypatch.setattr(hmac, "compare_digest", compare)
    for key, role in (
        (READ, "read"),
        (WRITE, "write"),
        ("another", "read"),
        ("wrong", None),
        ("", None),
        ("\udcff", None),
    ):
        compared.clear()
        assert KEYS.role(key) == role
        assert {other for _, other in compared} == {*KEYS.read, *KEYS.write}  # whichever matches, all are looked at
        assert all(len(one) == 64 for one, _ in compared)  # hashes, never the keys themselves


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:8000", "localhost", "LOCALHOST:80", "[::1]:8000"])
def test_without_keys_this_machine_is_answered(client: TestClient, host: str) -> None:
    assert client.get("/v1/info", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:8000", "", "10.0.0.1"]
)
def test_without_keys_a_name_that_was_pointed_here_is_refused(client: TestClient, host: str) -> None:
    answer = client.get("/v1/info", headers={"Host": host})
    assert answer.status_code == 421
    assert answer.json()["type"] == "urn:adapt:problem:wrong-host"


@pytest.mark.parametrize("path", ["/", "/v1/info", "/v1/nothing", "/v1/items/000/picture", "/metrics", "/openapi.json"])
def test_every_answer_has_the_headers(client: TestClient, path: str) -> None:
    headers = client.get(path, headers={"Origin": "http://evil.example"}).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cache-control"]
    assert not [name for name in headers if name.startswith("access-control")]
    assert "server" not in headers


def test_a_browsers_question_about_another_origin_is_not_answered(client: TestClient) -> None:
    headers = {"Origin": "http://evil.example", "Access-Control-Request-Method": "PUT"}
    answer = client.options("/v1/items/x", headers=headers)
    assert answer.status_code == 405
    assert "access-control-allow-origin" not in answer.headers


def test_a_new_key_works_and_only_its_hash_is_kept(tmp_path: Path) -> None:
    read, write = new_key("read"), new_key("write")
    assert read[0] != new_key("read")[0]
    assert read[0] not in read[1]
    file = tmp_path / "keys"
    file.write_text(f"# of the shop\n{read[1]}\n\n{write[1]}\n", encoding="utf-8")
    keys = read_keys(file)
    assert (keys.role(read[0]), keys.role(write[0]), keys.role(read[1])) == ("read", "write", None)


@pytest.mark.parametrize(
    "text", ["", "# nothing", "read", "read abc", "admin " + "0" * 64, "read " + "g" * 64, "plain-key"]
)
def test_a_file_without_keys_is_refused_without_showing_what_is_in_it(tmp_path: Path, text: str) -> None:
    file = tmp_path / "keys"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError) as caught:
        read_keys(file)
    assert "adapt serve --new-key" in caught.value.hint
    assert "plain-key" not in str(caught.value)


def test_a_file_that_is_none_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "absent"):
        with pytest.raises(UsageError):
            read_keys(path)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "[::1]", "localhost"])
def test_only_this_machine_reaches(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "shop", "", "192.168.0.1", "127.0.0.1.example"])
def test_other_machines_reach(host: str) -> None:
    assert not is_loopback(host)

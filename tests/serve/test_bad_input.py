"""Malformed, huge, wrong-typed and strange requests to every route: each gets its problem, none gets further."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from starlette.testclient import TestClient

from .conftest import picture

JSON = {"content-type": "application/json"}
LONG = "x" * 513
PICTURE = base64.b64encode(picture()).decode()


@dataclass(frozen=True)
class Bad:
    """A request, and the status it must get."""

    what: str
    method: str
    path: str
    status: int
    content: bytes | None = None
    headers: Mapping[str, str | bytes] = field(default_factory=lambda: JSON)

    def __str__(self) -> str:
        return f"{self.method} {self.path[:24]} {self.what}".replace("/", "|")


def body(what: str, method: str, path: str, value: Any, status: int = 422) -> Bad:
    return Bad(what, method, path, status, json.dumps(value).encode())


def with_key(what: str, key: bytes) -> Bad:
    content = b'{"user_id":"u","item_id":"000"}'
    headers: dict[str, str | bytes] = {**JSON, "idempotency-key": key}
    return Bad(what, "POST", "/v1/events", 422, content, headers)


BODIES = {
    ("POST", "/v1/recommend"): {"history": ["000"]},
    ("POST", "/v1/similar"): {"item_id": "000"},
    ("POST", "/v1/search"): {"text": "tent"},
    ("PUT", "/v1/items/x"): {"title": "x"},
    ("PUT", "/v1/items"): {"items": [{"item_id": "x", "title": "x"}]},
    ("DELETE", "/v1/items"): {"item_ids": ["x"]},
    ("POST", "/v1/events"): {"user_id": "u", "item_id": "000"},
}

EVERYWHERE = [
    case
    for method, path in BODIES
    for case in (
        Bad("nothing", method, path, 400, b""),
        Bad("half a document", method, path, 400, b'{"history": ["000"'),
        Bad("text", method, path, 400, b"hello"),
        Bad("not UTF-8", method, path, 400, b'{"history": ["\xff\xfe"]}'),
        Bad("half a surrogate pair", method, path, 400, b'{"title":"\\ud800"}'),
        Bad("100,000 brackets", method, path, 400, b"[" * 100_000),
        Bad("a NUL", method, path, 400, b"\x00"),
        Bad("a list", method, path, 422, b"[]"),
        Bad("null", method, path, 422, b"null"),
        Bad("a string", method, path, 422, b'"x"'),
        Bad("a number of 5,000 digits", method, path, 400, b"9" * 5_000),
        Bad("another type", method, path, 415, b"{}", {"content-type": "text/plain"}),
        Bad("no type", method, path, 415, b"{}", {}),
        Bad("an XML type", method, path, 415, b"<a/>", {"content-type": "application/xml"}),
    )
]
WANTED = [
    case
    for path, asked in (
        ("/v1/recommend", {"history": ["000"]}),
        ("/v1/similar", {"item_id": "000"}),
        ("/v1/search", {"text": "tent"}),
    )
    for case in (
        body("k of 0", "POST", path, {**asked, "k": 0}),
        body("k of -1", "POST", path, {**asked, "k": -1}),
        body("k of 1,001", "POST", path, {**asked, "k": 1_001}),
        body("k as text", "POST", path, {**asked, "k": "10"}),
        body("k as a fraction", "POST", path, {**asked, "k": 1.5}),
        body("k as true", "POST", path, {**asked, "k": True}),
        body("k of 10^400", "POST", path, {**asked, "k": 10**400}),
        body("diversity NaN", "POST", path, {**asked, "diversity": float("nan")}),
        body("diversity infinite", "POST", path, {**asked, "diversity": float("inf")}),
        body("diversity of 2", "POST", path, {**asked, "diversity": 2}),
        body("a condition without an operator", "POST", path, {**asked, "where": ["price"]}),
        body("a condition on no number", "POST", path, {**asked, "where": ["price<cheap"]}),
        body("a condition on no column", "POST", path, {**asked, "where": ["=1"]}),
        body("a condition on an unknown column", "POST", path, {**asked, "where": ["colour=red"]}),
        body("an empty condition", "POST", path, {**asked, "where": [""]}),
        body("a condition of spaces", "POST", path, {**asked, "where": ["a" + " " * 500]}),
        body("a condition of 513 characters", "POST", path, {**asked, "where": ["a=" + LONG]}),
        body("a condition as text", "POST", path, {**asked, "where": "price<5"}),
        body("21 conditions", "POST", path, {**asked, "where": ["price<5"] * 21}),
        body("10,001 allowed ids", "POST", path, {**asked, "allow": ["a"] * 10_001}),
        body("a number denied", "POST", path, {**asked, "deny": [1]}),
        body("an unknown field", "POST", path, {**asked, "colour": "red"}),
        body("a field of the class", "POST", path, {**asked, "__class__": "x"}),
    )
]
OWN = [
    body("neither history nor user", "POST", "/v1/recommend", {}),
    body("both history and user", "POST", "/v1/recommend", {"history": ["000"], "user_id": "u1"}),
    body("an empty history", "POST", "/v1/recommend", {"history": []}),
    body("a history as text", "POST", "/v1/recommend", {"history": "000"}),
    body("a number in the history", "POST", "/v1/recommend", {"history": [0]}),
    body("an empty id", "POST", "/v1/recommend", {"history": [""]}),
    body("a control character", "POST", "/v1/recommend", {"history": ["0\u0000"]}),
    body("a line break at the end", "POST", "/v1/recommend", {"history": ["000\n"]}),
    body("an id of 513 characters", "POST", "/v1/recommend", {"history": [LONG]}),
    body("1,001 ids", "POST", "/v1/recommend", {"history": ["000"] * 1_001}),
    body("an unknown method", "POST", "/v1/recommend", {"history": ["000"], "method": "magic"}),
    body("explain as text", "POST", "/v1/recommend", {"history": ["000"], "explain": "yes"}),
    body("only unknown items", "POST", "/v1/recommend", {"history": ["\u202e", "🦄"]}, 404),
    body("no text", "POST", "/v1/search", {"text": ""}),
    body("2,001 characters", "POST", "/v1/search", {"text": "x" * 2_001}),
    body("a number as text", "POST", "/v1/search", {"text": 5}),
    body("no item", "POST", "/v1/similar", {}),
    Bad("a broken escape", "GET", "/v1/items/%ff", 422, None, {}),
    Bad("a NUL in the id", "GET", "/v1/items/%00", 422, None, {}),
    Bad("a long id", "GET", f"/v1/items/{LONG}", 422, None, {}),
    Bad("a path for an id", "GET", "/v1/items/..%2f..%2fetc%2fpasswd", 404, None, {}),
    Bad("a size of 0", "GET", "/v1/items/000/picture?size=0", 422, None, {}),
    Bad("a huge size", "GET", "/v1/items/000/picture?size=1000000000", 422, None, {}),
    Bad("a size as text", "GET", "/v1/items/000/picture?size=big", 422, None, {}),
    Bad("a size in other digits", "GET", "/v1/items/000/picture?size=٦٤", 422, None, {}),
    Bad("a size as a fraction", "GET", "/v1/items/000/picture?size=1e3", 422, None, {}),
    body("nothing to embed", "PUT", "/v1/items/x", {}),
    body("only a price of NaN", "PUT", "/v1/items/x", {"title": "x", "price": float("nan")}),
    body("a price of true", "PUT", "/v1/items/x", {"title": "x", "price": True}),
    body("a list as a column", "PUT", "/v1/items/x", {"title": "x", "tags": ["a"]}),
    body("null as a title", "PUT", "/v1/items/x", {"title": None}),
    body("65 columns", "PUT", "/v1/items/x", {"title": "x", **{f"c{n}": 1 for n in range(65)}}),
    body("a long name of a column", "PUT", "/v1/items/x", {"title": "x", "c" * 129: 1}),
    body("a column without a name", "PUT", "/v1/items/x", {"title": "x", "": 1}),
    body("a line break in a name", "PUT", "/v1/items/x", {"title": "x", "a\nb": 1}),
    body("a title of 20,001 characters", "PUT", "/v1/items/x", {"title": "x" * 20_001}),
    body("another id inside", "PUT", "/v1/items/x", {"title": "x", "item_id": "y"}),
    body("no base64", "PUT", "/v1/items/x", {"title": "x", "image_base64": "???"}),
    body("base64 of no picture", "PUT", "/v1/items/x", {"title": "x", "image_base64": "aGVsbG8="}),
    body("half a picture", "PUT", "/v1/items/x", {"title": "x", "image_base64": PICTURE[:400]}),
    body("a path as a picture", "PUT", "/v1/items/x", {"title": "x", "image": "/etc/passwd"}),
    body("an item without an id", "PUT", "/v1/items", {"items": [{"title": "x"}]}),
    body("no items", "PUT", "/v1/items", {"items": []}),
    body("1,001 items", "PUT", "/v1/items", {"items": [{"item_id": str(n), "title": "x"} for n in range(1_001)]}),
    body("an item twice", "PUT", "/v1/items", {"items": [{"item_id": "x", "title": "x"}] * 2}),
    body("one bad item of two", "PUT", "/v1/items", {"items": [{"item_id": "x", "title": "x"}, {"item_id": "y"}]}),
    body("no ids", "DELETE", "/v1/items", {"item_ids": []}),
    body("10,001 ids", "DELETE", "/v1/items", {"item_ids": ["x"] * 10_001}),
    body("an unknown id", "DELETE", "/v1/items", {"item_ids": ["000", "no"]}, 404),
    Bad("an unknown id", "DELETE", "/v1/items/no", 404, None, {}),
    body("a time of NaN", "POST", "/v1/events", {"user_id": "u", "item_id": "000", "timestamp": float("nan")}),
    body("a time in ms", "POST", "/v1/events", {"user_id": "u", "item_id": "000", "timestamp": 1_767_225_600_000}),
    body("a time before 1970", "POST", "/v1/events", {"user_id": "u", "item_id": "000", "timestamp": -1}),
    body("a time as text", "POST", "/v1/events", {"user_id": "u", "item_id": "000", "timestamp": "2026-01-01"}),
    body("a user of 0 characters", "POST", "/v1/events", {"user_id": "", "item_id": "000"}),
    body("an unknown item", "POST", "/v1/events", {"user_id": "u", "item_id": "no"}, 404),
    body("no events", "POST", "/v1/events", {"events": []}),
    body("10,001 events", "POST", "/v1/events", {"events": [{"user_id": "u", "item_id": "000"}] * 10_001}),
    body("events and a user", "POST", "/v1/events", {"events": [{"user_id": "u", "item_id": "000"}], "user_id": "u"}),
    with_key("an empty key", b""),
    with_key("a key of 129 characters", b"k" * 129),
    with_key("a key with a tab inside", b"a\tb"),
    with_key("a key beyond ASCII", b"k\xe9"),
    Bad("no route", "GET", "/v1/nothing", 404, None, {}),
    Bad("a route with a slash more", "POST", "/v1/recommend/", 404, b"{}"),
    Bad("a path upwards", "GET", "/page/..%2fsecurity.py", 404, None, {}),
    Bad("the code of the page's folder", "GET", "/page/__init__.py", 404, None, {}),
    Bad("another method", "GET", "/v1/recommend", 405, None, {}),
    Bad("another method", "PATCH", "/v1/items/x", 405, b"{}"),
    Bad("an invented method", "BREW", "/v1/health", 405, None, {}),
]  # fmt: skip

BOUNDARY = {"content-type": "multipart/form-data; boundary=B"}


def part(name: str, value: bytes, file: str = "") -> bytes:
    more = f'; filename="{file}"' if file else ""
    return f'--B\r\nContent-Disposition: form-data; name="{name}"{more}\r\n\r\n'.encode() + value + b"\r\n"


END = b"--B--\r\n"
FORMS = [
    case
    for method, path in (("POST", "/v1/search"), ("PUT", "/v1/items/x"))
    for case in (
        Bad("no boundary", method, path, 400, b"x", {"content-type": "multipart/form-data"}),
        Bad("no form", method, path, 400, b"hello", BOUNDARY),
        Bad("an empty form", method, path, 422, END, BOUNDARY),
        Bad("text for a picture", method, path, 422, part("image", b"x") + END, BOUNDARY),
        Bad("no picture", method, path, 422, part("image", b"hello", "a.png") + END, BOUNDARY),
        Bad("an empty picture", method, path, 422, part("image", b"", "a.png") + END, BOUNDARY),
        Bad("a program as a picture", method, path, 422, part("image", b"%!PS\n", "a.eps") + END, BOUNDARY),
        Bad("a file of another name", method, path, 422, part("file", picture(), "a") + END, BOUNDARY),
        Bad("two pictures", method, path, 400, 2 * part("image", picture(), "a") + END, BOUNDARY),
        Bad("a head without a name", method, path, 400, b"--B\r\n\r\nx\r\n" + END, BOUNDARY),
    )
] + [
    Bad("k as text", "POST", "/v1/search", 422, part("image", picture(), "a") + part("k", b"x") + END, BOUNDARY),
    Bad("k twice", "POST", "/v1/search", 422, part("image", picture(), "a") + 2 * part("k", b"1") + END, BOUNDARY),
    Bad("NaN", "POST", "/v1/search", 422, part("image", picture(), "a") + part("diversity", b"nan") + END, BOUNDARY),
    Bad("an unknown field", "POST", "/v1/search", 422, part("image", picture(), "a") + part("x", b"1") + END, BOUNDARY),
    Bad("a title twice", "PUT", "/v1/items/x", 422, 2 * part("title", b"x") + END, BOUNDARY),
]  # fmt: skip


@pytest.mark.parametrize("bad", [*EVERYWHERE, *WANTED, *OWN, *FORMS], ids=str)
def test_a_bad_request_gets_its_problem(client: TestClient, bad: Bad) -> None:
    headers = [
        (name.encode(), value.encode() if isinstance(value, str) else value) for name, value in bad.headers.items()
    ]
    answer = client.request(bad.method, bad.path, content=bad.content, headers=headers)  # type: ignore[arg-type]
    assert answer.status_code == bad.status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == bad.status
    assert problem["type"].startswith("urn:adapt:problem:")
    assert problem["title"]
    assert problem["detail"]
    assert len(answer.content) < 4_000  # however huge the request was
    for leak in ("/tmp", "site-packages", "Traceback", ".py", "pydantic"):
        assert leak not in answer.text


def test_nothing_of_all_that_was_taken_in(client: TestClient) -> None:
    assert client.get("/v1/info").json()["memory"]["events"] == 60


def test_405_names_every_method_of_the_path(client: TestClient) -> None:
    assert client.patch("/v1/items/x").headers["allow"] == "DELETE, GET, PUT"
    assert client.get("/v1/events").headers["allow"] == "POST"


def test_says_where_each_field_stands(client: TestClient) -> None:
    answer = client.put("/v1/items", json={"items": [{"item_id": "x", "title": "x"}, {"item_id": "", "title": 5}]})
    assert {error["pointer"] for error in answer.json()["errors"]} == {"#/items/1/item_id", "#/items/1/title"}
    answer = client.post("/v1/search", json={"text": "x", "where": ["price<5", "price"]})
    assert answer.json()["errors"][0]["pointer"] == "#/where/1"


@pytest.mark.parametrize(
    "strange", ["0070", "NA", "a/b", "ünï 🦄", "a?b#c&d=e%20", "'; DROP TABLE events; --", "%2F", "..", "x/picture"]
)
def test_strange_ids_are_ids(client: TestClient, strange: str) -> None:
    path = "/v1/items/" + "".join(f"%{byte:02x}" for byte in strange.encode())
    assert client.put(path, json={"title": "strange thing"}).json()["added"] == 1
    assert client.get(path).json()["item_id"] == strange
    assert client.post("/v1/events", json={"user_id": strange, "item_id": strange}).json()["recorded"] == 1
    assert client.post("/v1/recommend", json={"user_id": strange}).status_code == 200
    assert client.post("/v1/similar", json={"item_id": strange, "deny": ["000"]}).status_code == 200
    assert client.delete(path).json()["removed"] == 1

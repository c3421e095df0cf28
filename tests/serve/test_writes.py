"""Items and events through the service: there at once, gone at once, done once."""

from __future__ import annotations

import base64
from typing import Any
from urllib.parse import quote

import pytest
from starlette.testclient import TestClient

from .conftest import picture
from .test_reads import ids


def found(client: TestClient, text: str) -> list[str]:
    return ids(client.post("/v1/search", json={"text": text, "k": 3}))


def test_an_item_is_found_the_moment_it_is_added_and_not_after_it_is_removed(client: TestClient) -> None:
    item = {"title": "Copper kettle", "description": "for the hob", "category": "kitchen", "price": 35, "weight": 0.75}
    added = client.put("/v1/items/kettle", json=item)
    assert added.status_code == 200, added.text
    assert {name: added.json()[name] for name in ("added", "replaced", "removed", "replayed")} == {
        "added": 1, "replaced": 0, "removed": 0, "replayed": False,
    }  # fmt: skip
    count = added.json()["items"]
    assert found(client, "copper kettle")[0] == "kettle"
    columns = client.get("/v1/items/kettle").json()["columns"]
    assert (columns["price"], columns["weight"], columns["category"]) == ("35", "0.75", "kitchen")
    again = client.put("/v1/items/kettle", json={"title": "Iron kettle"}).json()
    assert (again["added"], again["replaced"], again["items"]) == (0, 1, count)
    assert client.get("/v1/items/kettle").json()["columns"].get("category", "") == ""
    assert client.delete("/v1/items/kettle").json()["removed"] == 1
    assert "kettle" not in found(client, "iron kettle")
    assert client.get("/v1/items/kettle").status_code == 404


def test_many_items_at_once_all_or_none(client: TestClient) -> None:
    items = [{"item_id": f"new/{number} ü", "title": f"Blue lamp {number}"} for number in range(3)]
    assert client.put("/v1/items", json={"items": items}).json()["added"] == 3
    assert set(found(client, "blue lamp")) == {item["item_id"] for item in items}
    removed = client.request("DELETE", "/v1/items", json={"item_ids": ["new/0 ü", "nowhere"]})
    assert removed.status_code == 404
    assert client.get(f"/v1/items/{quote('new/0 ü', safe='')}").json()["title"] == "Blue lamp 0"
    gone = client.request("DELETE", "/v1/items", json={"item_ids": [item["item_id"] for item in items]})
    assert gone.json()["removed"] == 3


@pytest.mark.parametrize("sent", ["form", "base64"])
def test_an_item_with_a_picture(client: TestClient, sent: str) -> None:
    data = picture("green", (900, 3_000), "JPEG")
    if sent == "form":
        answer = client.put(
            f"/v1/items/{sent}", data={"title": "Disc", "colour": "green"}, files={"image": ("x", data)}
        )
    else:
        body = {"title": "Disc", "colour": "green", "image_base64": base64.b64encode(data).decode()}
        answer = client.put(f"/v1/items/{sent}", json=body)
    assert answer.status_code == 200, answer.text
    facts = client.get(f"/v1/items/{sent}").json()
    assert facts["has_picture"] is True
    assert facts["columns"]["colour"] == "green"
    small = client.get(f"/v1/items/{sent}/picture?size=100")
    assert small.headers["content-type"] == "image/jpeg"
    assert sent in ids(client.post("/v1/search", files={"image": ("x", data)}, data={"k": "2"}))
    client.delete(f"/v1/items/{sent}")


def test_a_picture_alone_is_an_item(client: TestClient) -> None:
    assert client.put("/v1/items/bare", files={"image": ("x", picture("black"))}).json()["added"] == 1
    client.delete("/v1/items/bare")


def test_an_event_changes_the_next_recommendation(client: TestClient) -> None:
    assert client.post("/v1/recommend", json={"user_id": "newcomer"}).status_code == 404
    answer = client.post("/v1/events", json={"user_id": "newcomer", "item_id": "000"})
    assert answer.json() == {"recorded": 1, "replayed": False}
    first = ids(client.post("/v1/recommend", json={"user_id": "newcomer", "k": 5}))
    assert "000" not in first
    many = [{"user_id": "newcomer", "item_id": item, "timestamp": 10.5} for item in ("004", "012")]
    assert client.post("/v1/events", json={"events": many}).json()["recorded"] == 2
    second = ids(client.post("/v1/recommend", json={"user_id": "newcomer", "k": 5}))
    assert second != first
    assert not {"000", "004", "012"} & set(second)


def test_an_event_of_an_unknown_item_is_refused_with_all_beside_it(client: TestClient) -> None:
    before = client.get("/v1/info").json()["memory"]["events"]
    events = [{"user_id": "u", "item_id": "000"}, {"user_id": "u", "item_id": "nowhere"}]
    assert client.post("/v1/events", json={"events": events}).status_code == 404
    assert client.get("/v1/info").json()["memory"]["events"] == before


@pytest.mark.parametrize(
    ("method", "path", "body", "other"),
    [
        ("PUT", "/v1/items/once", {"title": "Once"}, {"title": "Twice"}),
        ("PUT", "/v1/items", {"items": [{"item_id": "a", "title": "A"}]}, {"items": [{"item_id": "a", "title": "B"}]}),
        ("POST", "/v1/events", {"user_id": "once", "item_id": "001"}, {"user_id": "once", "item_id": "002"}),
    ],
)  # fmt: skip
def test_a_key_makes_a_change_once(client: TestClient, method: str, path: str, body: Any, other: Any) -> None:
    headers = {"Idempotency-Key": f"{method} {path} 1"}
    first = client.request(method, path, json=body, headers=headers)
    again = client.request(method, path, json=body, headers=headers)
    assert first.status_code == again.status_code == 200
    assert (first.json()["replayed"], again.json()["replayed"]) == (False, True)
    assert {**again.json(), "replayed": False} == first.json()
    conflict = client.request(method, path, json=other, headers=headers)
    assert conflict.status_code == 409
    assert conflict.json()["type"] == "urn:adapt:problem:conflict"


def test_a_removal_with_a_key_is_answered_again(client: TestClient) -> None:
    client.put("/v1/items/leaving", json={"title": "Leaving"})
    headers = {"Idempotency-Key": "leave"}
    assert client.delete("/v1/items/leaving", headers=headers).json()["replayed"] is False
    assert client.delete("/v1/items/leaving", headers=headers).json()["replayed"] is True
    assert client.delete("/v1/items/leaving").status_code == 404

"""Recommendations, similar items, search, items and their pictures, as a caller sees them."""

from __future__ import annotations

import io
from typing import Any

import pytest
from PIL import Image
from starlette.testclient import TestClient

from .conftest import picture


def ids(answer: Any) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [item["item_id"] for item in answer.json()["items"]]


def test_recommends_for_a_history(client: TestClient) -> None:
    answer = client.post("/v1/recommend", json={"history": ["000", "nowhere", "003"], "k": 5})
    body = answer.json()
    assert len(ids(answer)) == 5
    assert not {"000", "003"} & set(ids(answer))
    assert [item["rank"] for item in body["items"]] == [1, 2, 3, 4, 5]
    scores = [item["score"] for item in body["items"]]
    assert scores == sorted(scores, reverse=True)
    assert body["unknown_items"] == ["nowhere"]
    assert body["method"] == "few-shot"
    assert body["generation"] == "000001"
    assert all(item["reason"] is None and item["title"] for item in body["items"])


def test_recommends_for_a_user_by_every_method_with_reasons(client: TestClient) -> None:
    methods = client.get("/v1/info").json()["methods"]
    assert len(methods) >= 2
    for method in methods:
        answer = client.post("/v1/recommend", json={"user_id": "u3", "k": 3, "method": method, "explain": True})
        assert answer.json()["method"] == method
        for item in answer.json()["items"]:
            assert item["reason"]["text"]
            assert item["reason"]["parts"]


def test_finds_similar_items_and_items_by_words(client: TestClient) -> None:
    similar = ids(client.post("/v1/similar", json={"item_id": "004", "k": 3}))
    assert len(similar) == 3
    assert "004" not in similar
    titles = [
        item["title"] for item in client.post("/v1/search", json={"text": "coffee grinder", "k": 3}).json()["items"]
    ]
    assert all("coffee grinder" in title for title in titles)


def test_finds_items_by_a_picture(client: TestClient) -> None:
    for kind in ("PNG", "JPEG", "GIF", "WEBP"):
        answer = client.post("/v1/search", files={"image": ("p", picture("red", kind=kind))}, data={"k": "2"})
        assert len(ids(answer)) == 2
    answer = client.post(
        "/v1/search", files={"image": ("p", picture("red"))}, data={"k": "9", "where": ["category=camp", "price<=9"]}
    )
    assert set(ids(answer)) <= {"000", "001", "002", "008"}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/recommend", {"history": ["016"]}),
        ("/v1/similar", {"item_id": "016"}),
        ("/v1/search", {"text": "tent"}),
    ],
)
def test_nothing_outside_the_callers_filter_is_answered(client: TestClient, path: str, body: dict[str, Any]) -> None:
    inside = ids(client.post(path, json={**body, "k": 40, "where": ["category=camp", "price<20"]}))
    assert inside
    for item_id in inside:
        columns = client.get(f"/v1/items/{item_id}").json()["columns"]
        assert columns["category"] == "camp"
        assert float(columns["price"]) < 20
    assert set(ids(client.post(path, json={**body, "k": 40, "allow": ["000", "002", "no"]}))) <= {"000", "002"}
    assert ids(client.post(path, json={**body, "allow": []})) == []
    assert not {"000", "008"} & set(ids(client.post(path, json={**body, "k": 40, "deny": ["000", "008", "no"]})))


def test_seen_items_come_back_only_when_asked_for(client: TestClient) -> None:
    body = {"history": ["000"], "k": 40}
    assert "000" not in ids(client.post("/v1/recommend", json=body))
    assert "000" in ids(client.post("/v1/recommend", json={**body, "keep_seen": True}))


def test_diverse_lists_differ(client: TestClient) -> None:
    plain = ids(client.post("/v1/search", json={"text": "tent", "k": 5}))
    assert plain != ids(client.post("/v1/search", json={"text": "tent", "k": 5, "diversity": 0.9}))


def test_tells_of_an_item(client: TestClient) -> None:
    facts = client.get("/v1/items/000").json()
    assert facts["item_id"] == "000"
    assert facts["title"] == "tent 0"
    assert facts["columns"]["price"] == "0.50"
    assert facts["has_picture"] is True
    assert client.get("/v1/items/002").json()["has_picture"] is False


def test_thumbnails_are_small_jpegs_that_a_browser_need_not_fetch_again(client: TestClient) -> None:
    answer = client.get("/v1/items/000/picture?size=64")
    assert answer.headers["content-type"] == "image/jpeg"
    assert Image.open(io.BytesIO(answer.content)).size == (64, 40)
    tag = answer.headers["etag"]
    again = client.get("/v1/items/000/picture?size=64", headers={"If-None-Match": f'"other", {tag}'})
    assert (again.status_code, again.content) == (304, b"")
    assert client.get("/v1/items/000/picture").headers["etag"] != tag
    assert client.get("/v1/items/002/picture").status_code == 404
    assert client.get("/v1/items/nowhere/picture").status_code == 404


def test_what_is_not_there_is_404(client: TestClient) -> None:
    for answer in (
        client.post("/v1/recommend", json={"history": ["nowhere"]}),
        client.post("/v1/recommend", json={"user_id": "nobody"}),
        client.post("/v1/similar", json={"item_id": "nowhere"}),
        client.get("/v1/items/nowhere"),
    ):
        assert answer.status_code == 404, answer.text
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["type"] == "urn:adapt:problem:not-found"


def test_head_is_answered_as_get_without_a_body(client: TestClient) -> None:
    answer = client.head("/v1/items/000")
    assert (answer.status_code, answer.content) == (200, b"")
    assert int(answer.headers["content-length"]) == len(client.get("/v1/items/000").content)

"""The OpenAPI document is complete, and the service keeps to it whatever is sent."""

from __future__ import annotations

from typing import Any

import jsonschema_rs
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import Case, GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance
from starlette.testclient import TestClient
from starlette.types import Receive, Scope, Send

from .conftest import HERE

METHODS = ("get", "put", "post", "delete")
PROBES = ("/v1/health", "/v1/ready")
FITTING, UNFITTING = GenerationMode.POSITIVE, GenerationMode.NEGATIVE


@pytest.fixture(scope="module")
def document(client: TestClient) -> dict[str, Any]:
    return client.get("/openapi.json").json()  # type: ignore[no-any-return]


def operations(document: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (path, method, item[method]) for path, item in document["paths"].items() for method in METHODS if method in item
    ]


def test_every_route_is_in_it(client: TestClient, document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1")
    found = {(method.upper(), path) for path, method, _ in operations(document)}
    app: Any = client.app
    served = {
        (method, route.path)
        for route in app.routes
        for method in route.methods - {"HEAD"}
        if route.path.startswith(("/v1", "/metrics"))
    }
    assert found == served
    assert len(found) == 14


def test_every_route_has_examples_and_problems(document: dict[str, Any]) -> None:
    for path, method, operation in operations(document):
        where = f"{method} {path}"
        assert operation["summary"], where
        assert operation["tags"], where
        responses = operation["responses"]
        for content in responses["200"]["content"].values():
            assert content.get("example") is not None, where
        problems = {int(status) for status in responses if status != "200"}
        assert {500, 503} <= problems, where
        assert (401 in problems) == (path not in PROBES), where
        for status in problems:
            content = responses[str(status)]["content"]
            assert list(content) == ["application/problem+json"], where
            assert content["application/problem+json"]["example"]["status"] == status
        body = operation.get("requestBody")
        if body is not None:
            assert {400, 413, 415, 422} <= problems, where
            assert all(content["examples"] for content in body["content"].values()), where
        for parameter in operation.get("parameters", []):
            assert parameter["example"] is not None, where
        if method in ("put", "delete") or path == "/v1/events":
            assert {403, 409, 429, 507} <= problems, where
            assert "Idempotency-Key" in {parameter["name"] for parameter in operation["parameters"]}, where


def test_examples_fit_their_schemas(document: dict[str, Any]) -> None:
    checked = 0
    for _path, _method, operation in operations(document):
        examples: list[tuple[dict[str, Any], Any]] = []
        for kind, content in operation.get("requestBody", {}).get("content", {}).items():
            if kind == "application/json":  # what a form sends is text, whatever it stands for
                examples += [(content["schema"], example["value"]) for example in content["examples"].values()]
        for response in operation["responses"].values():
            for content in response["content"].values():
                if content.get("schema"):
                    examples.append((content["schema"], content["example"]))
        for schema, example in examples:
            jsonschema_rs.validate({**schema, "components": document["components"]}, example)
            checked += 1
    assert checked > 100


def test_real_answers_fit_their_schemas(client: TestClient, document: dict[str, Any]) -> None:
    for method, path, body in (
        ("post", "/v1/recommend", {"user_id": "u1", "explain": True}),
        ("post", "/v1/similar", {"item_id": "000"}),
        ("post", "/v1/search", {"text": "tent"}),
        ("post", "/v1/events", {"user_id": "u1", "item_id": "000"}),
        ("put", "/v1/items", {"items": [{"item_id": "000", "title": "tent 0"}]}),
        ("get", "/v1/ready", None),
    ):
        answer = client.request(method, path, json=body)
        schema = document["paths"][path][method]["responses"]["200"]["content"]["application/json"]["schema"]
        jsonschema_rs.validate({**schema, "components": document["components"]}, answer.json())


def test_no_page_of_documents_is_fetched_from_elsewhere(client: TestClient) -> None:
    assert client.get("/docs").status_code == 404
    assert client.get("/redoc").status_code == 404


@pytest.mark.parametrize("generation", [FITTING, UNFITTING], ids=["fitting", "unfitting"])
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/recommend"),
        ("POST", "/v1/similar"),
        ("POST", "/v1/search"),
        ("PUT", "/v1/items"),
        ("PUT", "/v1/items/{item_id}"),
        ("GET", "/v1/items/{item_id}"),
        ("GET", "/v1/items/{item_id}/picture"),
        ("POST", "/v1/events"),
        ("DELETE", "/v1/items/{item_id}"),
        ("DELETE", "/v1/items"),
    ],
)
def test_the_service_keeps_to_its_document(api: Any, method: str, path: str, generation: GenerationMode) -> None:
    """Requests that fit the document and such that do not, made up by schemathesis, get answers that it foresees.

    What fits may still be refused, in a foreseen way: a condition on a column that the catalog does not have.
    """
    operation = api[path][method]

    @given(case=operation.as_strategy(generation_mode=generation))
    @settings(
        max_examples=12, deadline=None, database=None, derandomize=True, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    def ask(case: Case) -> None:
        case.call_and_validate(base_url=HERE, excluded_checks=[positive_data_acceptance])

    ask()


@pytest.fixture(scope="module")
def api(client: TestClient) -> Any:
    """The document, and the running application that is asked; schemathesis would start and stop it for every case."""

    async def running(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            for done in ("lifespan.startup.complete", "lifespan.shutdown.complete"):
                await receive()
                await send({"type": done})
        else:
            await client.app(scope, receive, send)

    return schemathesis.openapi.from_asgi("/openapi.json", running, headers={"Host": "127.0.0.1"})

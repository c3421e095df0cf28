"""The OpenAPI document: what each route takes and answers, with examples, and every problem it may end with."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from starlette.requests import Request
from starlette.responses import Response

from adapt.serve import schemas
from adapt.serve.problems import MEDIA_TYPE, Problem, ProblemError
from adapt.serve.settings import MAX_ID, MAX_KEY
from adapt.version import __version__

Handler = Callable[[Request], Awaitable[Response]]

_REQUESTS: tuple[type[BaseModel], ...] = (
    schemas.RecommendRequest,
    schemas.SimilarRequest,
    schemas.SearchRequest,
    schemas.SearchForm,
    schemas.ItemBody,
    schemas.ItemForm,
    schemas.ItemsRequest,
    schemas.RemoveRequest,
    schemas.EventBody,
    schemas.EventsRequest,
    Problem,
)
_SECURITY = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "A key made by `adapt serve --new-key`."},
    "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
}
_DETAILS = {
    400: "expected a JSON document, found none that can be read",
    401: "expected an API key that is known, found none",
    403: "expected a key that may change the index, found one that may read",
    404: "expected an item of the index, found 'TENT-9'",
    405: "expected another method",
    408: "expected the whole body within 15 seconds",
    409: "expected the body that came with this key before, found another one",
    413: "expected a body of at most 16,777,216 bytes, found more",
    415: "expected a body of type application/json, found another type or none",
    421: "expected the host to be this machine, found another name",
    422: "1 field does not fit: #/k Input should be greater than or equal to 1",
    429: "expected at most 64 waiting requests of this kind",
    500: "the service met an error of its own; its log holds the details",
    503: "expected at most 256 requests at once",
    507: "the change could not be written; nothing was changed",
}
ALWAYS = (401, 421, 500, 503)
WITH_BODY = (400, 408, 413, 415, 422)
CHANGES = (403, 409, 429, 507)

KEY_HEADER: dict[str, Any] = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "A change with a key that was seen is not made again; the first answer is given.",
    "schema": {"type": "string", "minLength": 1, "maxLength": MAX_KEY, "pattern": r"^[\x20-\x7e]+$"},
    "example": "3f6c1c1e-order-1",
}
ITEM_ID: dict[str, Any] = {
    "name": "item_id",
    "in": "path",
    "required": True,
    "description": "An item; a slash in it is sent as %2F.",
    "schema": {"type": "string", "minLength": 1, "maxLength": MAX_ID, "pattern": schemas.NO_CONTROL},
    "example": "CAMP-001",
}


@dataclass(frozen=True)
class Operation:
    """What the document says of a route.

    Attributes:
        summary: one line.
        tag: of its group.
        example: of the answer.
        answer: its model; None = any JSON object, or another media type.
        media_type: of the answer.
        body: media type -> (model, examples); empty = no body.
        parameters: of path, query and headers.
        problems: statuses beside those of every route.
        public: whether no key is needed.
    """

    summary: str
    tag: str
    example: Any
    answer: type[BaseModel] | None = None
    media_type: str = "application/json"
    body: dict[str, tuple[type[BaseModel] | tuple[type[BaseModel], ...], dict[str, Any]]] | None = None
    parameters: tuple[dict[str, Any], ...] = ()
    problems: tuple[int, ...] = ()
    public: bool = False


def add_route(app: FastAPI, method: str, path: str, handler: Handler, operation: Operation) -> None:
    """Add a route; its handler renders its own response, which is not checked again."""
    extra: dict[str, Any] = {"parameters": list(operation.parameters)} if operation.parameters else {}
    if operation.body:
        content = {
            kind: {"schema": _schema(models), "examples": {name: {"value": value} for name, value in examples.items()}}
            for kind, (models, examples) in operation.body.items()
        }
        extra["requestBody"] = {"required": True, "content": content}
    if operation.public:
        extra["security"] = []
    statuses = {*operation.problems, *ALWAYS, *(WITH_BODY if operation.body else ())}
    if operation.public:
        statuses -= {401}
    success: dict[str, Any] = {
        "description": "Success.",
        "content": {operation.media_type: {"example": operation.example}},
    }
    if operation.answer is not None:
        success["model"] = operation.answer
    app.add_api_route(
        path,
        handler,
        methods=[method],
        summary=operation.summary,
        tags=[operation.tag],
        response_class=Response,
        responses={200: success, **{status: _problem(status) for status in sorted(statuses)}},
        openapi_extra=extra,
        operation_id=handler.__name__,
    )


def describe(app: FastAPI, *, keys: bool) -> None:
    """Have the application make its document once, with the models of the requests in it.

    Args:
        app: with all its routes.
        keys: whether a key is needed.
    """

    def made() -> dict[str, Any]:
        if app.openapi_schema is None:
            found = get_openapi(
                title="adapt",
                version=__version__,
                summary="Search and recommendations over an index that follows its catalog.",
                routes=app.routes,
                license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
            )
            _, models = models_json_schema(
                [(model, "validation") for model in _REQUESTS], ref_template="#/components/schemas/{model}"
            )
            components = found.setdefault("components", {})
            components["schemas"] = {**components.get("schemas", {}), **models["$defs"]}
            components["securitySchemes"] = _SECURITY
            found["security"] = [{"bearer": []}, {"key": []}, *([] if keys else [{}])]
            app.openapi_schema = found
        return app.openapi_schema

    app.openapi = made  # type: ignore[method-assign]


def _schema(models: type[BaseModel] | Sequence[type[BaseModel]]) -> dict[str, Any]:
    if isinstance(models, type):
        return {"$ref": f"#/components/schemas/{models.__name__}"}
    return {"oneOf": [_schema(model) for model in models]}


def _problem(status: int) -> dict[str, Any]:
    example = ProblemError(status, _DETAILS[status]).document()
    answer: dict[str, Any] = {
        "description": HTTPStatus(status).phrase,
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}, "example": example}},
    }
    if status in (429, 503):
        answer["headers"] = {"Retry-After": {"description": "Seconds.", "schema": {"type": "integer"}}}
    return answer

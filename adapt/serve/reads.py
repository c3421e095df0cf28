"""Routes that ask: recommendations, similar items, search, an item and its picture."""

from __future__ import annotations

import re
from hashlib import sha256
from typing import Any

from fastapi import FastAPI
from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import Response

from adapt.serve import answers, reading, schemas
from adapt.serve.context import Context
from adapt.serve.documents import ITEM_ID, Operation, add_route
from adapt.serve.pictures import Picture
from adapt.serve.problems import ProblemError, invalid, unfit
from adapt.serve.settings import THUMBNAIL_SIDES
from adapt.workflows.live_types import Answer, Ask
from adapt.workflows.living_index import SearchOptions

_LIST: dict[str, Any] = {
    "items": [
        {
            "item_id": "CAMP-003",
            "title": "Gas camp stove",
            "rank": 1,
            "score": 0.7312,
            "has_picture": True,
            "reason": {
                "text": "close to Two-person tent in your history",
                "because": ["CAMP-001"],
                "parts": {"content": 0.61, "cooccurrence": 0.12},
            },
        }
    ],
    "method": "few-shot",
    "generation": "000007",
    "unknown_items": [],
}
_ITEM = {
    "item_id": "CAMP-001",
    "title": "Two-person tent",
    "columns": {"category": "Camping", "price": "129.00"},
    "has_picture": True,
}
_SIZE: dict[str, Any] = {
    "name": "size",
    "in": "query",
    "required": False,
    "description": "Pixels of the longer side.",
    "schema": {"type": "integer", "minimum": THUMBNAIL_SIDES[0], "maximum": THUMBNAIL_SIDES[1], "default": 256},
    "example": 256,
}


def add_reads(app: FastAPI, context: Context) -> None:
    """Add the routes that ask."""
    service = context.service

    async def recommend(request: Request) -> Response:
        asked = await reading.document(request, schemas.RecommendRequest)
        history = None if asked.history is None else tuple(asked.history)
        ask = Ask(history, asked.user_id, asked.method or "", _options(asked, asked.keep_seen), asked.explain)
        return answers.listed(await context.compute.ask(ask))

    async def similar(request: Request) -> Response:
        asked = await reading.document(request, schemas.SimilarRequest)
        options = _options(asked)
        return answers.listed(await context.searched(lambda: service.similar(asked.item_id, options)))

    async def search(request: Request) -> Response:
        if reading.media_type(request, reading.JSON, reading.FORM) == reading.FORM:
            return answers.listed(await _by_picture(context, request))
        asked = await reading.document(request, schemas.SearchRequest)
        options = _options(asked)
        return answers.listed(await context.searched(lambda: service.by_text(asked.text, options)))

    async def item(request: Request) -> Response:
        item_id = reading.item_id(request)
        return answers.item(await context.searched(lambda: service.item(item_id)))

    async def picture(request: Request) -> Response:
        item_id, size = reading.item_id(request), _size(request)
        made = await context.thumbnails[1].do(lambda: _thumbnail(context, item_id, size))
        tag = f'"{sha256(made.data).hexdigest()[:32]}"'
        headers = {"ETag": tag, "Cache-Control": "private, max-age=60"}
        if tag in re.split(r"\s*,\s*", request.headers.get("if-none-match", "")):
            return Response(status_code=304, headers=headers)
        return Response(made.data, headers=headers, media_type=made.media_type)

    add_route(app, "POST", "/v1/recommend", recommend, _recommending())
    add_route(app, "POST", "/v1/similar", similar, _finding_similar())
    add_route(app, "POST", "/v1/search", search, _searching())
    add_route(
        app, "GET", "/v1/items/{item_id}/picture", picture,
        Operation(
            "A small picture of an item", "items", "(bytes)", media_type="image/jpeg",
            parameters=(ITEM_ID, _SIZE), problems=(404, 422),
        ),
    )  # fmt: skip
    add_route(
        app, "GET", "/v1/items/{item_id}", item,
        Operation(
            "What the index says of an item", "items", _ITEM, answers.ItemModel,
            parameters=(ITEM_ID,), problems=(404, 422),
        ),
    )  # fmt: skip


async def _by_picture(context: Context, request: Request) -> Answer:
    fields, data = await reading.form(request, context.settings)
    several = ("where", "allow", "deny")
    given: dict[str, Any] = {
        name: values if name in several or len(values) > 1 else values[0] for name, values in fields.items()
    }
    if data is not None:
        given["image"] = data
    try:
        asked = schemas.SearchForm.model_validate(given)
    except ValidationError as error:
        raise invalid(error) from error
    options, (pictures, worker) = _options(asked), context.uploads
    checked = await worker.do(lambda: pictures.checked(asked.image))
    found: Answer = await context.searched(lambda: context.service.by_image(checked, options))
    return found


def _thumbnail(context: Context, item_id: str, side: int) -> Picture:
    """A small picture of an item.

    Raises:
        NotFoundError: there is no such item.
        ProblemError: 404: it has no picture, or none that can be decoded.
    """
    data = context.service.picture(item_id)
    if data is None:
        raise ProblemError(404, "expected an item with a picture, found one without")
    try:
        return context.thumbnails[0].thumbnail(data, side)
    except ProblemError as problem:
        raise ProblemError(404, f"the item's picture cannot be shown: {problem.detail}") from problem


def _options(asked: schemas.Wanted | schemas.SearchForm, keep_seen: bool = False) -> SearchOptions:
    return SearchOptions(
        asked.k,
        reading.conditions(asked.where),
        None if asked.allow is None else tuple(asked.allow),
        tuple(asked.deny),
        keep_seen,
        asked.diversity,
    )


def _size(request: Request) -> int:
    written = request.query_params.get("size", "256")
    fewest, most = THUMBNAIL_SIDES
    if re.fullmatch(r"[0-9]{1,5}", written) is None or not fewest <= int(written) <= most:
        what = f"expected a size from {fewest} to {most} pixels"
        raise unfit(what, [("size", what)])
    return int(written)


def _recommending() -> Operation:
    examples = {
        "history": {"history": ["CAMP-001", "CAMP-003"], "k": 10},
        "user": {"user_id": "u17", "k": 5, "explain": True},
        "filtered": {"history": ["CAMP-001"], "where": ["price<=50"], "deny": ["CAMP-002"], "diversity": 0.3},
    }
    return Operation(
        "What a user may want next", "ask", _LIST, answers.ListModel,
        body={reading.JSON: (schemas.RecommendRequest, examples)}, problems=(404,),
    )  # fmt: skip


def _finding_similar() -> Operation:
    examples = {"item": {"item_id": "CAMP-001", "k": 10}}
    return Operation(
        "Items close to an item", "ask", _LIST, answers.ListModel,
        body={reading.JSON: (schemas.SimilarRequest, examples)}, problems=(404,),
    )  # fmt: skip


def _searching() -> Operation:
    words = {"words": {"text": "something warm for the night", "k": 10, "where": ["category=Camping"]}}
    return Operation(
        "Items close to words or to a picture", "ask", _LIST, answers.ListModel,
        body={
            reading.JSON: (schemas.SearchRequest, words),
            reading.FORM: (schemas.SearchForm, {"picture": {"image": "(a file)", "k": "10"}}),
        },
    )  # fmt: skip

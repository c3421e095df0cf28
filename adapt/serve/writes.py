"""Routes that change: items and events, on disk before they are answered."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import FastAPI
from pydantic import ValidationError
from pydantic_core import from_json
from starlette.requests import Request
from starlette.responses import Response

from adapt.serve import answers, reading, schemas
from adapt.serve.context import Context
from adapt.serve.documents import CHANGES, ITEM_ID, KEY_HEADER, Operation, add_route
from adapt.serve.problems import invalid, unfit
from adapt.workflows.live_types import Event, NewItem, Written

_RESERVED = ("item_id", "image")
_WRITTEN = {"added": 1, "replaced": 0, "removed": 0, "generation": "000008", "items": 41, "replayed": False}
_ITEM = {"title": "Wool blanket", "description": "Warm, 140 x 200 cm", "category": "Camping", "price": 39.5}


def add_writes(app: FastAPI, context: Context) -> None:
    """Add the routes that change."""
    service = context.service

    async def put_item(request: Request) -> Response:
        item_id, key = reading.item_id(request), reading.idempotency_key(request)
        picture: bytes | None = None
        if reading.media_type(request, reading.JSON, reading.FORM) == reading.FORM:
            fields, picture = await reading.form(request, context.settings)
            body = _of_fields(fields)
        else:
            body = await reading.document(request, schemas.ItemBody)
        item = await _new_item(context, item_id, body, "#", picture)
        return await _changed(context, lambda: service.put_items([item], key))

    async def put_items(request: Request) -> Response:
        key = reading.idempotency_key(request)
        bodies = (await reading.document(request, schemas.ItemsRequest)).items
        items = [
            await _new_item(context, body.item_id, body, f"#/items/{number}") for number, body in enumerate(bodies)
        ]
        return await _changed(context, lambda: service.put_items(items, key))

    async def remove_item(request: Request) -> Response:
        item_id, key = reading.item_id(request), reading.idempotency_key(request)
        return await _changed(context, lambda: service.remove_items([item_id], key))

    async def remove_items(request: Request) -> Response:
        key = reading.idempotency_key(request)
        ids = (await reading.document(request, schemas.RemoveRequest)).item_ids
        return await _changed(context, lambda: service.remove_items(ids, key))

    async def record_events(request: Request) -> Response:
        key = reading.idempotency_key(request)
        events = [Event(body.user_id, body.item_id, body.timestamp) for body in await _events(request)]
        return answers.recorded(await context.writes.do(lambda: service.record(events, key)))

    add_route(app, "PUT", "/v1/items/{item_id}", put_item, _putting())
    add_route(app, "PUT", "/v1/items", put_items, _putting_many())
    add_route(
        app, "DELETE", "/v1/items/{item_id}", remove_item,
        Operation(
            "Remove an item", "items", {**_WRITTEN, "added": 0, "removed": 1}, answers.WrittenModel,
            parameters=(ITEM_ID, KEY_HEADER), problems=(404, 422, *CHANGES),
        ),
    )  # fmt: skip
    add_route(app, "DELETE", "/v1/items", remove_items, _removing_many())
    add_route(app, "POST", "/v1/events", record_events, _recording())


async def _changed(context: Context, work: Callable[[], Written]) -> Response:
    done = await context.writes.do(work)
    context.metrics.set({"index_items": done.items})
    return answers.changed(done)


async def _events(request: Request) -> list[schemas.EventBody]:
    reading.media_type(request, reading.JSON)
    try:
        written = from_json(await request.body())
    except ValueError:
        written = None  # what is wrong with it is said below
    if isinstance(written, dict) and "events" in written:
        return (await reading.document(request, schemas.EventsRequest)).events
    return [await reading.document(request, schemas.EventBody)]


async def _new_item(
    context: Context, item_id: str, body: schemas.ItemBody, pointer: str, picture: bytes | None = None
) -> NewItem:
    """An item with its picture decoded and made anew."""
    columns = {name: str(value) for name, value in body.columns().items() if value != ""}
    if columns.pop("item_id", item_id) != item_id:
        raise unfit("expected no item_id beside that of the path", [(f"{pointer}/item_id", "another id")])
    if "image" in columns:
        what = "expected a picture in image_base64 or as a file of a form, found a column image"
        raise unfit(what, [(f"{pointer}/image", what)])
    if body.image_base64 is not None:
        if picture is not None:
            raise unfit("expected one picture, found two", [(f"{pointer}/image_base64", "there is a file too")])
        picture = reading.from_base64(body.image_base64, f"{pointer}/image_base64")
    if not columns and picture is None:
        raise unfit("expected an item with a text or a picture, found neither", [(pointer, "nothing to embed")])
    if picture is not None:
        pictures, worker = context.uploads
        sent = picture
        picture = await worker.do(lambda: pictures.checked(sent))
    return NewItem(item_id, columns, picture)


def _of_fields(fields: dict[str, list[str]]) -> schemas.ItemBody:
    for name, values in fields.items():
        if len(values) > 1:
            raise unfit("expected every field once, found one twice", [(f"#/{name[:64]}", "found twice")])
    try:
        return schemas.ItemBody.model_validate({name: values[0] for name, values in fields.items()})
    except ValidationError as error:
        raise invalid(error) from error


def _putting() -> Operation:
    form: dict[str, Any] = {"picture": {**_ITEM, "price": "39.5", "image": "(a file)"}}
    return Operation(
        "Add an item, or replace it whole", "items", _WRITTEN, answers.WrittenModel,
        body={
            reading.JSON: (schemas.ItemBody, {"text": _ITEM}),
            reading.FORM: (schemas.ItemForm, form),
        },
        parameters=(ITEM_ID, KEY_HEADER), problems=CHANGES,
    )  # fmt: skip


def _putting_many() -> Operation:
    examples = {"two": {"items": [{"item_id": "CAMP-900", **_ITEM}, {"item_id": "CAMP-901", "title": "Head torch"}]}}
    return Operation(
        "Add or replace many items at once", "items", {**_WRITTEN, "added": 2}, answers.WrittenModel,
        body={reading.JSON: (schemas.ItemsRequest, examples)}, parameters=(KEY_HEADER,), problems=CHANGES,
    )  # fmt: skip


def _removing_many() -> Operation:
    examples = {"two": {"item_ids": ["CAMP-900", "CAMP-901"]}}
    return Operation(
        "Remove many items, all or none", "items", {**_WRITTEN, "added": 0, "removed": 2}, answers.WrittenModel,
        body={reading.JSON: (schemas.RemoveRequest, examples)}, parameters=(KEY_HEADER,), problems=(404, *CHANGES),
    )  # fmt: skip


def _recording() -> Operation:
    one = {"user_id": "u17", "item_id": "CAMP-001"}
    examples = {"one": one, "many": {"events": [one, {**one, "item_id": "CAMP-003", "timestamp": 1_767_225_600.0}]}}
    return Operation(
        "Record that users met items", "events", {"recorded": 1, "replayed": False}, answers.RecordedModel,
        body={reading.JSON: ((schemas.EventBody, schemas.EventsRequest), examples)},
        parameters=(KEY_HEADER,), problems=(404, *CHANGES),
    )  # fmt: skip

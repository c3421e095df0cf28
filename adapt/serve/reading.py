"""Requests read into what they ask for; everything that does not fit is a problem."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence
from typing import TypeVar
from urllib.parse import unquote_to_bytes

import anyio.to_thread
from pydantic import BaseModel, TypeAdapter, ValidationError
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request

from adapt.errors import UsageError
from adapt.index.filters import Condition, parse_condition
from adapt.serve.problems import ProblemError, invalid, unfit
from adapt.serve.schemas import Id
from adapt.serve.settings import MAX_COLUMNS, MAX_KEY, MAX_LISTED, Settings

ModelT = TypeVar("ModelT", bound=BaseModel)
JSON, FORM = "application/json", "multipart/form-data"
_LONG = 1 << 16  # bytes: longer bodies are read beside the loop, which would stand still
_KEY = re.compile(rf"[\x20-\x7e]{{1,{MAX_KEY}}}")
_ID: TypeAdapter[str] = TypeAdapter(Id)
_CONDITION = 'Write it as "category=Tents", "price<=50", "brand!=Acme", "title~wool" (contains), or "brand in A,B".'


async def document(request: Request, model: type[ModelT]) -> ModelT:
    """The JSON body of a request.

    Raises:
        ProblemError: 415 for another media type, 400 for what is no JSON, 422 for what does not fit.
    """
    media_type(request, JSON)
    body = await request.body()
    try:
        if len(body) > _LONG:
            return await anyio.to_thread.run_sync(model.model_validate_json, body)
        return model.model_validate_json(body)
    except ValidationError as error:
        raise invalid(error) from error


def media_type(request: Request, *known: str) -> str:
    """The media type of a request's body, one of ``known``.

    Raises:
        ProblemError: it is another one.
    """
    found = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if found not in known:
        raise ProblemError(415, f"expected a body of type {' or '.join(known)}, found another type or none")
    return found


async def form(request: Request, settings: Settings) -> tuple[dict[str, list[str]], bytes | None]:
    """The fields of a form by their names, and the file of its field ``image``.

    Raises:
        ProblemError: it is no form, has too many parts, or files under other names.
    """
    try:
        parts: FormData = await request.form(
            max_files=1, max_fields=2 * MAX_LISTED + 2 * MAX_COLUMNS, max_part_size=settings.body_bytes
        )
    except HTTPException as error:
        raise ProblemError(400, f"expected a form that can be read: {error.detail}") from error
    except Exception as error:  # the parser raises many kinds for bytes that are no form
        raise ProblemError(400, "expected a form that can be read") from error
    fields: dict[str, list[str]] = {}
    picture: bytes | None = None
    try:
        for name, value in parts.multi_items():
            if not isinstance(value, UploadFile):
                fields.setdefault(name, []).append(value)
            elif name == "image":
                picture = await value.read()
            else:
                raise unfit("expected one file, in the field image", [("#/image", "no file may have another name")])
    finally:
        await parts.close()
    if "image" in fields:
        raise unfit("expected a file in the field image, found text", [("#/image", "expected a file")])
    return fields, picture


def item_id(request: Request) -> str:
    """The id in the path.

    Raises:
        ProblemError: it is none.
    """
    try:
        return _ID.validate_python(unquote_to_bytes(request.path_params["item_id"]).decode("utf-8"))
    except (ValidationError, UnicodeDecodeError) as error:
        what = "expected an item's id of 1 to 512 characters of UTF-8, none of them a control character"
        raise unfit(what, [("item_id", what)]) from error


def idempotency_key(request: Request) -> str:
    """The key under which a change is made once; empty = none.

    Raises:
        ProblemError: it is not 1 to 128 printable characters.
    """
    key = request.headers.get("idempotency-key")
    if key is None:
        return ""
    if _KEY.fullmatch(key) is None:
        what = f"expected an Idempotency-Key of 1 to {MAX_KEY} printable ASCII characters"
        raise unfit(what, [("Idempotency-Key", what)])
    return key


def conditions(written: Sequence[str]) -> tuple[Condition, ...]:
    """The conditions of ``where``.

    Raises:
        ProblemError: one cannot be read; says which.
    """
    found = []
    for number, one in enumerate(written):
        try:
            found.append(parse_condition(one))
        except UsageError as error:
            raise ProblemError(422, error.message, _CONDITION, [(f"#/where/{number}", error.message)]) from error
    return tuple(found)


def from_base64(text: str, pointer: str) -> bytes:
    """The bytes that are written in base64.

    Raises:
        ProblemError: they are not; says where.
    """
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise unfit("expected a picture in base64, found other characters", [(pointer, "expected base64")]) from error

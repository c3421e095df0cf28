"""Every error as one kind of document: RFC 9457, ``application/problem+json``, with no path and no trace in it."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from pydantic import BaseModel, Field, ValidationError
from starlette.responses import Response

from adapt.errors import AdaptError, CheckpointError, ConflictError, DataError, NotFoundError, OutputError, UsageError

MEDIA_TYPE = "application/problem+json"
_LOG = logging.getLogger("adapt.serve")

_SLUGS = {
    400: "malformed",
    401: "key-missing",
    403: "key-insufficient",
    404: "not-found",
    405: "method-not-allowed",
    408: "body-too-slow",
    409: "conflict",
    413: "too-large",
    415: "media-type",
    421: "wrong-host",
    422: "invalid",
    429: "too-many-changes",
    500: "internal",
    503: "unavailable",
    507: "not-written",
}
_MOST_ERRORS = 20
# An absolute path of POSIX or Windows. What looks like one in an id that a caller sent is hidden as well.
_PATH = re.compile(r"(?<![\w/])(?:/[^\s/'\"`:,;()]+){2,}/?|\b[A-Za-z]:\\[^\s'\"`,;()]+")


class FieldError(BaseModel):
    """One field that does not fit."""

    pointer: str = Field(description="Where, as a JSON pointer into the body, or the name of a parameter.")
    detail: str


class Problem(BaseModel):
    """Why a request was not answered (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    hint: str | None = Field(None, description="What to do about it.")
    errors: list[FieldError] | None = Field(None, description="Every field that does not fit, 20 at most.")


class ProblemError(Exception):
    """A request that ends with a problem.

    Args:
        status: of HTTP.
        detail: what was expected and what was found.
        hint: what to do.
        errors: pointer and detail of each field.
        headers: of the answer.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        hint: str = "",
        errors: Sequence[tuple[str, str]] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status, self.detail, self.hint = status, detail, hint
        self.errors, self.headers = tuple(errors), dict(headers or {})

    def document(self) -> dict[str, Any]:
        """The members of the document."""
        found: dict[str, Any] = {
            "type": f"urn:adapt:problem:{_SLUGS.get(self.status, 'http')}",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": without_paths(self.detail),
        }
        if self.hint:
            found["hint"] = without_paths(self.hint)
        if self.errors:
            found["errors"] = [{"pointer": place, "detail": without_paths(detail)} for place, detail in self.errors]
        return found

    def response(self) -> Response:
        """The answer."""
        body = json.dumps(self.document(), ensure_ascii=False).encode("utf-8", "replace")
        return Response(body, self.status, self.headers, MEDIA_TYPE)


def busy(detail: str, status: int = 503, retry_after: int = 1) -> ProblemError:
    """Too much is asked at once."""
    return ProblemError(status, detail, "Try again later.", headers={"Retry-After": str(retry_after)})


def invalid(error: ValidationError) -> ProblemError:
    """What of a body does not fit; the values themselves are not repeated."""
    found = error.errors(include_url=False, include_context=False, include_input=False)
    if len(found) == 1 and found[0]["type"] == "json_invalid":
        return ProblemError(400, f"expected a JSON document, found none that can be read: {found[0]['msg']}")
    errors = [("#" + "".join(f"/{_pointed(part)}" for part in one["loc"]), one["msg"]) for one in found[:_MOST_ERRORS]]
    shown = "; ".join(f"{pointer} {detail}" for pointer, detail in errors[:3])
    return unfit(f"{len(found)} field{'s do' if len(found) != 1 else ' does'} not fit: {shown}", errors)


def unfit(detail: str, errors: Sequence[tuple[str, str]]) -> ProblemError:
    """A body whose form is not that of the document."""
    return ProblemError(422, detail, "See /openapi.json for what each field may be.", errors)


def of_error(error: AdaptError) -> ProblemError:
    """The problem that an error of the library is; what only an operator can mend is logged and not told."""
    kinds: tuple[tuple[type[AdaptError], int], ...] = (
        (NotFoundError, 404),
        (ConflictError, 409),
        (OutputError, 507),
        (UsageError, 422),
        (DataError, 422),
        (CheckpointError, 503),
    )
    status = next((status for kind, status in kinds if isinstance(error, kind)), 503)
    if status < 500:
        return ProblemError(status, error.message, error.hint)
    _LOG.error("%s", error)
    if status == 507:
        return ProblemError(507, "the change could not be written; nothing was changed", "The service's log says why.")
    return busy("the index or its model cannot be used at the moment; the service's log says why", retry_after=30)


def internal(error: BaseException) -> ProblemError:
    """A bug: told to the log with its trace, to the caller without."""
    _LOG.error("a request ended with a bug", exc_info=error)
    return ProblemError(500, "the service met an error of its own; its log holds the details")


def without_paths(text: str) -> str:
    """``text`` with every absolute path replaced.

    >>> without_paths("expected an index in /srv/shop/index, found none")
    'expected an index in (a path), found none'
    """
    return _PATH.sub("(a path)", text)


def _pointed(part: int | str) -> str:
    """One step of a JSON pointer; a name that a caller chose is cut."""
    return str(part)[:64].replace("~", "~0").replace("/", "~1")

"""What a caller may send: strict, bounded, and nothing unknown."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from adapt.serve.settings import (
    MAX_CELL,
    MAX_COLUMN_NAME,
    MAX_COLUMNS,
    MAX_CONDITION,
    MAX_CONDITIONS,
    MAX_EVENTS,
    MAX_HISTORY,
    MAX_ID,
    MAX_ITEMS,
    MAX_K,
    MAX_LISTED,
    MAX_TEXT,
    MAX_TIMESTAMP,
)

NO_CONTROL = r"^[^\x00-\x1f\x7f-\x9f]*$"

Id = Annotated[str, StringConstraints(min_length=1, max_length=MAX_ID, pattern=NO_CONTROL)]
Ids = Annotated[list[Id], Field(max_length=MAX_LISTED)]
Written = Annotated[str, StringConstraints(min_length=1, max_length=MAX_CONDITION)]
Cell = Annotated[str, StringConstraints(max_length=MAX_CELL)] | Annotated[int, Field(ge=-(2**63), lt=2**63)] | float


class Request(BaseModel):
    """The rules of every body."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class Wanted(Request):
    """What a list may hold."""

    k: int = Field(10, ge=1, le=MAX_K, description="How many items; fewer where fewer are allowed.")
    where: list[Written] = Field(
        default=[],
        max_length=MAX_CONDITIONS,
        description='Conditions that must all hold: "category=Tents", "price<=50", "title~wool", "brand in A,B".',
    )
    allow: Ids | None = Field(None, description="Ids that alone may be in the answer.")
    deny: Ids = Field(default=[], description="Ids that may not be in the answer.")
    diversity: float = Field(0.0, ge=0, le=1, description="How unlike each other the items are to be.")


class RecommendRequest(Wanted):
    """A history or a user."""

    model_config = ConfigDict(json_schema_extra={"oneOf": [{"required": ["history"]}, {"required": ["user_id"]}]})

    history: list[Id] | None = Field(
        None, min_length=1, max_length=MAX_HISTORY, description="Item ids, oldest first; unknown ones are not read."
    )
    user_id: Id | None = Field(None, description="A user of the memory.")
    method: str | None = Field(
        None, min_length=1, max_length=32, description="One of the methods of /v1/info; without it the first."
    )
    keep_seen: bool = Field(False, description="Whether items of the history may be in the answer.")
    explain: bool = Field(False, description="Whether each item comes with a reason.")

    @model_validator(mode="after")
    def _one_of_both(self) -> RecommendRequest:
        if (self.history is None) == (self.user_id is None):
            raise ValueError("expected exactly one of history and user_id")
        return self


class SimilarRequest(Wanted):
    """An item of the index."""

    item_id: Id


class SearchRequest(Wanted):
    """Words."""

    text: str = Field(min_length=1, max_length=MAX_TEXT)


class SearchForm(BaseModel):
    """A picture as a form sends it; its fields are text."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    k: int = Field(10, ge=1, le=MAX_K)
    where: list[Written] = Field(default=[], max_length=MAX_CONDITIONS)
    allow: Ids | None = None
    deny: Ids = Field(default=[])
    diversity: float = Field(0.0, ge=0, le=1)
    image: Annotated[Any, Field(json_schema_extra={"type": "string", "contentMediaType": "image/*"})]


class ItemBody(BaseModel):
    """An item; every other field is a column, text or a number."""

    model_config = ConfigDict(
        extra="allow",
        strict=True,
        frozen=True,
        allow_inf_nan=False,
        json_schema_extra={"maxProperties": MAX_COLUMNS, "propertyNames": {"maxLength": MAX_COLUMN_NAME}},
    )
    __pydantic_extra__: dict[str, Cell]

    title: str = Field("", max_length=MAX_CELL)
    description: str = Field("", max_length=MAX_CELL)
    image_base64: str | None = Field(None, description="A picture file in base64.")

    def columns(self) -> dict[str, str | int | float]:
        """Every column that was given, title and description first."""
        return {"title": self.title, "description": self.description, **self.__pydantic_extra__}

    @model_validator(mode="after")
    def _bounded(self) -> ItemBody:
        if len(self.__pydantic_extra__) > MAX_COLUMNS:
            raise ValueError(f"expected at most {MAX_COLUMNS} columns, found {len(self.__pydantic_extra__)}")
        for name in self.__pydantic_extra__:
            if not 0 < len(name) <= MAX_COLUMN_NAME or re.fullmatch(NO_CONTROL, name) is None:
                raise ValueError(
                    f"expected names of columns with 1 to {MAX_COLUMN_NAME} characters and no control character"
                )
        return self


class ItemForm(BaseModel):
    """An item as a form sends it; every other field is a column."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, str]

    title: str = ""
    description: str = ""
    image: Annotated[Any, Field(None, json_schema_extra={"type": "string", "contentMediaType": "image/*"})]


class ListedItem(ItemBody):
    """An item of many."""

    item_id: Id


class ItemsRequest(Request):
    """Items to be added; those whose ids are there are replaced."""

    items: list[ListedItem] = Field(min_length=1, max_length=MAX_ITEMS)


class RemoveRequest(Request):
    """Items to be removed, all or none."""

    item_ids: list[Id] = Field(min_length=1, max_length=MAX_LISTED)


class EventBody(Request):
    """A user met an item."""

    user_id: Id
    item_id: Id
    timestamp: float | None = Field(None, ge=0, le=MAX_TIMESTAMP, description="In seconds; without it now.")


class EventsRequest(Request):
    """Many events, recorded together."""

    events: list[EventBody] = Field(min_length=1, max_length=MAX_EVENTS)

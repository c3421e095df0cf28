"""What the service answers: the models of its document, and how an answer is rendered."""

from __future__ import annotations

import json
from typing import Any

from pydantic import BaseModel, Field
from starlette.responses import Response

from adapt.workflows.live_types import Answer, ItemFacts, RankedItem, Written


class ReasonModel(BaseModel):
    """Why an item stands in a list."""

    text: str
    because: list[str] = Field(description="Items of the history that speak for it most, strongest first.")
    parts: dict[str, float] = Field(description="What each kind of evidence adds to the score.")


class RankedModel(BaseModel):
    """One place of a list."""

    item_id: str
    title: str
    rank: int
    score: float
    has_picture: bool
    reason: ReasonModel | None


class ListModel(BaseModel):
    """A ranked list."""

    items: list[RankedModel]
    method: str
    generation: str
    unknown_items: list[str] = Field(description="Items of the history that the index does not hold.")


class ItemModel(BaseModel):
    """What the index says of an item."""

    item_id: str
    title: str
    columns: dict[str, str]
    has_picture: bool


class WrittenModel(BaseModel):
    """What a change did; it is on disk."""

    added: int
    replaced: int
    removed: int
    generation: str
    items: int = Field(description="Items that can be found now.")
    replayed: bool = Field(description="Whether the idempotency key had been seen and nothing was done again.")


class RecordedModel(BaseModel):
    """Events that are on disk."""

    recorded: int
    replayed: bool


class StateModel(BaseModel):
    """How the process stands."""

    status: str


def rendered(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A JSON response.

    Text that is no Unicode (half a surrogate pair, from a damaged catalog) is answered with question marks.
    """
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return Response(text.encode("utf-8", "replace"), status, headers, "application/json")


def listed(answer: Answer) -> Response:
    """A ranked list."""
    return rendered(
        {
            "items": [_ranked(rank, item) for rank, item in enumerate(answer.items, start=1)],
            "method": answer.method,
            "generation": answer.generation,
            "unknown_items": list(answer.unknown),
        }
    )


def _ranked(rank: int, item: RankedItem) -> dict[str, Any]:
    reason = item.reason
    return {
        "item_id": item.item_id,
        "title": item.title,
        "rank": rank,
        "score": round(item.score, 6),
        "has_picture": item.has_picture,
        "reason": None
        if reason is None
        else {"text": reason.text, "because": list(reason.because), "parts": dict(reason.parts)},
    }


def item(facts: ItemFacts) -> Response:
    """An item of the index."""
    return rendered(
        {
            "item_id": facts.item_id,
            "title": facts.title,
            "columns": dict(facts.columns),
            "has_picture": facts.has_picture,
        }
    )


def changed(done: Written) -> Response:
    """What became of the items."""
    return rendered(
        {
            "added": done.added,
            "replaced": done.replaced,
            "removed": done.removed,
            "generation": done.generation,
            "items": done.items,
            "replayed": done.replayed,
        }
    )


def recorded(done: Written) -> Response:
    """What became of the events."""
    return rendered({"recorded": done.recorded, "replayed": done.replayed})

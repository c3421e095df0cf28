"""What the service accepts at most; the limits of a field stand in the OpenAPI document too."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

MAX_ID = 512
"""Characters of an item's or a user's id."""
MAX_K = 1_000
MAX_HISTORY = 1_000
"""Items of a history; the user tower reads the newest of them."""
MAX_CONDITIONS = 20
MAX_CONDITION = 512
"""Characters of a condition."""
MAX_LISTED = 10_000
"""Ids of an allow or deny list, and of items to be removed."""
MAX_TEXT = 2_000
"""Characters of a search text."""
MAX_ITEMS = 1_000
MAX_EVENTS = 10_000
MAX_COLUMNS = 64
MAX_COLUMN_NAME = 128
MAX_CELL = 20_000
MAX_TIMESTAMP = 10**11
"""Seconds; milliseconds of our time are more, and refused."""
MAX_KEY = 128
"""Characters of an idempotency key."""
THUMBNAIL_SIDES = (32, 1_024)
"""Pixels of the longer side of a thumbnail, from and to."""


@dataclass(frozen=True)
class Settings:
    """The bounds of a running service.

    Attributes:
        body_bytes: of a request.
        picture_bytes: of an uploaded picture.
        picture_pixels: of a picture before it is decoded.
        picture_side: pixels of the longer side that an uploaded picture keeps.
        picture_seconds: for one picture to be decoded.
        picture_memory: bytes that the process that decodes may take.
        thumbnail_bytes: of the thumbnails that are kept.
        queue: requests that are answered or wait at a time.
        write_queue: changes that wait at a time.
        batch: requests for recommendations that are answered together.
        body_seconds: for a request to arrive.
        seconds: for a request to be answered.
        connections: open at a time, idle ones too.
        head_seconds: for a connection to send the head of its first request.
        stop_seconds: for the requests in flight when the service is to stop.
    """

    body_bytes: int = 16 << 20
    picture_bytes: int = 10 << 20
    picture_pixels: int = 25_000_000
    picture_side: int = 1_024
    picture_seconds: float = 10.0
    picture_memory: int = 1 << 30
    thumbnail_bytes: int = 32 << 20
    queue: int = 256
    write_queue: int = 64
    batch: int = 32
    body_seconds: float = 15.0
    seconds: float = 30.0
    connections: int = 1_024
    head_seconds: float = 15.0
    stop_seconds: float = 20.0


DEFAULTS = Settings()


def limits(settings: Settings) -> dict[str, Any]:
    """Every limit by its name, JSON-ready."""
    return {
        **asdict(settings),
        "k": MAX_K,
        "history": MAX_HISTORY,
        "conditions": MAX_CONDITIONS,
        "allow_or_deny": MAX_LISTED,
        "text_characters": MAX_TEXT,
        "id_characters": MAX_ID,
        "items": MAX_ITEMS,
        "events": MAX_EVENTS,
        "columns": MAX_COLUMNS,
        "cell_characters": MAX_CELL,
    }

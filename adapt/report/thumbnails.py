"""Small pictures of items inside the page, bounded in number and bytes."""

from __future__ import annotations

import base64
import io
from pathlib import Path

from adapt.data.catalog import Catalog
from adapt.data.images import open_image
from adapt.errors import DataError

SIDE = 144  # pixels: sharp at the size shown, also on a dense screen
_QUALITY = 78


class Thumbnails:
    """Makes the ``data:`` URI of an item's picture once; None when it has none, it is broken, or the budget is spent.

    Args:
        catalog: the items.
        max_count: how many different pictures a page may hold.
        max_bytes: how many bytes their JPEG files may have together.
    """

    def __init__(self, catalog: Catalog, *, max_count: int = 200, max_bytes: int = 1_500_000) -> None:
        self._catalog = catalog
        self._count_left = max_count
        self._bytes_left = max_bytes
        self._made: dict[int, str | None] = {}

    def uri(self, row: int) -> str | None:
        """The picture of a catalog row."""
        if row not in self._made:
            self._made[row] = self._make(self._catalog.images[row])
        return self._made[row]

    def _make(self, paths: tuple[Path, ...]) -> str | None:
        if self._count_left <= 0:
            return None
        for path in paths:
            data = _jpeg(path)
            if data is not None and len(data) <= self._bytes_left:
                self._count_left -= 1
                self._bytes_left -= len(data)
                return "data:image/jpeg;base64," + base64.b64encode(data).decode("ascii")
        return None


def _jpeg(path: Path) -> bytes | None:
    """A JPEG of at most ``SIDE`` pixels a side; None for a picture that cannot be read (the data report lists it)."""
    try:
        image = open_image(path)
    except DataError:
        return None
    image.thumbnail((SIDE, SIDE))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=_QUALITY, optimize=True)
    return buffer.getvalue()

"""Items as a program sends them, as a catalog."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from adapt.data.catalog import Catalog
from adapt.data.items import assemble, usual_template
from adapt.errors import DataError
from adapt.workflows.live_types import NewItem


@contextlib.contextmanager
def catalog_of(items: Sequence[NewItem], template: tuple[str, ...]) -> Iterator[Catalog]:
    """A catalog whose pictures are files for as long as the block lasts.

    Args:
        items: distinct ids.
        template: the columns that make up the text of the index's items; where none of them is given, the usual ones.

    Raises:
        DataError: an id is given twice, or an item has neither a text nor a picture.
    """
    ids = tuple(item.item_id for item in items)
    if len(set(ids)) < len(ids):
        twice = next(item_id for item_id in ids if ids.count(item_id) > 1)
        raise DataError(f"expected every item once, found {twice!r} twice", "Send the item that is to be kept.")
    names = tuple(dict.fromkeys(name for item in items for name in item.columns))
    columns = {name: tuple(item.columns.get(name, "") for item in items) for name in names}
    chosen = tuple(name for name in template if name in columns) or usual_template(names)
    with tempfile.TemporaryDirectory(prefix="adapt-") as folder:
        images: list[tuple[Path, ...]] = []
        for number, item in enumerate(items):
            if item.picture is None:
                images.append(())
                continue
            path = Path(folder) / f"{number}.image"
            path.write_bytes(item.picture)
            images.append((path,))
        catalog = assemble(ids, columns, chosen, tuple(images))
        for item_id, text, image in zip(catalog.ids, catalog.texts, catalog.images, strict=True):
            if not text and not image:
                wanted = ", ".join(template) or "title, description"
                raise DataError(
                    f"expected item {item_id!r} to have a text or a picture, found neither",
                    f"The text is made of the columns {wanted}.",
                )
        yield catalog

"""New and changed items from a file, read as the items of the index were."""

from __future__ import annotations

from dataclasses import replace

from adapt.data import ColumnOptions, load_dataset
from adapt.data.catalog import Catalog
from adapt.progress import SILENT, Progress


def read_items(
    path: str,
    template: tuple[str, ...],
    *,
    columns: ColumnOptions,
    strict: bool = False,
    allow_download: bool = False,
    progress: Progress = SILENT,
) -> Catalog:
    """Read items whose text is put together as that of an index.

    Args:
        path: a data set; its interactions are not used.
        template: the columns that make up the text of the index's items, in order.
        columns: the user's choice of columns; text columns that are named there are taken as they are.
        strict: refuse what is otherwise only a warning.
        allow_download: allow fetching a Hub data set.
        progress: who listens, and is told where the columns are others.

    Raises:
        DataError: the data set cannot be used.
    """
    catalog = load_dataset(
        path, columns=columns, strict=strict, allow_download=allow_download, progress=progress
    ).catalog
    wanted = tuple(name for name in template if name in catalog.columns)
    if columns.text or catalog.text_template == wanted:
        return catalog
    if not wanted:
        if template and catalog.text_template:
            progress.note(
                f"the text of the index's items is {', '.join(template)}; here it is {', '.join(catalog.text_template)}"
            )
        return catalog
    return load_dataset(
        path,
        columns=replace(columns, text=wanted),
        strict=strict,
        allow_download=allow_download,
        progress=progress,
    ).catalog

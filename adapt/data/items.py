"""The catalog, built from one row an item, or from one row an interaction with the item's columns repeated."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from shlex import quote

import numpy as np

from adapt.data.catalog import Catalog
from adapt.data.columns import TEXT_ROLES, ColumnOptions, Role, find
from adapt.data.images import SUFFIXES
from adapt.data.item_images import decodable, find_images
from adapt.data.item_rows import ItemRows, read_item_rows
from adapt.data.problems import Example, ProblemLog
from adapt.data.tables import TableFile
from adapt.data.text_columns import is_text, texts_and_titles
from adapt.data.vectors import read_vectors
from adapt.data.views import ImageFiles, Strings, image_files, strings
from adapt.progress import Progress

_SAMPLE = 200  # cells that tell whether a column names pictures
_NOT_TEXT_ROLES: tuple[Role, ...] = ("item", "user", "image")


@dataclass(frozen=True, eq=False)
class ItemsSource:
    """Where items come from.

    Attributes:
        file: the table.
        root: the data set's folder.
        item: the column of ids.
        ignored: columns that describe interactions.
        repeated: whether there is one row an interaction.
    """

    file: TableFile
    root: Path
    item: str
    ignored: frozenset[str] = frozenset()
    repeated: bool = False


def build_catalog(
    source: ItemsSource, options: ColumnOptions, log: ProblemLog, progress: Progress, *, check_images: bool
) -> Catalog:
    """Read the items.

    Args:
        source: the file and its columns.
        options: the user's choice of columns.
        log: where faults go.
        progress: who listens.
        check_images: decode every image; a broken one counts as missing.

    Raises:
        UnreadableError: there is no item, or a named column is absent.
        OutputError: there is no room on the disk for what is too large for memory.
    """
    file, root = source.file, source.root
    with progress.task(f"reading {file.name}", None, "rows") as advance:
        rows = read_item_rows(
            file,
            source.item,
            ignored=source.ignored,
            repeated=source.repeated,
            options=options,
            log=log,
            advance=advance,
        )
    template = _template(source, options, rows.columns, log)
    image_column = options.image or find("image", list(rows.columns)).column
    cells = (image_column, rows.columns[image_column]) if image_column and image_column in rows.columns else None
    images = find_images(file, root, rows.ids, cells, rows.kept, log)
    if check_images:
        images = decodable(file, root, images, rows.kept, log, progress)
    catalog = replace(
        _assembled(rows.ids, rows.columns, template, images),
        text_features=read_vectors(options.text_features, file, root, log, rows=rows.count, kept=rows.kept),
        image_features=read_vectors(options.image_features, file, root, log, rows=rows.count, kept=rows.kept),
    )
    if image_column is None:
        _report_pictures(file, rows, log)
    _report_gaps(source, options, catalog, rows, log)
    return catalog


def assemble(
    item_ids: Sequence[str],
    columns: Mapping[str, Sequence[str]],
    template: tuple[str, ...],
    images: Iterable[Sequence[Path]],
) -> Catalog:
    """A catalog of cells: texts are joined by the template, titles are found among the columns.

    Args:
        item_ids: distinct.
        columns: name -> a cell for each item.
        template: the columns that make up a text, in order.
        images: absolute paths of each item's images.
    """
    cells = {name: strings(values) for name, values in columns.items()}
    return _assembled(strings(item_ids), cells, template, image_files(images))


def _assembled(ids: Strings, columns: Mapping[str, Strings], template: tuple[str, ...], images: ImageFiles) -> Catalog:
    listed = find("category", template).column
    title = find("title", [name for name, values in columns.items() if values.filled().any()]).column
    texts, titles = texts_and_titles(ids, columns, template, listed=listed, title=title)
    return Catalog(
        ids=ids,
        texts=texts,
        images=images,
        titles=titles,
        columns=columns,
        text_template=template,
    )


def usual_template(names: Sequence[str]) -> tuple[str, ...]:
    """The columns among ``names`` that usually make up a text, in the usual order.

    >>> usual_template(["price", "description", "title"])
    ('title', 'description')
    """
    found = [find(role, names).column for role in TEXT_ROLES]
    return tuple(name for name in found if name is not None)


def _template(
    source: ItemsSource, options: ColumnOptions, columns: Mapping[str, Strings], log: ProblemLog
) -> tuple[str, ...]:
    """The text columns in order: those the user names, else the usual ones, then the others that read as text."""
    if options.text:
        for name in options.text:
            if name not in columns:
                _absent(name, "text", source.file, log)
        return tuple(dict.fromkeys(options.text))
    image = options.image or find("image", list(columns)).column
    names = [name for name in columns if name not in {image, source.item} and columns[name].filled().any()]
    usual = [find(role, names).column for role in TEXT_ROLES]
    numeric = source.file.numeric
    first = [
        name
        for name in usual
        if name is not None and (name == usual[0] or (name not in numeric and is_text(name, columns[name])))
    ]
    not_text = {
        column
        for role in _NOT_TEXT_ROLES
        if (match := find(role, names)).column
        for column in (match.column, *match.others)
    }
    others = [name for name in names if name not in {*first, *not_text, *usual} and name not in numeric]
    return (*first, *(name for name in others if is_text(name, columns[name])))


def _report_pictures(file: TableFile, rows: ItemRows, log: ProblemLog) -> None:
    """Note a column whose first values all name pictures, where no column is known as that of images."""
    for name, values in rows.columns.items():
        sample = [value for value in islice(values, _SAMPLE) if value.strip()]
        if sample and all(value.strip().lower().endswith(SUFFIXES) for value in sample):
            message = f"column {name!r} holds names of pictures such as {sample[0]}"
            log.add(
                "unused-images", Example(file.name, None, name, message), hint=f"Name it: --image-col {quote(name)}"
            )


def _report_gaps(
    source: ItemsSource, options: ColumnOptions, catalog: Catalog, rows: ItemRows, log: ProblemLog
) -> None:
    used = {str(options.text_features), str(options.image_features)}
    for name in sorted(source.file.vectors - used - source.ignored):
        log.add("unused-features", Example(source.file.name, None, name, f"column {name!r} holds vectors"))
    neither = np.flatnonzero(~(catalog.has_text | catalog.has_image))
    if len(neither) == len(catalog):
        message = f"expected a text or image column beside {source.item!r}, found {', '.join(source.file.columns)}"
        log.add("no-content", Example(source.file.name, None, None, message))
        return

    def describe(row: int) -> str:
        return f"item {catalog.ids[int(np.searchsorted(rows.kept, row))]!r} has no text and no image"

    log.rows("no-modality", source.file, rows.kept[neither], source.item, describe)


def _absent(name: str, role: str, file: TableFile, log: ProblemLog) -> None:
    message = f"expected the {role} column {name!r}, found {', '.join(file.columns)}"
    log.fatal("missing-column", Example(file.name, None, name, message), hint="Name a column that the file has.")

"""The catalog, built from one row an item, or from one row an interaction with the item's columns repeated."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adapt.data import text
from adapt.data.catalog import Catalog
from adapt.data.columns import TEXT_ROLES, ColumnOptions, Role, find
from adapt.data.images import HugeImageError, ImageFinder, check_image, images_by_name
from adapt.data.problems import Example, ProblemLog, row_example
from adapt.data.tables import Codes, Table, TableFile
from adapt.data.vectors import read_vectors
from adapt.errors import DataError
from adapt.progress import Progress

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
    """
    file = source.file
    names = [name for name in file.columns if name not in source.ignored and name not in file.vectors]
    table = file.read(names, encoded=[source.item])
    ids = table.ids[source.item]
    if not any(ids.values):
        log.fatal("no-items", Example(file.name, None, source.item, "expected at least one row with an item id"))
    kept, cells = _one_row_each(source, options, table, log)
    item_ids = tuple(value for value in ids.values if value)
    columns = {name: tuple(array.to_pylist()) for name, array in cells.items()}
    template = _template(source, options, columns, log)
    image_column = _named("image", options.image, file, log) or find("image", list(columns)).column
    if image_column in file.vectors:
        image_column = None
    images = _images(source, image_column, item_ids=item_ids, columns=columns, kept=kept, log=log)
    if check_images:
        images = _decodable(source, images, kept, log, progress)
    catalog = replace(
        assemble(item_ids, columns, template, images),
        text_features=read_vectors(options.text_features, file, source.root, log, rows=table.count, kept=kept),
        image_features=read_vectors(options.image_features, file, source.root, log, rows=table.count, kept=kept),
    )
    _report_gaps(source, options, catalog, kept, log)
    return catalog


def assemble(
    item_ids: tuple[str, ...],
    columns: Mapping[str, tuple[str, ...]],
    template: tuple[str, ...],
    images: tuple[tuple[Path, ...], ...],
) -> Catalog:
    """A catalog of cells: texts are joined by the template, titles are found among the columns.

    Args:
        item_ids: distinct.
        columns: name -> a cell for each item.
        template: the columns that make up a text, in order.
        images: absolute paths of each item's images.
    """
    listed = {name for name in template if name == find("category", template).column}
    cleaned = {name: [text.clean(value, listed=name in listed) for value in columns[name]] for name in template}
    joined = (text.join(parts) for parts in zip(*cleaned.values(), strict=True))
    return Catalog(
        ids=item_ids,
        texts=tuple(joined) if template else ("",) * len(item_ids),
        images=images,
        titles=_titles(item_ids, columns, cleaned),
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


def _one_row_each(
    source: ItemsSource, options: ColumnOptions, table: Table, log: ProblemLog
) -> tuple[NDArray[np.int64], dict[str, Any]]:
    """The row that each item is read from (its first), and the columns that describe items, at those rows."""
    ids = table.ids[source.item]
    rows = np.arange(table.count)
    first = np.zeros(len(ids.values), dtype=np.int64)
    first[ids.codes[::-1]] = rows[::-1]
    empty = ids.codes == ids.values.index("") if "" in ids.values else np.zeros(table.count, dtype=bool)
    if not source.repeated:  # with one row an interaction, the reader of interactions reports these rows
        found = np.flatnonzero(empty).tolist()
        log.rows("empty-id", source.file, found, source.item, lambda _: "expected an item id, found nothing")
    repeats = rows[(first[ids.codes] != rows) & ~empty]
    cells = dict(table.cells)
    if len(repeats):
        differing = _differing(cells, repeats, first[ids.codes[repeats]])
        cells = _settle(source, options, cells=cells, places=(ids, repeats, first), differing=differing, log=log)
    kept = first[[code for code, value in enumerate(ids.values) if value]]
    if len(kept) < table.count:
        cells = {name: array.take(kept) for name, array in cells.items()}
    return kept, cells


def _differing(
    cells: dict[str, Any], repeats: NDArray[np.int64], originals: NDArray[np.int64]
) -> dict[str, NDArray[np.bool_]]:
    """For every column, which of the repeated rows differ from the first row of their item."""
    from pyarrow import compute

    differing = {}
    for name, array in cells.items():
        unlike = compute.not_equal(array.take(repeats), array.take(originals))
        differing[name] = unlike.to_numpy().astype(bool)
    return differing


def _settle(
    source: ItemsSource,
    options: ColumnOptions,
    *,
    cells: dict[str, Any],
    places: tuple[Codes, NDArray[np.int64], NDArray[np.int64]],
    differing: dict[str, NDArray[np.bool_]],
    log: ProblemLog,
) -> dict[str, Any]:
    """Report repeats and contradictions; returns the columns that describe items."""
    ids, repeats, first = places
    file = source.file
    if source.repeated:
        known = {find(role, list(cells)).column for role in (*TEXT_ROLES, "image")} | {*options.text, options.image}
        for name in [name for name in cells if name not in known and differing[name].any()]:
            row = int(repeats[np.argmax(differing[name])])
            message = f"column {name!r} differs between rows of item {ids.values[ids.codes[row]]!r}: not used"
            log.add("varying-column", row_example(file, row, name, message))
            cells = {other: array for other, array in cells.items() if other != name}
    conflict = np.zeros(len(repeats), dtype=bool)
    for name in cells:
        conflict |= differing[name]

    def describe(row: int) -> str:
        at = int(np.searchsorted(repeats, row))
        code = int(ids.codes[row])
        name = next(name for name in cells if differing[name][at])
        here, there = cells[name][row].as_py(), cells[name][int(first[code])].as_py()
        line = file.line(int(first[code]))
        where = f"line {line}" if line is not None else f"row {int(first[code]) + 1}"
        return (
            f"item {ids.values[code]!r} has {name} {_short(here)} here and {_short(there)} on {where}; "
            "expected one row, or identical rows"
        )

    log.rows("conflicting-item", file, repeats[conflict].tolist(), None, describe)
    if not source.repeated:

        def repeated(row: int) -> str:
            line = file.line(int(first[ids.codes[row]]))
            where = f"line {line}" if line is not None else f"row {int(first[ids.codes[row]]) + 1}"
            return f"item {ids.values[ids.codes[row]]!r} repeats {where}"

        log.rows("duplicate-item", file, repeats[~conflict].tolist(), None, repeated)
    return cells


def _template(
    source: ItemsSource, options: ColumnOptions, columns: dict[str, tuple[str, ...]], log: ProblemLog
) -> tuple[str, ...]:
    """The text columns in order: those the user names, else the usual ones, then the others that read as text."""
    if options.text:
        for name in options.text:
            if name not in columns:
                _absent(name, "text", source.file, log)
        return tuple(dict.fromkeys(options.text))
    image = options.image or find("image", list(columns)).column
    names = [name for name in columns if name not in {image, source.item} and any(columns[name])]
    usual = [find(role, names).column for role in TEXT_ROLES]
    numeric = source.file.numeric
    first = [
        name
        for name in usual
        if name is not None and (name == usual[0] or (name not in numeric and text.is_text(name, columns[name])))
    ]
    not_text = {
        column
        for role in _NOT_TEXT_ROLES
        if (match := find(role, names)).column
        for column in (match.column, *match.others)
    }
    others = [name for name in names if name not in {*first, *not_text, *usual} and name not in numeric]
    return (*first, *(name for name in others if text.is_text(name, columns[name])))


def _images(
    source: ItemsSource,
    column: str | None,
    *,
    item_ids: Sequence[str],
    columns: dict[str, tuple[str, ...]],
    kept: NDArray[np.int64],
    log: ProblemLog,
) -> tuple[tuple[Path, ...], ...]:
    """The image files of each item, from the image column, else from files named after the id."""
    if column is None:
        by_name = images_by_name(source.root)
        values = [by_name.get(item_id, "") for item_id in item_ids]
        if any(values):
            count = sum(map(bool, values))
            log.add("images-by-name", Example("images/", None, None, f"{count:,} of {len(values):,} items have one"))
    else:
        values = list(columns[column])
    finder = ImageFinder(source.root)
    images: list[tuple[Path, ...]] = []
    for row, value in enumerate(values):
        files = []
        for part in filter(None, map(str.strip, value.split("|"))) if value else ():
            found = finder.find(part)
            if isinstance(found, Path):
                files.append(found)
            else:
                what = {"image-missing": "there is no file", "image-url": "nothing is downloaded from"}
                message = f"{what.get(found, 'outside the data set:')} {_short(part)}"
                log.rows(found, source.file, [int(kept[row])], column, lambda _, message=message: message)  # type: ignore[misc]
        images.append(tuple(dict.fromkeys(files)))
    return tuple(images)


def _decodable(
    source: ItemsSource,
    images: tuple[tuple[Path, ...], ...],
    kept: NDArray[np.int64],
    log: ProblemLog,
    progress: Progress,
) -> tuple[tuple[Path, ...], ...]:
    """The images without those that cannot be decoded, which are reported."""
    root = source.root.resolve()
    checked: list[tuple[Path, ...]] = []
    with progress.task("checking images", sum(map(len, images)), "images") as advance:
        for row, files in zip(kept.tolist(), images, strict=True):
            good = []
            for file in files:
                try:
                    check_image(file)
                    good.append(file)
                except DataError as error:
                    kind = "image-huge" if isinstance(error, HugeImageError) else "image-broken"
                    message = error.message.replace(f"{root}/", "")
                    log.rows(kind, source.file, [row], None, lambda _, message=message: message)  # type: ignore[misc]
            advance(len(files))
            checked.append(tuple(good))
    return tuple(checked)


def _titles(
    item_ids: Sequence[str], columns: Mapping[str, tuple[str, ...]], cleaned: dict[str, list[str]]
) -> tuple[str, ...]:
    """What a person reads: the title, else the first text of an item in the order of the template, else its id."""
    title = find("title", [name for name, values in columns.items() if any(values)]).column
    first = [] if title is None else [cleaned.get(title) or [text.clean(value) for value in columns[title]]]
    texts = [*first, *(values for name, values in cleaned.items() if name != title)]
    rows: Iterable[tuple[str, ...]] = zip(*texts, strict=True) if texts else [()] * len(item_ids)
    return tuple(next(filter(None, parts), item_id) for item_id, parts in zip(item_ids, rows, strict=True))


def _report_gaps(
    source: ItemsSource, options: ColumnOptions, catalog: Catalog, kept: NDArray[np.int64], log: ProblemLog
) -> None:
    used = {str(options.text_features), str(options.image_features)}
    for name in sorted(source.file.vectors - used - source.ignored):
        log.add("unused-features", Example(source.file.name, None, name, f"column {name!r} holds vectors"))
    neither = np.flatnonzero(~(catalog.has_text | catalog.has_image))
    if len(neither) == len(catalog):
        message = f"expected a text or image column beside {source.item!r}, found {', '.join(source.file.columns)}"
        log.add("no-content", Example(source.file.name, None, None, message))
        return
    by_row = {int(kept[row]): catalog.ids[row] for row in neither.tolist()}
    log.rows(
        "no-modality",
        source.file,
        list(by_row),
        source.item,
        lambda row: f"item {by_row[row]!r} has no text and no image",
    )


def _named(role: str, name: str | None, file: TableFile, log: ProblemLog) -> str | None:
    if name is not None and name not in file.columns:
        _absent(name, role, file, log)
    return name


def _absent(name: str, role: str, file: TableFile, log: ProblemLog) -> None:
    message = f"expected the {role} column {name!r}, found {', '.join(file.columns)}"
    log.fatal("missing-column", Example(file.name, None, name, message), hint="Name a column that the file has.")


def _short(value: str) -> str:
    return repr(value if len(value) <= 60 else value[:59] + "…")

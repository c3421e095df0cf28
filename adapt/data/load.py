"""Reading and checking a data set: a folder, a file, or a data set of the Hugging Face Hub."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from adapt.data.catalog import Catalog, Dataset, Interactions, unknown_user
from adapt.data.check import DataReport, make_report
from adapt.data.columns import ColumnOptions, Role, find
from adapt.data.ids import IdEncoder
from adapt.data.interactions import InteractionColumns, build_interactions
from adapt.data.items import ItemsSource, build_catalog
from adapt.data.layout import Layout, Sources, locate, open_table
from adapt.data.lookup import IdLookup
from adapt.data.problems import Example, Problem, ProblemLog, UnreadableError
from adapt.data.tables import TableFile
from adapt.errors import DataError
from adapt.files import bundled
from adapt.progress import SILENT, Progress

_OPTION: dict[str, str] = {"item": "--item-col", "user": "--user-col", "time": "--time-col", "rating": "--rating-col"}
EXAMPLE = "example"
"""The name of the shop that comes with the package, where nothing else has it."""
_QUICK = 1 << 25  # bytes that are looked through in a tenth of a second
_IDS: tuple[Role, ...] = ("user", "item")
_SHOWN = 3  # problems of each kind in the message of an error


@dataclass(frozen=True)
class _Read:
    catalog: Catalog
    interactions: Interactions | None
    report: DataReport


def load_dataset(
    path: str | Path,
    *,
    columns: ColumnOptions | None = None,
    strict: bool = False,
    check_images: bool = False,
    allow_download: bool = False,
    progress: Progress = SILENT,
) -> Dataset:
    """Read a data set.

    Args:
        path: a folder with ``items.*`` and perhaps ``interactions.*`` and ``images/``; one file of items, or of
            interactions with the item's columns repeated; RecBole atomic files; or a Hub data set ``org/name``.
        columns: column names that replace the automatic choice.
        strict: refuse what is otherwise only a warning.
        check_images: decode every image while reading.
        allow_download: allow fetching a Hub data set.
        progress: who listens.

    Raises:
        DataError: there is no such data set, or it is not usable; the message lists the problems with their lines.
        HubError: the Hub could not be reached.
    """
    root_or_file = _local(path, allow_download)
    read = _read(str(path), root_or_file, columns or ColumnOptions(), check_images, progress)
    _refuse(path, [p for p in read.report.problems if p.severity == "error" or (strict and p.severity == "warning")])
    name = Path(path).name if root_or_file.is_dir() else Path(path).stem
    root = root_or_file if root_or_file.is_dir() else root_or_file.parent
    return Dataset(name or root.resolve().name or "data", root.resolve(), read.catalog, read.interactions, read.report)


def look(
    path: str | Path,
    columns: ColumnOptions | None = None,
    *,
    users: Sequence[str] = (),
    allow_download: bool = False,
) -> None:
    """Find what would stop :func:`load_dataset` before it reads a row: no such data set, file, column or user.

    Nothing is fetched, and a file that takes more than a moment to open, or to look for users in, is left alone.

    Args:
        path, columns, allow_download: as for :func:`load_dataset`.
        users: ids that are going to be asked for.

    Raises:
        DataError: as :func:`load_dataset` would.
        NotFoundError: the interactions know no user of such an id; the hint names similar ids.
    """
    from adapt.data.hub_dataset import hub_id

    if allow_download and not Path(path).expanduser().exists() and hub_id(str(path)) is not None:
        return
    local, log = _local(path, allow_download), ProblemLog()
    try:
        sources = locate(local, log)
        if all(file is None or _opens_quickly(file) for file in (sources.items, sources.interactions)):
            plan = _plan(sources, _open(sources, log, SILENT), columns or ColumnOptions(), log)
            if users and plan.interactions is not None and _is_small(sources.interactions):
                file, meaning = plan.interactions
                _check_users(users, file, meaning.user)
    except UnreadableError:
        _refuse(path, [problem for problem in log.problems() if problem.severity == "error"])


def check_dataset(
    path: str | Path,
    *,
    columns: ColumnOptions | None = None,
    check_images: bool = False,
    allow_download: bool = False,
    progress: Progress = SILENT,
) -> DataReport:
    """Report on a data set; whatever is wrong inside it is in the report.

    Args:
        path, columns, check_images, allow_download, progress: as for :func:`load_dataset`.

    Raises:
        DataError: there is nothing at ``path``.
        HubError: the Hub could not be reached.
    """
    return _read(str(path), _local(path, allow_download), columns or ColumnOptions(), check_images, progress).report


def _local(path: str | Path, allow_download: bool) -> Path:
    local = Path(path).expanduser()
    try:
        if local.exists():
            return local
    except OSError as error:  # a name too long
        raise DataError(f"expected a folder or a file, found {path}: {error.strerror}", "Check the path.") from error
    if str(path) == EXAMPLE:
        return bundled("recipes") / EXAMPLE
    from adapt.data.hub_dataset import fetch, hub_id

    name = hub_id(str(path))
    if name is not None and (allow_download or not local.parent.is_dir()):
        return fetch(name, allow_download)
    raise DataError(
        f"expected a folder, a file or a Hub data set org/name, found nothing at {path}",
        f"{_near(local)} `{EXAMPLE}` names the shop that comes with adapt; "
        "--allow-download fetches what is on the Hub.",
    )


def _near(path: Path) -> str:
    """What to do about a path that leads nowhere, as a sentence."""
    try:
        names = [entry.name for entry in path.parent.iterdir()]
    except OSError:
        return f"Check the path: there is no folder {path.parent}."
    close = difflib.get_close_matches(path.name, names, 1)
    return f"Did you mean {path.with_name(close[0])}?" if close else "Check the path."


def _refuse(path: str | Path, problems: Sequence[Problem]) -> None:
    """Raise what makes a data set unusable, if anything does."""
    if not problems:
        return
    lines = [f"{path} cannot be used:"]
    for problem in problems:
        lines.append(f"- {problem.message} ({problem.count:,})")
        lines += [f"    {example}" for example in problem.examples[:_SHOWN]]
    hints = dict.fromkeys(problem.hint for problem in problems if problem.hint)
    raise DataError("\n".join(lines), "\n".join([*hints, f"`adapt data check {path}` shows everything."]))


def _check_users(wanted: Sequence[str], file: TableFile, column: str) -> None:
    """Raise the :class:`NotFoundError` of an id that is not in a column of users."""
    encoder = IdEncoder()
    for batch in file.batches([column], ids=[column]):
        encoder.add(batch.column(column))
    known = IdLookup(encoder.finish().values)
    for user in wanted:
        if user not in known:
            raise unknown_user(user, known)


def _opens_quickly(file: Path) -> bool:
    """Whether opening the file reads little of it: a parquet file says what it holds, the others are looked through."""
    return file.suffix.lower() == ".parquet" or _is_small(file)


def _is_small(file: Path | None) -> bool:
    return file is not None and file.stat().st_size <= _QUICK


def _read(given: str, path: Path, columns: ColumnOptions, check_images: bool, progress: Progress) -> _Read:
    """Read as far as the data set allows; the report tells what was found and what stopped it."""
    log = ProblemLog()
    layout: Layout = "directory" if path.is_dir() else "items file"
    files: tuple[str, ...] = ()
    catalog = Catalog((), (), (), (), {}, ())
    interactions, unit = None, None
    try:
        sources = locate(path, log)
        layout = sources.layout
        found = [file for file in (sources.items, sources.interactions) if file is not None]
        files = tuple(file.relative_to(sources.root).as_posix() for file in found)
        plan = _plan(sources, _open(sources, log, progress), columns, log)
        layout = plan.layout
        catalog = build_catalog(plan.items, columns, log, progress, check_images=check_images)
        if plan.interactions is not None:
            file, meaning = plan.interactions
            interactions, unit = build_interactions(file, meaning, catalog, log, progress)
    except UnreadableError:
        pass  # why is in the log, and so in the report
    report = make_report(given, layout, files, catalog=catalog, interactions=interactions, time_unit=unit, log=log)
    return _Read(catalog, interactions, report)


@dataclass(frozen=True)
class _Plan:
    """What each file is."""

    layout: Layout
    items: ItemsSource
    interactions: tuple[TableFile, InteractionColumns] | None


def _open(sources: Sources, log: ProblemLog, progress: Progress) -> tuple[TableFile | None, TableFile | None]:
    opened: list[TableFile | None] = []
    for path in (sources.items, sources.interactions):
        if path is None:
            opened.append(None)
            continue
        with progress.task(f"opening {path.name}", None, "files"):
            opened.append(open_table(path, sources.root, log))
    return opened[0], opened[1]


def _plan(
    sources: Sources, tables: tuple[TableFile | None, TableFile | None], options: ColumnOptions, log: ProblemLog
) -> _Plan:
    items, interactions = tables
    for role, names in (("text", options.text), ("image", [options.image] if options.image is not None else [])):
        for name in names:
            _present(role, name, items or interactions, log)
    if items is not None and interactions is None and sources.layout == "items file" and _has_users(items, options):
        items, interactions = None, items
    histories = (
        None if interactions is None else (interactions, _interaction_columns(interactions, items, options, log))
    )
    if items is not None:
        item = _needed("item", _for_file(options.item, items, interactions), items, log, items_file=True)
        return _Plan(sources.layout, ItemsSource(items, sources.root, item), histories)
    if histories is None:
        raise AssertionError("a data set has at least one file")
    file, meaning = histories
    ignored = frozenset(name for name in (meaning.user, meaning.time, meaning.rating) if name is not None)
    source = ItemsSource(file, sources.root, meaning.item, ignored, repeated=True)
    layout: Layout = "recbole" if sources.layout == "recbole" else "interactions file with item columns"
    return _Plan(layout, source, histories)


def _for_file(name: str | None, file: TableFile, other: TableFile | None) -> str | None:
    """The user's column name, or None where it names a column of the other file only."""
    elsewhere = name is not None and other is not None and name not in file.columns and name in other.columns
    return None if elsewhere else name


def _has_users(file: TableFile, options: ColumnOptions) -> bool:
    user = options.user or find("user", file.columns).column
    item = options.item or find("item", file.columns).column
    return options.user is not None or (user is not None and item not in {None, user})


def _interaction_columns(
    file: TableFile, items: TableFile | None, options: ColumnOptions, log: ProblemLog
) -> InteractionColumns:
    named = _for_file(options.item, file, items)
    if options.user is None and named is None and not any(find(role, file.columns).column for role in _IDS):
        message = f"expected columns of user ids (user_id) and item ids (item_id), found {', '.join(file.columns)}"
        hint = "Rename them, or name them: --user-col NAME --item-col NAME, and --time-col NAME if there is one."
        log.fatal("missing-column", Example(file.name, None, None, message), hint=_separated(file) or hint)
    user = _needed("user", options.user, file, log)
    item = _needed("item", named, file, log)
    if user == item:
        message = f"expected different columns for user and item, found {user!r} for both"
        log.fatal("missing-column", Example(file.name, None, user, message))
    time, rating = _optional("time", options.time, file, log), _optional("rating", options.rating, file, log)
    taken = {user, item}
    return InteractionColumns(user, item, None if time in taken else time, None if rating in {*taken, time} else rating)


def _needed(role: Role, named: str | None, file: TableFile, log: ProblemLog, *, items_file: bool = False) -> str:
    """The column of a role: the one the user names, else one of the usual names.

    Raises:
        UnreadableError: there is none.
    """
    column = _optional(role, named, file, log, items_file=items_file)
    if column is not None:
        return column
    hint = _separated(file) or f"Rename it, or name the column: {_OPTION[role]} NAME."
    message = f"expected a column of {role} ids ({role}_id), found {', '.join(file.columns)}"
    return log.fatal("missing-column", Example(file.name, None, None, message), hint=hint)


def _separated(file: TableFile) -> str:
    """What to do about a file whose columns were not told apart; empty when they were."""
    if len(file.columns) > 1 or not any(mark in file.columns[0] for mark in ";\t|,"):
        return ""
    return "The columns are separated by another character: a .csv file needs commas, a .tsv file tabs."


def _optional(
    role: Role, named: str | None, file: TableFile, log: ProblemLog, *, items_file: bool = False
) -> str | None:
    """The column of a role, None when there is none.

    Raises:
        UnreadableError: the user names one that is absent.
    """
    if named is not None:
        _present(role, named, file, log)
    match = find(role, file.columns, items_file=items_file)
    if named is None and match.others and role != "rating":
        message = f"{match.column!r} is the {role}, not {', '.join(map(repr, match.others))}"
        log.add("other-column", Example(file.name, None, match.column, message), hint=f"{_OPTION[role]} names another.")
    return named or match.column


def _present(role: str, named: str, file: TableFile | None, log: ProblemLog) -> None:
    """Stop where a column that the user names is absent.

    Raises:
        UnreadableError: it is.
    """
    if file is None or named in file.columns:
        return
    close = difflib.get_close_matches(named, file.columns, 1)
    hint = f"Did you mean {close[0]!r}?" if close else "Name a column that the file has."
    message = f"expected the {role} column {named!r}, found {', '.join(file.columns)}"
    log.fatal("missing-column", Example(file.name, None, named, message), hint=hint)

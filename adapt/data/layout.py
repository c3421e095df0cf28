"""Which files make up a data set."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from adapt.data.arrow import ArrowFile
from adapt.data.delimited import DelimitedFile
from adapt.data.jsonlines import JsonLinesFile
from adapt.data.problems import Example, ProblemLog
from adapt.data.tables import TableFile

Layout = Literal["directory", "items file", "interactions file with item columns", "recbole"]
TABLE_SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")


@dataclass(frozen=True)
class Sources:
    """The files of a data set.

    Attributes:
        layout: how it is laid out; a single file counts as "items file" until its columns are known.
        root: the folder that image paths are relative to and may not leave.
        items: the file of items; None: there is none.
        interactions: the file of interactions; None: there is none, or they are in the same file as the items.
    """

    layout: Layout
    root: Path
    items: Path | None
    interactions: Path | None


def locate(path: Path, log: ProblemLog) -> Sources:
    """The files of the data set at ``path``, an existing folder or file.

    Raises:
        UnreadableError: no file of items was found, or several.
    """
    if path.is_file():
        return _locate_file(path, log)
    items = _one(path, [f"items{suffix}" for suffix in TABLE_SUFFIXES], log)
    interactions = _one(path, [f"interactions{suffix}" for suffix in TABLE_SUFFIXES], log)
    if items or interactions:
        return Sources("directory" if items else "interactions file with item columns", path, items, interactions)
    atomic = sorted(file for file in path.iterdir() if file.suffix.lower() in {".item", ".inter"})
    items = _only([file for file in atomic if file.suffix.lower() == ".item"], log)
    interactions = _only([file for file in atomic if file.suffix.lower() == ".inter"], log)
    if items or interactions:
        return Sources("recbole", path, items, interactions)
    names = ", ".join(sorted(file.name for file in path.iterdir())[:8]) or "nothing"
    tables = [file for file in sorted(path.iterdir()) if file.suffix.lower() in TABLE_SUFFIXES and file.is_file()]
    hint = f"If {tables[0].name} is the data set, give its path: {tables[0]}" if len(tables) == 1 else ""
    return log.fatal("no-files", Example(path.name, None, None, f"expected a file items.csv, found {names}"), hint=hint)


def _locate_file(path: Path, log: ProblemLog) -> Sources:
    suffix = path.suffix.lower()
    if suffix in TABLE_SUFFIXES:
        return Sources("items file", path.parent, path, None)
    if suffix not in {".item", ".inter"}:
        message = f"expected a file ending in {' '.join(TABLE_SUFFIXES)} .inter .item, found {path.name}"
        log.fatal("no-files", Example(path.name, None, None, message), hint="Convert it to CSV.")
    siblings = {file.suffix.lower(): file for file in path.parent.glob(f"{glob_escape(path.stem)}.*")}
    return Sources("recbole", path.parent, siblings.get(".item"), siblings.get(".inter"))


def glob_escape(text: str) -> str:
    """``text`` as a pattern that matches only itself.

    >>> glob_escape("a*b")
    'a[*]b'
    """
    return "".join(f"[{character}]" if character in "*?[" else character for character in text)


def open_table(path: Path, root: Path, log: ProblemLog) -> TableFile:
    """The reader for a file, by its suffix.

    Raises:
        UnreadableError: it cannot be read; the log says why.
    """
    name = path.relative_to(root).as_posix()
    suffix = path.suffix.lower()
    try:
        if suffix == ".parquet":
            return ArrowFile(path, name, log)
        if suffix in {".jsonl", ".ndjson"}:
            return JsonLinesFile(path, name, log)
        typed = suffix in {".item", ".inter"}
        return DelimitedFile(path, name, "," if suffix == ".csv" else "\t", log, typed_header=typed)
    except OSError as error:
        return log.fatal("unreadable", Example(name, None, None, f"expected a readable file: {error.strerror}"))


def _one(folder: Path, names: list[str], log: ProblemLog) -> Path | None:
    return _only(sorted(file for file in folder.iterdir() if file.name.lower() in names and file.is_file()), log)


def _only(files: list[Path], log: ProblemLog) -> Path | None:
    if len(files) > 1:
        found = ", ".join(file.name for file in files)
        log.fatal("ambiguous-files", Example(files[0].name, None, None, f"expected one of these files, found {found}"))
    return files[0] if files else None

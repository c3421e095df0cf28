"""Options that several commands share, and their plain values turned into what workflows take."""

from __future__ import annotations

import csv
import re
import shlex
import sys
from dataclasses import dataclass, fields
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from adapt.cli import completion
from adapt.errors import UsageError

if TYPE_CHECKING:
    from adapt.data.columns import ColumnOptions

DATASET_HELP = "A folder, a file, `example` (a shop that comes with adapt), or with --allow-download a Hub data set."
REFERENCE_HELP = "A bundled name (`adapt hub list`), a folder, or org/name@revision."
_COLUMNS = "Columns (when their names are not recognised)"
_RUNNING = "How it runs"


class IndexKind(str, Enum):
    """The values of ``--index``."""

    auto = "auto"
    exact = "exact"
    hnsw = "hnsw"


Dataset = Annotated[str, typer.Option("--dataset", "-d", help=DATASET_HELP, autocompletion=completion.datasets)]
Checkpoint = Annotated[str, typer.Option("--checkpoint", help=REFERENCE_HELP, autocompletion=completion.checkpoints)]
Reference = Annotated[str, typer.Argument(metavar="REF", help=REFERENCE_HELP, autocompletion=completion.checkpoints)]
Users = Annotated[
    Path | None, typer.Option("--users", help="Only these users: a file with one id a line, - for stdin.")
]
SampleUsers = Annotated[int, typer.Option("--sample-users", min=0, help="Only so many users, drawn by --seed.")]
Profile = Annotated[
    bool, typer.Option("--profile", help="Show what each stage took: time, memory, speed.", rich_help_panel=_RUNNING)
]
User = Annotated[list[str] | None, typer.Option("--user", help="Only this user; repeat for several.")]
History = Annotated[str | None, typer.Option("--history", help='An ad-hoc user: item ids, oldest first, "id1,id2".')]
ListLength = Annotated[int, typer.Option("--k", min=1, help="How many items a list holds.")]
KeepSeen = Annotated[bool, typer.Option("--keep-seen", help="Also recommend items of the history.")]
Index = Annotated[IndexKind, typer.Option("--index", help="How to search.", rich_help_panel=_RUNNING)]
Json = Annotated[bool, typer.Option("--json", help="Write the result as one JSON document.")]
Strict = Annotated[
    bool, typer.Option("--strict", help="Treat every warning about the data as an error.", rich_help_panel=_RUNNING)
]
AllowDownload = Annotated[
    bool,
    typer.Option(
        "--allow-download",
        help="Allow fetching data or weights; without it nothing is downloaded.",
        rich_help_panel=_RUNNING,
    ),
]
Output = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        help="Folder for recommendations.csv, run.json and report.html; a killed run goes on from there.",
        show_default=False,
    ),
]


def _check_device(value: str) -> str:
    """Refuse what is no device, without asking torch, which knows whether this machine has it.

    Raises:
        UsageError: it is none.
    """
    if re.fullmatch(r"cpu|mps|(cuda|xpu)(:\d+)?", value) is None:
        raise UsageError(
            f"expected a device such as cpu, cuda, cuda:1 or mps after --device, found {value!r}",
            "`adapt doctor` lists those of this machine.",
        )
    return value


Device = Annotated[
    str,
    typer.Option(
        "--device",
        help="Where to compute: cpu, cuda, cuda:1, mps.",
        rich_help_panel=_RUNNING,
        autocompletion=completion.devices,
        callback=_check_device,
    ),
]
Seed = Annotated[int, typer.Option("--seed", help="Seed of everything random.", rich_help_panel=_RUNNING)]


@dataclass(frozen=True)
class Running:
    """How a command runs; a group of options (:mod:`adapt.cli.groups`)."""

    seed: Seed = 0
    device: Device = "cpu"
    strict: Strict = False
    allow_download: AllowDownload = False


@dataclass(frozen=True)
class ItemColumns:
    """The columns of a file of items; a group of options (:mod:`adapt.cli.groups`)."""

    item_col: Annotated[str | None, typer.Option(help="Column of item ids.", rich_help_panel=_COLUMNS)] = None
    image_col: Annotated[str | None, typer.Option(help="Column of image paths.", rich_help_panel=_COLUMNS)] = None
    text_col: Annotated[
        list[str] | None,
        typer.Option(help="Column of text; repeat for several, in order.", rich_help_panel=_COLUMNS),
    ] = None
    text_features: Annotated[
        Path | None, typer.Option(help="Precomputed text features: .npy or a column.", rich_help_panel=_COLUMNS)
    ] = None
    image_features: Annotated[
        Path | None, typer.Option(help="Precomputed image features: .npy or a column.", rich_help_panel=_COLUMNS)
    ] = None

    def typed(self, dataset: str) -> str:
        """The data set and its columns as they are typed, for the next command.

        >>> Columns(item_col="Art. No", text_col=["a", "b"]).typed("my shop")
        "--dataset 'my shop' --item-col 'Art. No' --text-col a --text-col b"
        """
        words = ["--dataset", dataset]
        for field in fields(self):
            value = getattr(self, field.name)
            for one in value if isinstance(value, list) else [] if value is None else [value]:
                words += [f"--{field.name.replace('_', '-')}", str(one)]
        return shlex.join(words)

    def chosen(self) -> ColumnOptions:
        """As a data set is read by them; None keeps the automatic choice."""
        from adapt.data.columns import ColumnOptions

        named = {field.name.removesuffix("_col"): getattr(self, field.name) for field in fields(self)}
        return ColumnOptions(**{**named, "text": tuple(self.text_col or ())})


@dataclass(frozen=True)
class Columns(ItemColumns):
    """The columns of a data set; a group of options (:mod:`adapt.cli.groups`)."""

    user_col: Annotated[str | None, typer.Option(help="Column of user ids.", rich_help_panel=_COLUMNS)] = None
    time_col: Annotated[str | None, typer.Option(help="Column of timestamps.", rich_help_panel=_COLUMNS)] = None
    rating_col: Annotated[str | None, typer.Option(help="Column of ratings.", rich_help_panel=_COLUMNS)] = None


def named_users(users: Path | None, user: list[str] | None) -> tuple[str, ...]:
    """The users of ``--users`` and of every ``--user``, in that order."""
    return (*(read_user_ids(users) if users else ()), *(user or ()))


def unfinished(output: Path | None) -> str:
    """Where a run with ``--output`` keeps what it has done until it ends; the same command goes on from there."""
    return str(output / ".unfinished") if output is not None else ""


def read_user_ids(path: Path) -> tuple[str, ...]:
    """The ids of the file of ``--users``; see :func:`read_ids`."""
    return read_ids(path, "--users")


def read_ids(path: Path, option: str) -> tuple[str, ...]:
    """The ids of a file with one id a line (``-``: stdin); empty lines are skipped, ids are kept as they stand.

    Args:
        path: the file.
        option: that names it.

    Raises:
        UsageError: the file cannot be read, is not UTF-8, or holds no id.
    """
    try:
        content = sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes()
        lines = content.decode("utf-8-sig").split("\n")
    except OSError as error:
        raise UsageError(
            f"expected {option} to name a readable file, found {path}: {error.strerror}",
            "Give a file with one id a line.",
        ) from error
    except UnicodeDecodeError as error:
        raise UsageError(
            f"expected {path} to be UTF-8, found byte {error.object[error.start]:#04x} at position {error.start}",
            f"Convert it: iconv -f latin1 -t utf-8 {path} > ids.txt",
        ) from error
    ids = tuple(line for line in (raw.removesuffix("\r") for raw in lines) if line)
    if not ids:
        raise UsageError(f"expected at least one id in {path}, found none", "Write one id a line.")
    return ids


def split_history(value: str | None) -> tuple[str, ...]:
    """The item ids of ``--history``, oldest first; an id with a comma goes in double quotes, as in CSV.

    >>> split_history('007, "a,b"')
    ('007', 'a,b')

    Raises:
        UsageError: there is no id in it, or a quote is not closed.
    """
    if value is None:
        return ()
    try:
        rows = list(csv.reader([value], skipinitialspace=True, strict=True))
    except csv.Error as error:
        raise UsageError(f"--history cannot be read: {error}", 'Separate ids by commas: --history "id1,id2"') from error
    ids = tuple(field for row in rows for field in (part.strip() for part in row) if field)
    if not ids:
        raise UsageError("expected at least one item id in --history, found none", 'Write --history "id1,id2"')
    return ids

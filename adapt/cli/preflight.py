"""What a command is asked for is looked at before anything heavy is imported: a slip is answered at once.

Each look raises what the command itself would, some seconds later.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from adapt import files
from adapt.cli.options import ItemColumns


def dataset(path: str, columns: ItemColumns, *, allow_download: bool, users: Sequence[str] = ()) -> None:
    """There is such a data set, with the columns and the users that are named."""
    from adapt.data.load import look

    look(path, columns.chosen(), users=users, allow_download=allow_download)


def checkpoint(*references: str | None) -> None:
    """There are such checkpoints; what is on the Hub is not asked for, nor what is empty or made for a data set."""
    from adapt.hub.ref import TRAINING_FREE
    from adapt.hub.resolve import look

    for reference in filter(None, references):
        if reference != TRAINING_FREE:
            look(reference)


def run(*references: str | None) -> None:
    """There are such finished runs or copies of shared ones; what is on the Hub is not asked for, nor what is empty."""
    from adapt.hub.kinds import is_adapter
    from adapt.hub.ref import is_on_hub
    from adapt.workflows.run_record import read_record

    for reference in filter(None, references):
        there = Path(reference).exists() or not is_on_hub(reference)
        if there and not is_adapter(Path(reference)):
            read_record(Path(reference))


def shared(path: str, repo: str) -> None:
    """There is a folder of a kind that is shared, and the name of a repository."""
    from adapt.hub.kinds import kind_of
    from adapt.hub.push import check_repo

    check_repo(repo)
    kind_of(Path(path))


def index(reference: str | Path) -> None:
    """There is such an index; what is on the Hub is not asked for."""
    from adapt.hub.ref import is_on_hub
    from adapt.index.generations import Generations

    if Path(reference).exists() or not is_on_hub(reference):
        Generations(Path(reference)).current()


def place(folder: Path | None, command: str) -> None:
    """The folder of a command's results, where one is named, can be written to and holds nothing that this would spoil.

    Raises:
        OutputError: it cannot, or does; names the fix.
    """
    from adapt.workflows.output_folder import check_place

    if folder is not None:
        writable(folder)
        check_place(folder, command)


def writable(folder: Path | None) -> None:
    """The folder, where one is named, can be made and written to.

    Raises:
        OutputError: it cannot; names the fix.
    """
    if folder is None:
        return
    with files.output_errors(folder):
        nearest = folder
        while not nearest.exists() and nearest != nearest.parent:
            nearest = nearest.parent
        with tempfile.TemporaryFile(dir=nearest):
            pass

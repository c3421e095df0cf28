"""A second folder with what an index holds now."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np

from adapt.errors import CheckpointError, OutputError, UsageError
from adapt.index.description import PartEntry
from adapt.index.generations import Generations, Writer
from adapt.index.snapshot import Snapshot
from adapt.index.storage import write_deleted


def copy_index(now: Snapshot, source: Generations, output: Path) -> None:
    """Write what a snapshot holds as an index of its own, whole or not at all.

    Args:
        now: what is copied; deleted rows and states of users that recall was measured with go along.
        source: the index that it belongs to.
        output: new folder.

    Raises:
        OutputError: the folder exists with files in it, or cannot be written.
        UsageError: another engine searches the index: two folders would own its rows.
        CheckpointError: a file is damaged.
    """
    if now.description.remote is not None:
        raise UsageError(
            f"expected an index that this machine searches, found {source.path} searched by {now.description.kind}",
            "Bring it back with `adapt index move`, and save it then.",
        )
    if output.exists() and any(output.iterdir()):
        raise OutputError(f"expected a new or empty folder, found {output} with files in it", "Choose another folder.")
    with Generations(output).writing() as writer:
        parts = tuple(_copied(writer, source, entry) for entry in now.description.parts)
        written = replace(now.description, parts=parts)
        writer.commit(written.to_dict(), lambda folder: write_deleted(folder, np.flatnonzero(~now.alive)))


def _copied(writer: Writer, source: Generations, entry: PartEntry) -> PartEntry:
    part = source.part(entry.part)
    if outside := [name for name in part.listed if Path(name).name != name]:
        raise CheckpointError(f"expected plain names of files in {part.path}, found {outside[0]!r}")

    def fill(folder: Path) -> None:
        for name in part.listed:
            shutil.copyfile(part.file(name), folder / name)

    made = writer.part(fill)
    return replace(entry, name=made.name, sha256=made.sha256)

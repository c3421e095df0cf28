"""From a reference to a folder on this machine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from adapt.errors import CheckpointError, UsageError, did_you_mean
from adapt.hub.bundled import bundled_entries
from adapt.hub.fetch import fetch
from adapt.hub.ref import Reference, parse_reference
from adapt.progress import SILENT, Progress


@dataclass(frozen=True)
class Located:
    """Where a reference leads.

    Attributes:
        folder: on this machine.
        reference: what was named.
        commit: of a repository on the Hub; empty for anything else.
    """

    folder: Path
    reference: Reference
    commit: str = ""

    @property
    def pinned(self) -> str:
        """A reference that leads to the same files on every machine and for good: of a repository with its commit, or
        the bundled name; the absolute path of any other folder, which is good for this machine only.
        """
        if self.reference.kind == "hub":
            return str(self.reference.at(self.commit))
        return self.reference.name if self.reference.kind == "bundled" else str(self.folder.resolve())


def locate(reference: str, revision: str = "", progress: Progress = SILENT) -> Located:
    """The folder that a reference names, fetched from the Hub if it says so.

    Args:
        reference: a folder, a bundled name, or ``org/name[@revision]`` or ``hf://org/name/folder[@revision]``.
        revision: branch, tag or commit of a repository on the Hub, in place of one in ``reference``.
        progress: told when a branch or tag has moved since it was last fetched.

    Raises:
        CheckpointError: there is no such folder or bundled name, or what the repository holds is refused.
        HubError: the repository cannot be had.
        UsageError: the reference has none of the known forms, or a revision is given twice, or for a folder.
    """
    parsed = parse_reference(reference)
    if revision:
        if parsed.kind != "hub" or parsed.revision not in ("", revision):
            raise UsageError(
                f"expected one revision of a repository on the Hub, found revision {revision!r} for {reference}",
                "Name the repository as org/name.",
            )
        parsed = parsed.at(revision)
    if parsed.kind == "hub":
        fetched = fetch(parsed, progress)
        return Located(fetched.folder, parsed, fetched.commit)
    return Located(_folder(parsed.name) if parsed.kind == "path" else _bundled(parsed.name), parsed)


def look(reference: str) -> Reference:
    """Tell what a reference names, without fetching anything.

    Raises:
        CheckpointError, UsageError: as :func:`locate`, but for what is on the Hub.
    """
    parsed = parse_reference(reference)
    if parsed.kind != "hub":
        _folder(parsed.name) if parsed.kind == "path" else _bundled(parsed.name)
    return parsed


def resolve(reference: str, revision: str = "") -> Path:
    """The folder that a reference names; see :func:`locate`."""
    return locate(reference, revision).folder


def _folder(name: str) -> Path:
    folder = Path(name)
    try:
        there = folder.is_dir()
    except OSError as failure:  # a name too long, or a folder that may not be looked into
        raise CheckpointError(f"expected a checkpoint folder at {folder}, found: {failure.strerror}") from failure
    if not there:
        raise CheckpointError(f"expected a checkpoint folder, found nothing at {folder}", "Check the path.")
    return folder


def _bundled(name: str) -> Path:
    folders = {entry.name: Path(entry.path) for entry in bundled_entries() if entry.kind == "checkpoint"}
    if name not in folders:
        raise CheckpointError(
            f"expected a bundled checkpoint ({', '.join(folders)}) or a folder, found {name!r}",
            did_you_mean(name, folders)
            + "`adapt hub list` shows the bundled ones; a checkpoint on the Hub is named org/name.",
        )
    return folders[name]

"""A repository of the Hub as a folder on this machine: which files come, how large they may be, and from when they are.

huggingface_hub does the fetching, into its own cache: a fetch that was interrupted goes on with the files that are not
there whole, and two at once share the work.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from adapt.errors import AdaptError, CheckpointError, HubError
from adapt.files import SUMS, read_sums
from adapt.hub.failures import said
from adapt.hub.kinds import NAMED, is_shared_file
from adapt.hub.ref import Reference
from adapt.progress import SILENT, Progress

if TYPE_CHECKING:
    from huggingface_hub.hf_api import ModelInfo

LARGEST = {".safetensors": 32 << 30, ".parquet": 4 << 30, ".json": 1 << 30, ".md": 4 << 20, "": 16 << 20}
"""Suffix -> most bytes of a file; ``""`` = ``SHA256SUMS`` and ``CURRENT``. Far above what any checkpoint has."""

MOST_FILES = 10_000
COMMIT = re.compile("[0-9a-f]{40}")
_OF_INDEX = ("generations/*", "parts/*")
_SNAPSHOTS = "snapshots"


@dataclass(frozen=True)
class Fetched:
    """A revision of a repository on this machine.

    Attributes:
        folder: of its files.
        commit: 40 hex digits.
        before: the commit that its branch or tag led to when it was last fetched; empty where it is the same, or none
            was.
    """

    folder: Path
    commit: str
    before: str = ""


def fetch(reference: Reference, progress: Progress = SILENT) -> Fetched:
    """Have the files of a revision on this machine.

    A commit that is in the cache whole is not asked for again; neither is anything with ``HF_HUB_OFFLINE``.

    Args:
        reference: of kind ``"hub"``.
        progress: told when a branch or tag has moved since it was last fetched.

    Raises:
        HubError: the repository cannot be had, or offline is not in the cache whole; says what is missing.
        CheckpointError: it holds too many or too large files, or what arrived is no plain file of it.
    """
    from huggingface_hub import constants

    cached = _cached(reference)
    if constants.HF_HUB_OFFLINE:
        return _offline(reference, cached)
    if COMMIT.fullmatch(reference.revision) and (whole := in_cache(reference)):
        return whole
    info = _look(reference, cached)
    sizes = _wanted(reference, info)
    root = _download(reference, sizes)
    if root.name != info.sha:
        raise HubError(
            f"expected {reference} to stay at {info.sha} while it was fetched, found it at {root.name}", "Fetch again."
        )
    _check_arrived(root, sizes)
    before = cached.commit if cached is not None and cached.commit != info.sha else ""
    if before:
        progress.note(
            f"{reference} has moved since it was last fetched, from {before[:12]} to {root.name[:12]}; "
            f"{reference.at(before)} is the earlier one"
        )
    return Fetched(root / reference.subfolder, root.name, before)


def in_cache(reference: Reference) -> Fetched | None:
    """A revision of which the cache has every file that its own list names; nothing is asked of the Hub."""
    found = _cached(reference)
    if found is None or _missing(found.folder):
        return None
    root = found.folder
    for _ in PurePosixPath(reference.subfolder).parts:
        root = root.parent
    for name in (SUMS, *read_sums(found.folder)):
        _plain_file(root, f"{reference.subfolder}/{name}" if reference.subfolder else name)
    return found


def newest(reference: Reference) -> str:
    """The commit that the main branch of a repository leads to now.

    Raises:
        HubError: the repository cannot be had.
    """
    return str(_look(Reference("hub", reference.name), None).sha)


def _cached(reference: Reference) -> Fetched | None:
    """What the cache has of a revision; it may lack files."""
    from huggingface_hub import constants, try_to_load_from_cache

    for name in NAMED:
        path = f"{reference.subfolder}/{name}" if reference.subfolder else name
        found = try_to_load_from_cache(reference.name, path, constants.HF_HUB_CACHE, reference.revision or None)
        if isinstance(found, str):
            root = Path(found).parents[len(PurePosixPath(path).parts) - 1]
            return Fetched(root / reference.subfolder, root.name)
    return None


def _missing(folder: Path) -> list[str]:
    """The files that a folder should hold, by its own list, and does not."""
    try:
        return [name for name in read_sums(folder) if not (folder / name).is_file()]
    except CheckpointError:
        return [SUMS]


def _offline(reference: Reference, cached: Fetched | None) -> Fetched:
    if whole := in_cache(reference):
        return whole
    missing = [] if cached is None else _missing(cached.folder)
    found = f"{cached.folder} without {', '.join(missing)}" if cached is not None else "no file of it"
    raise HubError(
        f"expected {reference} in the cache of the Hub, because HF_HUB_OFFLINE is set; found {found}",
        f"With a network: `HF_HUB_OFFLINE=0 adapt hub pull {reference}` fetches it.",
    )


def _look(reference: Reference, cached: Fetched | None) -> ModelInfo:
    """What the Hub says of a revision: its commit, and the name and size of every file."""
    from huggingface_hub import HfApi

    try:
        return HfApi().model_info(reference.name, revision=reference.revision or None, files_metadata=True)
    except _failures() as failure:
        raise _cannot(reference, failure, cached) from None


def _wanted(reference: Reference, info: ModelInfo) -> dict[str, int]:
    """Path -> size of the files that are fetched.

    Raises:
        CheckpointError: a name leads out of the repository or stands twice, a file is too large, or there are too many.
    """
    sizes: dict[str, int] = {}
    inside = f"{reference.subfolder}/" if reference.subfolder else ""
    for file in info.siblings or ():
        path = PurePosixPath(file.rfilename)
        if path.is_absolute() or ".." in path.parts:
            raise CheckpointError(f"expected files inside {reference}, found {file.rfilename!r}", _NOT_THIS)
        name = file.rfilename.removeprefix(inside)
        if not file.rfilename.startswith(inside) or not is_shared_file(name):
            continue
        if file.rfilename in sizes:
            raise CheckpointError(f"expected each file once in {reference}, found {name} twice", _NOT_THIS)
        sizes[file.rfilename] = _bounded(name, file.size or 0, str(reference))
    if len(sizes) > MOST_FILES:
        raise CheckpointError(f"expected at most {MOST_FILES:,} files in {reference}, found {len(sizes):,}", _NOT_THIS)
    return sizes


def _bounded(name: str, size: int, where: str) -> int:
    most = LARGEST[PurePosixPath(name).suffix]
    if size > most:
        raise CheckpointError(f"expected at most {most:,} bytes in {name} of {where}, found {size:,}", _NOT_THIS)
    return size


def copy_of(reference: Reference, names: Iterable[str], folder: Path) -> None:
    """Put files of a revision that is in the cache into a folder, with huggingface_hub's record of the revision.

    Offline nothing is put there.

    Raises:
        HubError: the Hub cannot be reached.
    """
    from huggingface_hub import constants

    if not constants.HF_HUB_OFFLINE:
        _download(reference, names, folder)


def _download(reference: Reference, names: Iterable[str], folder: Path | None = None) -> Path:
    from huggingface_hub import constants, snapshot_download

    patterns = list(names) or [SUMS]  # no pattern would be every file
    try:
        return Path(
            snapshot_download(
                reference.name,
                revision=reference.revision or None,
                allow_patterns=patterns,
                cache_dir=constants.HF_HUB_CACHE,
                local_dir=folder,
            )
        )
    except _failures() as failure:
        raise _cannot(reference, failure, None) from None


def _check_arrived(root: Path, sizes: dict[str, int]) -> None:
    """The files are there, as plain files, and of the size that was said.

    Raises:
        CheckpointError: one is not.
    """
    for name, size in sizes.items():
        path = _plain_file(root, name)
        if (found := path.stat().st_size) != size:
            raise CheckpointError(
                f"expected {size:,} bytes in {path}, found {found:,}", f"`rm {os.path.realpath(path)}` and fetch again."
            )


def _plain_file(root: Path, name: str) -> Path:
    """A file of a snapshot, which may be a link into the repository's own cache and nowhere else.

    Raises:
        CheckpointError: it is not there, or leads elsewhere.
    """
    path = root / name
    store = root.parent.parent.resolve() if root.parent.name == _SNAPSHOTS else root.resolve()
    if not path.is_file() or not path.resolve().is_relative_to(store):
        found = f"a link to {path.readlink()}" if path.is_symlink() else "none"
        raise CheckpointError(f"expected a plain file at {path}, found {found}", "Remove it and fetch again.")
    return path


def _cannot(reference: Reference, failure: Exception, cached: Fetched | None) -> AdaptError:
    """Why a repository cannot be had, with what to do about it."""
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError

    reason = said(failure)
    if isinstance(failure, ValueError) and not isinstance(failure, HfHubHTTPError):
        reason = f"an answer that is not the Hub's ({reason})"
    hint = "Check the network and HF_ENDPOINT, and try again: files that have arrived are kept."
    if isinstance(failure, GatedRepoError):
        hint = (
            f"Accept its conditions on https://huggingface.co/{reference.name}, then `hf auth login` or set HF_TOKEN."
        )
    elif isinstance(failure, RevisionNotFoundError):
        hint = f"It has no revision {reference.revision!r}: `adapt hub pull {reference.at('main')}` takes the newest."
    elif isinstance(failure, RepositoryNotFoundError):
        hint = (
            f"Check the name: there is no folder {reference} here either. Where it is private, `hf auth login` or set "
            "HF_TOKEN to a token that may read it."
        )
    elif cached is not None and not _missing(cached.folder):
        hint = f"With HF_HUB_OFFLINE=1 the copy in the cache is used, of commit {cached.commit[:12]}."
    return HubError(f"expected to fetch {reference} from the Hub, found: {reason}", hint)


def _failures() -> tuple[type[Exception], ...]:
    """What huggingface_hub raises: its own errors, and what a broken connection raises beneath it."""
    from huggingface_hub.errors import HfHubHTTPError

    found: tuple[type[Exception], ...] = (HfHubHTTPError, OSError, ValueError)
    try:
        from httpx import HTTPError
    except ImportError:  # a huggingface_hub that stands on requests, whose errors are an OSError
        return found
    return (*found, HTTPError)


_NOT_THIS = "Do not use it: such a repository was not made by `adapt hub push`."

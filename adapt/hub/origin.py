"""Which revision of a repository a folder was fetched from, and what has changed in it since."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from adapt.files import sha256_file

_SNAPSHOT = re.compile(r"models--(?P<repo>.+)/snapshots/(?P<commit>[0-9a-f]{40})(?:/|$)")
_RECORDS = Path(".cache") / "huggingface" / "download"
_ETAG = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


@dataclass(frozen=True)
class Origin:
    """Where a working copy comes from.

    Attributes:
        commit: 40 hex digits.
        repo: ``org/name``; empty where the folder does not say.
        changed: files whose bytes are not those of that commit.
    """

    commit: str
    repo: str
    changed: tuple[str, ...]


def in_cache(folder: Path) -> bool:
    """Whether a folder is a snapshot in the Hub's cache, which everything on this machine shares."""
    return _SNAPSHOT.search(folder.absolute().as_posix()) is not None


def origin_of(folder: Path, names: Sequence[str]) -> Origin | None:
    """What the Hub's own records in a folder say: in its cache by the path, in a local copy by ``.cache/huggingface``.

    Args:
        folder: that may have been fetched.
        names: relative paths of the files that count.

    Returns:
        None for a folder that was made here.
    """
    if found := _SNAPSHOT.search(folder.absolute().as_posix()):
        etags = {name: Path((folder / name).readlink()).name for name in names if (folder / name).is_symlink()}
        return Origin(found["commit"], found["repo"].replace("--", "/", 1), _changed(folder, names, etags))
    records = dict(_records(folder))
    if not records:
        return None
    commit = max(records.values(), key=lambda record: record[2])[0]
    return Origin(commit, "", _changed(folder, names, {name: record[1] for name, record in records.items()}))


def _records(folder: Path) -> Iterator[tuple[str, tuple[str, str, float]]]:
    """Name -> commit, etag and time of each file that was fetched into a folder."""
    root = folder / _RECORDS
    for path in sorted(root.rglob("*.metadata")):
        try:
            commit, etag, when, *_ = path.read_text(encoding="utf-8").splitlines()
            yield path.relative_to(root).as_posix().removesuffix(".metadata"), (commit, etag, float(when))
        except (OSError, ValueError):
            continue  # a record that is cut off says nothing, to the Hub's client neither


def _changed(folder: Path, names: Sequence[str], etags: dict[str, str]) -> tuple[str, ...]:
    return tuple(name for name in names if name not in etags or not _has(folder / name, etags[name]))


def _has(path: Path, etag: str) -> bool:
    """Whether a file has the content that the Hub named: by SHA-256 for large files, else as git does."""
    if not path.is_file() or not _ETAG.fullmatch(etag):
        return False
    if len(etag) == 64:
        return sha256_file(path) == etag
    data = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest() == etag

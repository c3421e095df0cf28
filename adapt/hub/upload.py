"""What a push would send: decided from the folder alone, before anything is asked of the Hub."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from adapt.errors import CheckpointError
from adapt.files import sha256_file
from adapt.hub.card_check import check_card
from adapt.hub.leaks import refuse_leaks
from adapt.hub.origin import Origin, origin_of

SUMS, CARD = "SHA256SUMS", "README.md"
_ALLOWED = (".safetensors", ".json", ".md", ".txt", ".parquet", "")
_HINT = "Write it again with `adapt hub card PATH`, or save it anew."


@dataclass(frozen=True)
class UploadFile:
    """One file of an upload.

    Attributes:
        name: path in the repository.
        size_bytes: of it.
        sha256: of its content.
    """

    name: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True)
class UploadPlan:
    """What would go, and what would not.

    Attributes:
        kind: ``"checkpoint"``, ``"adapter"`` or ``"index"``.
        folder: that holds the files.
        files: in the order of their names.
        left_out: files of the folder that stay here.
        notes: what a person should know before it goes.
        origin: the revision that the folder was fetched from; None for one that was made here.
    """

    kind: str
    folder: Path
    files: tuple[UploadFile, ...]
    left_out: tuple[str, ...]
    notes: tuple[str, ...] = ()
    origin: Origin | None = None

    @property
    def size_bytes(self) -> int:
        """Of all files that go."""
        return sum(file.size_bytes for file in self.files)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {
            "kind": self.kind,
            "files": [{"name": file.name, "size_bytes": file.size_bytes, "sha256": file.sha256} for file in self.files],
            "size_bytes": self.size_bytes,
            "left_out": list(self.left_out),
            "notes": list(self.notes),
        }


def plan_upload(
    kind: str,
    folder: Path,
    *,
    source: Path | None = None,
    notes: tuple[str, ...] = (),
    tokens: tuple[str, ...] = (),
) -> UploadPlan:
    """Decide what a push sends: the files that ``SHA256SUMS`` lists, and the list.

    Args:
        kind: ``"checkpoint"``, ``"adapter"`` or ``"index"``.
        folder: verified as what it is.
        source: the folder that was named, where ``folder`` is a copy of it made to be shared.
        notes: what a person should know.
        tokens: secrets of this machine, which are looked for in every file.

    Raises:
        CheckpointError: a file is missing, changed, a link, or of a type that is never shared; the card is no card.
        UsageError: something in the folder must not be shared.
    """
    listed = read_sums(folder)
    if CARD not in listed:
        raise CheckpointError(f"expected {CARD} among the files of {folder / SUMS}, found none", _HINT)
    names = sorted({*listed, SUMS})
    files = []
    for name in names:
        path = folder / name
        if PurePosixPath(name).suffix not in _ALLOWED:
            raise CheckpointError(f"expected safetensors, JSON and text to share, found {name} in {folder}", _HINT)
        digest = sha256_file(path)
        if listed.get(name, digest) != digest:
            raise CheckpointError(
                f"expected {path} with sha256 {listed[name]}, found {digest}: it was changed after it was saved", _HINT
            )
        files.append(UploadFile(name, path.stat().st_size, digest))
    for place in dict.fromkeys((folder, source or folder)):
        refuse_leaks(place, names, tokens=tokens)
    check_card((folder / CARD).read_text(encoding="utf-8"), str(folder / CARD))
    origin = origin_of(source or folder, names)
    return UploadPlan(kind, folder, tuple(files), _left_out(source or folder, names), notes, origin)


def read_sums(folder: Path) -> dict[str, str]:
    """Name -> sha256 of every file that a folder's ``SHA256SUMS`` lists; each is there.

    Raises:
        CheckpointError: there is no list, it is damaged, or a file is missing.
    """
    listed = parse_sums(folder / SUMS)
    for name in listed:
        if not (folder / name).is_file():
            raise CheckpointError(f"expected {folder / name}, found no such file", _HINT)
    return listed


def parse_sums(path: Path) -> dict[str, str]:
    """Name -> sha256 of every line of a ``SHA256SUMS``.

    Raises:
        CheckpointError: there is no list, a line is none, or a name leads out of the folder or is listed twice.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as failure:
        raise CheckpointError(f"expected {SUMS} in {path.parent}, found: {failure}", _HINT) from failure
    listed: dict[str, str] = {}
    for line in lines:
        digest, separator, name = line.partition("  ")
        parts = PurePosixPath(name).parts
        if not separator or not parts or name.startswith("/") or ".." in parts or "\\" in name or name in listed:
            raise CheckpointError(f"expected one line a file of this folder in {path}, found {line!r}", _HINT)
        listed[name] = digest
    return listed


def _left_out(folder: Path, sent: list[str]) -> tuple[str, ...]:
    names = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir())
    return tuple(sorted(name for name in names if name not in sent and not name.startswith(".cache/")))

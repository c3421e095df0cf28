"""What a push would send: decided from the folder alone, before anything is asked of the Hub."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from adapt.errors import CheckpointError
from adapt.files import SUMS, check_sums, read_sums
from adapt.hub.card_check import check_card
from adapt.hub.leaks import refuse_leaks
from adapt.hub.origin import Origin, origin_of

CARD = "README.md"
_ALLOWED = (".safetensors", ".json", ".md", "")
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
    fingerprint = check_sums(folder, listed)
    digests = {**listed, SUMS: fingerprint}
    names = sorted(digests)
    for name in names:
        if PurePosixPath(name).suffix not in _ALLOWED:
            raise CheckpointError(f"expected safetensors, JSON and text to share, found {name} in {folder}", _HINT)
    files = [UploadFile(name, (folder / name).stat().st_size, digests[name]) for name in names]
    for place in dict.fromkeys((folder, source or folder)):
        refuse_leaks(place, names, tokens=tokens)
    check_card((folder / CARD).read_text(encoding="utf-8"), str(folder / CARD))
    origin = origin_of(source or folder, names)
    return UploadPlan(kind, folder, tuple(files), _left_out(source or folder, names), notes, origin)


def _left_out(folder: Path, sent: list[str]) -> tuple[str, ...]:
    names = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir())
    return tuple(sorted(name for name in names if name not in sent and not name.startswith(".cache/")))

"""Having what a reference names on this machine, with all that it needs of the Hub, checked byte by byte.

What reads adapters and indexes imports torch: it is imported when something is here to be read.
"""

from __future__ import annotations

import shutil
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from adapt.errors import AdaptError, CheckpointError
from adapt.files import SUMS, atomic_folder, check_sums, read_sums
from adapt.hub.fetch import COMMIT, copy_of, newest
from adapt.hub.kinds import Kind, kind_of
from adapt.hub.ref import parse_reference
from adapt.hub.resolve import Located, locate
from adapt.hub.sums import verify_hashes
from adapt.progress import SILENT, Progress


@dataclass(frozen=True)
class Pulled:
    """Something that is here now.

    Attributes:
        reference: pinned: it leads to the same files for good.
        kind: what it is.
        folder: on this machine.
        commit: of the repository; empty for what is bundled or a folder.
        sha256: fingerprint over all files.
        files: how many.
        size_bytes: of them.
        newest: the commit of the main branch, where another one was asked for by name; else empty.
        needs: what was pulled with it: the base of an adapter, the model of an index.
        items: whether it is an adapter with the items of its run.
    """

    reference: str
    kind: Kind
    folder: str
    commit: str
    sha256: str
    files: int
    size_bytes: int
    newest: str = ""
    needs: Pulled | None = None
    items: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return asdict(self)


def pull(reference: str, *, revision: str = "", output: Path | None = None, progress: Progress = SILENT) -> Pulled:
    """Fetch a checkpoint, an adapter with its base, or an index with its model, and check every byte.

    Args:
        reference: ``org/name[@revision]``; a bundled name or a folder is only checked.
        revision: branch, tag or commit, in place of one in ``reference``.
        output: new or empty folder for a working copy; None = the files stay in the cache of the Hub.
        progress: told when a branch or tag has moved, or the main branch is elsewhere.

    Raises:
        HubError: the repository, or what it needs, cannot be had.
        CheckpointError: what arrived is damaged or refused.
        OutputError: the copy cannot be written.
    """
    located = locate(reference, revision, progress)
    from adapt.hub.share import ITEM_FILES

    kind = kind_of(located.folder)
    sha256 = fingerprint(located, kind)
    head = moved_on(located)
    if head:
        progress.note(
            f"{located.reference.name}@{located.commit[:12]} is not the newest: its main branch is at {head[:12]}"
        )
    needs = needed_by(located.folder, kind)
    needed = pull(needs, progress=progress) if needs and parse_reference(needs).kind == "hub" else None
    folder = located.folder
    names = [*read_sums(folder), SUMS]
    if output is not None:
        _copy(located, names, output)
        folder = output
    sizes = [(folder / name).stat().st_size for name in names]
    return Pulled(
        reference=located.pinned,
        kind=kind,
        folder=str(folder),
        commit=located.commit,
        sha256=sha256,
        files=len(names),
        size_bytes=sum(sizes),
        newest=head,
        needs=needed,
        items=kind == "adapter" and bool(set(ITEM_FILES) & set(names)),
    )


def fingerprint(located: Located, kind: Kind) -> str:
    """Check every file that a folder lists.

    Raises:
        CheckpointError: it is damaged, lists files that are none of its kind, or is a run, which is never on the Hub.
    """
    if kind == "checkpoint":
        return verify_hashes(located.folder)
    if kind == "adapter":
        from adapt.hub.adapter import Adapter

        return Adapter.at(located).sha256
    if kind == "index":
        from adapt.hub.index_contents import refuse_remote

        sha256 = check_sums(located.folder, read_sums(located.folder))
        refuse_remote(located.folder)
        return sha256
    raise CheckpointError(
        f"expected a checkpoint, an adapter or an index in {located.folder}, found a run",
        "Its adapter is what is shared: the folder `adapter` in it.",
    )


def needed_by(folder: Path, kind: Kind) -> str:
    """The reference of the checkpoint that an adapter or an index was made with; empty for a checkpoint.

    Raises:
        CheckpointError: the file that names it is damaged, or it is on the Hub and not pinned.
    """
    found = ""
    if kind == "adapter":
        from adapt.adapters import read_base

        base = read_base(folder)
        found = base.reference or base.name
    elif kind == "index":
        from adapt.hub.index_contents import described

        found = described(folder).model.reference
    if found and parse_reference(found).kind == "hub" and not COMMIT.fullmatch(parse_reference(found).revision):
        raise CheckpointError(
            f"expected {folder} to name its checkpoint by a commit of 40 hex digits, found {found!r}",
            "Ask its author to push it again with --base org/name@commit.",
        )
    return found


def moved_on(located: Located) -> str:
    """The commit that the main branch leads to, where a revision was named and is not that one; empty otherwise, and
    where the Hub cannot be asked.
    """
    from huggingface_hub import constants

    if not located.commit or not located.reference.revision or constants.HF_HUB_OFFLINE:
        return ""
    try:
        head = newest(located.reference)
    except AdaptError:  # the files are here; who asks for a commit needs nothing more
        return ""
    return head if head != located.commit else ""


def _copy(located: Located, names: list[str], output: Path) -> None:
    """A working copy; one from the Hub keeps the Hub's own record of which revision its files are."""
    with atomic_folder(output) as temporary:
        if located.commit and not located.reference.subfolder:
            copy_of(located.reference.at(located.commit), names, temporary)
        for name in names:
            target = temporary / PurePosixPath(name)
            if not target.is_file():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(located.folder / name, target)
        check_sums(temporary, read_sums(temporary))

"""Where an index is: a folder, or a repository on the Hub whose copy in the cache is read and never changed."""

from __future__ import annotations

from pathlib import Path

from adapt.errors import UsageError
from adapt.hub.index_contents import refuse_remote
from adapt.hub.origin import in_cache
from adapt.hub.ref import is_on_hub
from adapt.hub.resolve import locate


def index_folder(reference: str | Path) -> Path:
    """The folder of an index, fetched from the Hub if the reference says so.

    Args:
        reference: a folder, or ``org/name[@revision]``.

    Raises:
        HubError: the repository cannot be had.
        CheckpointError: what it holds is refused.
    """
    if is_on_hub(reference) and not Path(reference).exists():
        folder = locate(str(reference)).folder
        refuse_remote(folder)
        return folder
    return Path(reference)


def refuse_cached(folder: Path) -> None:
    """Make sure that what is to be changed is no copy in the cache of the Hub.

    Raises:
        UsageError: it is.
    """
    if in_cache(folder):
        raise UsageError(
            f"expected an index of one's own to change, found the copy of a shared one in {folder}",
            "`adapt hub pull REF --output DIR` makes a copy to work on.",
        )

"""What an index has of the Hub's usual methods: read by a reference, saved as a folder, pushed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from adapt.hub.resolve import locate
from adapt.index.copies import copy_index
from adapt.index.generations import Generations
from adapt.index.snapshot import Snapshot
from adapt.progress import SILENT, Progress

if TYPE_CHECKING:
    from adapt.hub.push import Pushed
    from adapt.workflows.living_index import LivingIndex


class IndexHubMixin:
    """The methods, under the names that they have in transformers."""

    folder: Generations
    snapshot: Snapshot
    progress: Progress

    @classmethod
    def from_pretrained(
        cls,
        reference: str,
        *,
        revision: str = "",
        allow_download: bool = False,
        device: str = "cpu",
        progress: Progress = SILENT,
    ) -> LivingIndex:
        """Open an index by its reference; one on the Hub is read only, :meth:`save_pretrained` makes a copy to change.

        Args:
            reference: a folder, or ``org/name[@revision]`` on the Hub.
            revision: branch, tag or commit, in place of one in ``reference``.
            allow_download: whether an encoder may be fetched from the Hub.
            device: where encoders and towers run.
            progress: told when a branch or tag has moved, and where a graph is built.

        Raises:
            CheckpointError: there is no index, it is damaged, or it belongs to another model.
            HubError: the repository cannot be had.
            UsageError: a revision is given twice, or for a folder.
        """
        from adapt.workflows.living_index import LivingIndex

        pinned = locate(reference, revision, progress).pinned
        return LivingIndex.open(pinned, allow_download=allow_download, device=device, progress=progress)

    def save_pretrained(self, folder: str | Path) -> None:
        """Write what the index holds now as an index of its own, whole or not at all.

        Raises:
            OutputError: the folder exists with files in it, or cannot be written.
            UsageError: another engine searches the index.
        """
        copy_index(self.snapshot, self.folder, Path(folder))

    def push_to_hub(
        self, repo_id: str, *, include_items: bool, private: bool = False, commit_message: str = "", base: str = ""
    ) -> Pushed:
        """Share what the index holds now as one commit: no users, no deleted items, nothing of this machine.

        Args:
            repo_id: ``org/name``; made if it is not there.
            include_items: that ids, titles, columns and features of all items may be seen by whoever sees it.
            private: whether a repository that is made for it is private.
            commit_message: empty = one is made.
            base: ``org/name[@revision]`` of its checkpoint, where it was built with a folder of this machine.

        Raises:
            UsageError: items may not go, its model is a run or a folder of this machine, or something must not leave.
            CheckpointError: the index does not verify.
            HubError: there is no token, or the Hub refuses or cannot be reached.
        """
        from adapt.hub.push import PushOptions
        from adapt.workflows.hub_push import push_path  # searching needs none of it

        options = PushOptions(private, commit_message, include_items=include_items, base=base)
        return push_path(self.folder.path, repo_id, options, self.progress)

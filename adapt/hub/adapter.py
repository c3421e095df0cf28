"""An adapter that is shared: small files on top of a checkpoint that everybody can fetch by its pinned revision."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from adapt import adapters, lora
from adapt.adapters import BASE, BESIDE, CARD, METRICS, BaseIdentity
from adapt.errors import CheckpointError
from adapt.files import SUMS, atomic_folder, check_sums, read_object, read_sums, sha256_bytes
from adapt.hub.fetch import COMMIT, in_cache
from adapt.hub.format import Checkpoint
from adapt.hub.kinds import kind_of
from adapt.hub.push import Pushed, PushOptions, push
from adapt.hub.ref import parse_reference
from adapt.hub.resolve import Located, locate
from adapt.hub.share import ITEM_FILES, share_adapter
from adapt.model.towers import DualTower
from adapt.progress import SILENT, Progress

_NEEDED = (lora.CONFIG, lora.WEIGHTS, BASE)
FILES = (*_NEEDED, BESIDE, METRICS, CARD, *ITEM_FILES)
"""All that ``SHA256SUMS`` of an adapter may list."""


@dataclass(frozen=True, eq=False)
class Adapter:
    """A LoRA adapter in a folder.

    Attributes:
        folder: with peft's two files, ``base.json`` and ``SHA256SUMS``.
        base: the checkpoint that it belongs to, and by which reference that is fetched.
        sha256: fingerprint over all files.
        commit: of the Hub repository that it was fetched from; empty for a folder of this machine.
    """

    folder: Path
    base: BaseIdentity
    sha256: str
    commit: str = ""

    @classmethod
    def from_pretrained(cls, reference: str, *, revision: str = "", progress: Progress = SILENT) -> Adapter:
        """Read an adapter and verify every byte of it; its base is not touched.

        Args:
            reference: a folder, or ``org/name[@revision]`` on the Hub.
            revision: branch, tag or commit, in place of one in ``reference``.
            progress: told when a branch or tag has moved since it was last fetched.

        Raises:
            CheckpointError: unknown, damaged, or no adapter.
            HubError: the repository cannot be had.
        """
        return cls.at(locate(reference, revision, progress))

    @classmethod
    def at(cls, located: Located) -> Adapter:
        """The adapter in a folder that was found; see :meth:`from_pretrained`."""
        folder = located.folder
        if (kind := kind_of(folder)) != "adapter":
            raise CheckpointError(f"expected an adapter in {folder}, found: {kind}")
        listed = read_sums(folder)
        if not set(_NEEDED) <= set(listed) <= set(FILES):
            raise CheckpointError(
                f"expected {SUMS} to list {', '.join(_NEEDED)}, and nothing else but {', '.join(FILES[3:])}; "
                f"found {', '.join(sorted(listed)) or 'nothing'}"
            )
        return cls(folder, adapters.read_base(folder), check_sums(folder, listed), located.commit)

    @property
    def metrics(self) -> Mapping[str, Any]:
        """What ``metrics.json`` says of the data set, the training and its validation; empty where there is none.

        Raises:
            CheckpointError: it is no JSON object.
        """
        path = self.folder / METRICS
        return read_object(path) if path.is_file() else {}

    def on(self, checkpoint: Checkpoint) -> DualTower:
        """Towers with the adapter, beside the checkpoint's own and those of other adapters; weights are shared.

        Raises:
            CheckpointError: the checkpoint is not the adapter's base (both hashes are said), or a file is damaged.
        """
        towers = adapters.twin(checkpoint.towers)
        found = BaseIdentity(checkpoint.config.name, self.base.revision, checkpoint.sha256)
        adapters.load(towers, self.folder, found)
        return towers.eval()

    def base_checkpoint(self, *, allow_download: bool = False, device: str = "cpu") -> Checkpoint:
        """The checkpoint that the adapter belongs to, by its pinned reference; see :meth:`checkpoint`."""
        return Checkpoint.from_pretrained(self._reference(allow_download or bool(self.commit)), device=device)

    def checkpoint(self, *, allow_download: bool = False, device: str = "cpu") -> Checkpoint:
        """The base with the adapter merged into its weights: a checkpoint like any other.

        Args:
            allow_download: whether the base may be fetched from the Hub; that of an adapter that was itself fetched
                may be in any case.
            device: where the towers go.

        Returns:
            Its fingerprint is that of the base and the adapter together; what was trained on is what either was.

        Raises:
            CheckpointError: the base is not here, is another one (both hashes are said), or is not pinned.
            HubError: the base cannot be had.
        """
        base = self.base_checkpoint(allow_download=allow_download, device=device)
        towers = self.on(base)
        adapters.merge(towers)
        pretraining = dict(base.metrics.get("pretraining", {}))
        dataset = self.metrics.get("dataset")
        pretraining["trained_on"] = [*pretraining.get("trained_on", []), *([dataset] if dataset else [])]
        return replace(
            base,
            config=replace(base.config, name=f"{base.config.name}+lora"),
            towers=towers.eval(),
            metrics={"pretraining": pretraining},
            sha256=sha256_bytes(f"{base.sha256}  base\n{self.sha256}  adapter\n".encode()),
            golden=None,
        )

    def save_pretrained(self, folder: str | Path, *, replace: bool = False) -> None:
        """Copy the adapter into a folder, whole or not at all.

        Raises:
            OutputError: the folder exists with files in it and ``replace`` is false, or cannot be written.
        """
        with atomic_folder(Path(folder), replace=replace) as temporary:
            for name in (*read_sums(self.folder), SUMS):
                shutil.copyfile(self.folder / name, temporary / name)

    def push_to_hub(
        self,
        repo_id: str,
        *,
        private: bool = False,
        commit_message: str = "",
        base: str = "",
        include_items: bool = False,
        progress: Progress = SILENT,
    ) -> Pushed:
        """Share the adapter as one commit, its base named by a reference that leads everybody to it.

        Args:
            repo_id: ``org/name``; made if it is not there.
            private: whether a repository that is made for it is private.
            commit_message: empty = one is made.
            base: ``org/name[@revision]`` of the base, where the adapter names a folder of this machine.
            include_items: whether what it knows of single items goes too.
            progress: told what is to be known, and the bytes sent.

        Raises:
            CheckpointError: it does not fit the base.
            UsageError: the base is a folder of this machine, ``repo_id`` is no name, or something must not leave.
            HubError: there is no token, or the Hub refuses or cannot be reached.
        """
        options = PushOptions(private=private, message=commit_message, base=base, include_items=include_items)
        with tempfile.TemporaryDirectory() as scratch:
            plan = share_adapter(self, repo_id, options, Path(scratch) / "share")
            Adapter.from_pretrained(str(plan.folder)).checkpoint(allow_download=True)
            return push(plan, repo_id, options, progress)

    def _reference(self, allow_download: bool) -> str:
        """What leads to the base on this machine, or from it.

        Raises:
            CheckpointError: nothing does, or it may not be followed.
        """
        text = self.base.reference or self.base.name
        if text.startswith((".", "/", "~")):
            if self.commit:
                raise CheckpointError(
                    f"expected an adapter whose base others can fetch, found one on {text!r}, a folder of its author",
                    "Ask its author to push it again with --base org/name@commit.",
                )
            return str(self.folder / text)
        parsed = parse_reference(text)
        if parsed.kind != "hub":
            return text
        if not COMMIT.fullmatch(parsed.revision):
            raise CheckpointError(
                f"expected the base of {self.folder} pinned to a commit of 40 hex digits, found {text!r}",
                "Ask its author to push it again with --base org/name@commit.",
            )
        if not allow_download and in_cache(parsed) is None:
            raise CheckpointError(
                f"expected the base {text} of the adapter in {self.folder} on this machine, found it not in the cache "
                "of the Hub",
                f"`adapt hub pull {text}` fetches it.",
            )
        return text

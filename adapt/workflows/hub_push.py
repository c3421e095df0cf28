"""Sharing what is in a folder: it is made ready for others, verified as they will verify it, and sent as one commit."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from adapt.errors import CheckpointError, UsageError
from adapt.hub.adapter import Adapter
from adapt.hub.kinds import kind_of
from adapt.hub.push import DEFAULTS, Pushed, PushOptions, check_repo, push
from adapt.hub.share import ITEM_FILES, ITEMS_HINT, copy_adapter, sealed, share_adapter, share_checkpoint, shared_as
from adapt.hub.upload import UploadPlan
from adapt.progress import SILENT, Progress
from adapt.workflows.hub_index import export_index
from adapt.workflows.hub_verify import verify
from adapt.workflows.run import Run
from adapt.workflows.shared_run import shared_items


def push_path(path: str | Path, repo: str, options: PushOptions = DEFAULTS, progress: Progress = SILENT) -> Pushed:
    """Share a checkpoint, an adapter, the adapter of a fine-tuned run, or an index.

    Args:
        path: its folder.
        repo: ``org/name``; made if it is not there.
        options: how.
        progress: told what is to be known, and the bytes sent.

    Raises:
        CheckpointError: the folder holds none of these, or does not verify.
        UsageError: something in it must not leave, ``repo`` is no name, or an option does not fit.
        HubError: the Hub refuses or cannot be reached.
    """
    check_repo(repo)
    folder = Path(path)
    with tempfile.TemporaryDirectory() as scratch:
        plan = prepare(folder, repo, options, Path(scratch) / "share", progress)
        return push(plan, repo, options, progress)


def prepare(folder: Path, repo: str, options: PushOptions, scratch: Path, progress: Progress = SILENT) -> UploadPlan:
    """What a push of a folder would send.

    Args:
        folder: of a checkpoint, an adapter, a run or an index.
        repo: ``org/name``, which cards name.
        options: how.
        scratch: where copies are made ready that differ from the folder; new, and needed until the push is done.
        progress: told what takes long.

    Raises:
        CheckpointError: the folder holds none of these, or does not verify.
        UsageError: something in it must not leave.
        HubError: a base cannot be had from the Hub.
    """
    kinds: Mapping[str, Callable[[], UploadPlan]] = {
        "checkpoint": lambda: share_checkpoint(folder, repo, options),
        "adapter": lambda: share_adapter(Adapter.from_pretrained(str(folder.absolute())), repo, options, scratch),
        "run": lambda: _of_run(folder, repo, options, scratch),
        "index": lambda: _of_index(folder, repo, options, scratch, progress),
    }
    plan = kinds[kind_of(folder)]()
    _check(plan, folder)
    return plan


def _check(plan: UploadPlan, folder: Path) -> None:
    """What goes is looked at as those who fetch it will look at it."""
    found = verify(str(plan.folder.absolute()))
    failed = [f"{check.name}: {check.detail}" for check in found.checks if check.passed is False]
    if failed:
        raise CheckpointError(
            f"expected {folder} to verify, found that it does not: {'; '.join(failed)}",
            f"`adapt hub verify {folder}` shows every check. Save it anew, or fetch it again.",
        )


def _of_run(folder: Path, repo: str, options: PushOptions, scratch: Path) -> UploadPlan:
    """The adapter of a run; histories of its users stay, and so do its items unless they are asked for."""
    run = Run.load(folder)
    adapter = run.adapter
    copy_adapter(adapter, options, scratch)
    metrics = dict(adapter.metrics)
    notes = [f"The histories of {folder} stay here: what is shared recommends by the fine-tuned towers alone."]
    if options.include_items:
        for name in ITEM_FILES:
            if (folder / name).is_file():
                shutil.copyfile(folder / name, scratch / name)
        metrics["items"] = shared_items(run.record, len(run.item_ids))
        notes.append(
            f"{len(run.item_ids):,} item ids and what the run learned of these items go with the adapter: whoever sees "
            "the repository sees them."
        )
    return sealed("adapter", scratch, {**metrics, **shared_as(repo, options)}, notes=tuple(notes))


def _of_index(folder: Path, repo: str, options: PushOptions, scratch: Path, progress: Progress) -> UploadPlan:
    if not options.include_items:
        raise UsageError(
            f"expected a folder without items, found an index, which holds ids, titles, columns and features of all of "
            f"its items in {folder}",
            ITEMS_HINT,
        )
    metrics = export_index(folder, scratch, base=options.base, progress=progress)
    notes = (
        f"{metrics['items']:,} items with their ids, titles and columns ({', '.join(metrics['columns']) or 'none'}) "
        "go: whoever sees the repository sees them.",
    )
    return sealed("index", scratch, {**metrics, **shared_as(repo, options)}, notes=notes)

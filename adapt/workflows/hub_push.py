"""Sharing what is in a folder: it is verified, made ready for others in a place of its own, and sent as one commit."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from adapt.adapters import BASE
from adapt.errors import CheckpointError, UsageError
from adapt.files import read_sums, write_json
from adapt.hub.adapter import Adapter
from adapt.hub.failures import own_tokens
from adapt.hub.format import Checkpoint
from adapt.hub.kinds import kind_of
from adapt.hub.push import DEFAULTS, Pushed, PushOptions, check_repo, push
from adapt.hub.regenerate import card_of, write_card
from adapt.hub.upload import CARD, UploadPlan, plan_upload
from adapt.progress import SILENT, Progress
from adapt.workflows.hub_index import export_index
from adapt.workflows.hub_reference import shared_reference
from adapt.workflows.run import ITEMS, NORMALISER, RESIDUAL, Run

_ITEM_FILES = (ITEMS, RESIDUAL, NORMALISER)
_ITEMS_HINT = "Add --include-items if these items may be seen by everybody who sees the repository."


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
    if not folder.is_dir():
        raise CheckpointError(f"expected a folder to push, found nothing at {folder}", "Check the path.")
    kinds: Mapping[str, Callable[[], UploadPlan]] = {
        "checkpoint": lambda: _of_checkpoint(folder, repo, options),
        "adapter": lambda: _of_adapter(folder, repo, options, scratch),
        "run": lambda: _of_run(folder, repo, options, scratch),
        "index": lambda: _of_index(folder, repo, options, scratch, progress),
    }
    return kinds[kind_of(folder)]()


def _of_checkpoint(folder: Path, repo: str, options: PushOptions) -> UploadPlan:
    """As it is: its bytes are its fingerprint, which adapters and indexes name."""
    if options.base or options.license:
        raise UsageError(
            f"expected neither --base nor --license with a checkpoint, found {options.base or options.license}",
            "`adapt hub card PATH --license ID` writes the licence into its card.",
        )
    checkpoint = Checkpoint.from_pretrained(str(folder))
    check_golden(checkpoint, folder)
    notes = []
    named = checkpoint.metrics.get("repository") or checkpoint.config.name
    if named != repo:
        notes.append(
            f"The card says how to use {named}, not {repo}: `adapt hub card {folder} --repo {repo}` changes that, and "
            "the fingerprint with it, so do it before adapters or indexes are made with the checkpoint."
        )
    return plan_upload("checkpoint", folder, notes=tuple(notes), tokens=own_tokens())


def check_golden(checkpoint: Checkpoint, folder: Path) -> None:
    """Make sure that a checkpoint gives the outputs that it was saved with.

    Raises:
        CheckpointError: it has none, or gives others.
    """
    if checkpoint.golden is None:
        raise CheckpointError(
            f"expected golden outputs in {folder}, by which others check the checkpoint, found none",
            f'Save it anew: adapt.Checkpoint.from_pretrained("{folder}").save_pretrained("{folder}", replace=True).',
        )
    widths = {name: part.dim for name, part in checkpoint.statistics.items()}
    if not checkpoint.golden.holds(checkpoint.towers, widths):
        raise CheckpointError(
            f"expected the towers in {folder} to give their golden outputs, found others: they differ by "
            f"{checkpoint.golden.error(checkpoint.towers):.2g}",
            "Fetch or save it again.",
        )


def _of_adapter(folder: Path, repo: str, options: PushOptions, scratch: Path) -> UploadPlan:
    adapter = Adapter.from_pretrained(str(folder.absolute()))
    held = [name for name in _ITEM_FILES if (folder / name).is_file()]
    if held and not options.include_items:
        raise UsageError(
            f"expected an adapter without what is known of single items, found {', '.join(held)}", _ITEMS_HINT
        )
    _copy_adapter(adapter, scratch, options)
    for name in held:
        shutil.copyfile(folder / name, scratch / name)
    return _sealed("adapter", scratch, {**adapter.metrics, **_shared_as(repo, options)}, source=folder)


def _of_run(folder: Path, repo: str, options: PushOptions, scratch: Path) -> UploadPlan:
    """The adapter of a run; histories of its users stay, and so do its items unless they are asked for."""
    run = Run.load(folder)
    adapter = run.adapter
    _copy_adapter(adapter, scratch, options)
    metrics = dict(adapter.metrics)
    notes = [f"The histories of {folder} stay here: what is shared recommends by the fine-tuned towers alone."]
    if options.include_items:
        for name in _ITEM_FILES:
            if (folder / name).is_file():
                shutil.copyfile(folder / name, scratch / name)
        metrics["items"] = _items(run)
        notes.append(
            f"{len(run.item_ids):,} item ids and what the run learned of these items go with the adapter: whoever sees "
            "the repository sees them."
        )
    return _sealed("adapter", scratch, {**metrics, **_shared_as(repo, options)}, notes=tuple(notes))


def _items(run: Run) -> dict[str, Any]:
    """What it takes to read the items that are shared with an adapter."""
    residual = run.record["residual"]
    return {
        "count": len(run.item_ids),
        "bound": None if residual is None else residual["bound"],
        "normalisers": dict(run.record["normalisers"]),
    }


def _copy_adapter(adapter: Adapter, scratch: Path, options: PushOptions) -> None:
    """The adapter's own files, its base named so that everybody can fetch it."""
    base = adapter.base
    reference = base.reference or base.name
    if reference.startswith("."):
        reference = str(adapter.folder / reference)
    pinned = shared_reference(base.name, reference, base.sha256, options.base)
    scratch.mkdir(parents=True)
    for name in read_sums(adapter.folder):
        if name not in _ITEM_FILES:
            shutil.copyfile(adapter.folder / name, scratch / name)
    write_json(scratch / BASE, asdict(replace(base, reference=pinned, revision=pinned.partition("@")[2])))


def _of_index(folder: Path, repo: str, options: PushOptions, scratch: Path, progress: Progress) -> UploadPlan:
    if not options.include_items:
        raise UsageError(
            f"expected a folder without items, found an index, which holds ids, titles, columns and features of all of "
            f"its items in {folder}",
            _ITEMS_HINT,
        )
    metrics = export_index(folder, scratch, base=options.base, progress=progress)
    notes = (
        f"{metrics['items']:,} items with their ids, titles and columns ({', '.join(metrics['columns']) or 'none'}) "
        "go: whoever sees the repository sees them.",
    )
    return _sealed("index", scratch, {**metrics, **_shared_as(repo, options)}, notes=notes)


def _shared_as(repo: str, options: PushOptions) -> dict[str, str]:
    return {"repository": repo, **({"license": options.license} if options.license else {})}


def _sealed(
    kind: str, scratch: Path, metrics: Mapping[str, Any], *, source: Path | None = None, notes: tuple[str, ...] = ()
) -> UploadPlan:
    """Card and sums of what was made ready, and the plan."""
    names = [path.relative_to(scratch).as_posix() for path in scratch.rglob("*") if path.is_file()]
    write_card(scratch, metrics, card_of(scratch, metrics), {*names, CARD})
    return plan_upload(kind, scratch, source=source, notes=notes, tokens=own_tokens())

"""Making ready for others: a checkpoint as it is, an adapter with a base that everybody can fetch."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapt.adapters import BASE
from adapt.errors import UsageError
from adapt.files import read_object, read_sums, write_json
from adapt.hub.failures import own_tokens
from adapt.hub.push import PushOptions
from adapt.hub.regenerate import METRICS, card_of, write_card
from adapt.hub.shared_reference import shared_reference
from adapt.hub.upload import CARD, UploadPlan, plan_upload

if TYPE_CHECKING:
    from adapt.hub.adapter import Adapter

ITEM_FILES = ("items.json", "items.safetensors", "normaliser.safetensors")
"""What a run knows of the items that it was trained on."""

ITEMS_HINT = "Add --include-items if these items may be seen by everybody who sees the repository."


def share_checkpoint(folder: Path, repo: str, options: PushOptions) -> UploadPlan:
    """What a push of a checkpoint sends: its bytes are its fingerprint, which adapters and indexes name.

    Raises:
        CheckpointError: the folder is damaged.
        UsageError: something in it must not leave, or an option does not fit.
    """
    if options.base or options.license:
        raise UsageError(
            f"expected neither --base nor --license with a checkpoint, found {options.base or options.license}",
            "`adapt hub card PATH --license ID` writes the licence into its card.",
        )
    named = read_object(folder / METRICS).get("repository") or read_object(folder / "config.json").get("name")
    notes = []
    if named != repo:
        notes.append(
            f"The card says how to use {named}, not {repo}: `adapt hub card {folder} --repo {repo}` changes that, and "
            "the fingerprint with it, so do it before adapters or indexes are made with the checkpoint."
        )
    return plan_upload("checkpoint", folder, notes=tuple(notes), tokens=own_tokens())


def share_adapter(adapter: Adapter, repo: str, options: PushOptions, scratch: Path) -> UploadPlan:
    """What a push of an adapter sends.

    Args:
        adapter: of a folder.
        repo: ``org/name``, which the card names.
        options: how.
        scratch: new folder, which holds what goes.

    Raises:
        CheckpointError: the base that is named is another one.
        UsageError: the base is a folder of this machine, there are items and nobody has asked for them, or something
            must not leave.
    """
    held = [name for name in read_sums(adapter.folder) if name in ITEM_FILES]
    if held and not options.include_items:
        raise UsageError(f"expected an adapter that knows no single items, found {', '.join(held)}", ITEMS_HINT)
    copy_adapter(adapter, options, scratch)
    metrics = {**adapter.metrics, **shared_as(repo, options)}
    return sealed("adapter", scratch, metrics, source=adapter.folder)


def copy_adapter(adapter: Adapter, options: PushOptions, scratch: Path) -> None:
    """Copy an adapter's files into a new folder; its base is then named by a reference that leads everybody to it.

    Raises:
        CheckpointError: the base that is named is another one.
        UsageError: the base is a folder of this machine.
    """
    base = adapter.base
    reference = base.reference or base.name
    if reference.startswith("."):
        reference = str(adapter.folder / reference)
    pinned = shared_reference(base.name, reference, base.sha256, options.base)
    scratch.mkdir(parents=True)
    for name in read_sums(adapter.folder):
        shutil.copyfile(adapter.folder / name, scratch / name)
    write_json(scratch / BASE, asdict(replace(base, reference=pinned, revision=pinned.partition("@")[2])))


def shared_as(repo: str, options: PushOptions) -> dict[str, str]:
    """What ``metrics.json`` says of where something is shared, and under which licence."""
    return {"repository": repo, **({"license": options.license} if options.license else {})}


def sealed(
    kind: str, folder: Path, metrics: Mapping[str, Any], *, source: Path | None = None, notes: tuple[str, ...] = ()
) -> UploadPlan:
    """Write metrics, card and sums of what was made ready, and plan its upload.

    Raises:
        UsageError: something must not leave.
    """
    names = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    write_card(folder, metrics, card_of(folder, metrics), {*names, CARD})
    return plan_upload(kind, folder, source=source, notes=notes, tokens=own_tokens())

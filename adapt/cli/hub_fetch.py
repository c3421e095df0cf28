"""``adapt hub pull`` and ``adapt hub verify``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from adapt.cli import hub_output, options, output, preflight
from adapt.errors import CheckpointError

if TYPE_CHECKING:
    from adapt.hub.pull import Pulled

Revision = Annotated[str, typer.Option("--revision", help="Branch, tag or commit of a repository on the Hub.")]


def pull(
    reference: options.Reference,
    revision: Revision = "",
    output_folder: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder for a copy to work on.", show_default=False)
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Fetch a checkpoint, an adapter with its base, or an index with its model, and check every byte."""
    preflight.checkpoint(reference)
    preflight.writable(output_folder)
    from adapt.cli.progress import computing
    from adapt.hub.pull import pull as fetch

    with computing() as progress:
        pulled = fetch(reference, revision=revision, output=output_folder, progress=progress)
    if as_json:
        output.document(pulled.to_dict())
        return
    _said(pulled, "")
    if pulled.needs is not None:
        _said(pulled.needs, "which needs ")
    output.text(output.clean(f"`{_use(pulled)}` uses it."))


def _use(pulled: Pulled) -> str:
    """The command that a person may want next."""
    if pulled.kind == "index":
        return f"adapt index search --index {pulled.reference} --text WORDS"
    if pulled.items:
        return f"adapt recommend --dataset PATH --run {pulled.reference}"
    return f"adapt zero-shot --dataset PATH --checkpoint {pulled.reference}"


def _said(pulled: Pulled, what: str) -> None:
    output.text(f"{what}the {pulled.kind} {output.clean(pulled.reference)}")
    output.text(f"  {pulled.files} files, {output.size(pulled.size_bytes)}, sha256 {pulled.sha256}")
    output.text(f"  {output.clean(pulled.folder)}")


def verify(
    reference: options.Reference,
    revision: Revision = "",
    device: options.Device = "cpu",
    allow_download: options.AllowDownload = False,
    as_json: options.Json = False,
) -> None:
    """Check every byte, load strictly, read the card, and compute the golden outputs again."""
    preflight.checkpoint(reference)
    from adapt.cli.progress import computing
    from adapt.workflows.hub_verify import verify as look

    with computing() as progress:
        found = look(reference, revision=revision, allow_download=allow_download, device=device, progress=progress)
    if as_json:
        output.document(found.to_dict())
    else:
        words = {True: "ok", False: "FAILED", None: "skipped"}
        hub_output.table(
            ["", "check", "found"], [[words[check.passed], check.name, check.detail] for check in found.checks]
        )
        if found.newest:
            output.text(f"The main branch has moved on, to {found.newest}; this is {found.commit}.")
    if not found.sound:
        failed = ", ".join(check.name for check in found.checks if check.passed is False)
        raise CheckpointError(
            f"the {found.kind} {reference} is not sound: {failed}",
            "Do not use it: fetch or save it again, or ask its author.",
        )

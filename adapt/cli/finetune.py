"""``adapt finetune``: towers adapted to a data set, and the best way to recommend for it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from adapt import ranks
from adapt.cli import options, output, preflight
from adapt.cli.groups import grouped
from adapt.errors import UsageError

if TYPE_CHECKING:
    from adapt.workflows.finetune_settings import Kind

_WHAT = "What is trained (--lora if none is named)"


@grouped
def finetune(
    *,
    dataset: options.Dataset,
    output_folder: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder of the run, for `adapt recommend --run`.")
    ] = None,
    checkpoint: options.Checkpoint = "adapt-mini",
    lora: Annotated[
        bool, typer.Option("--lora", help="Low-rank updates of the towers' projections.", rich_help_panel=_WHAT)
    ] = False,
    full: Annotated[bool, typer.Option("--full", help="All weights of the towers.", rich_help_panel=_WHAT)] = False,
    head: Annotated[
        bool,
        typer.Option(
            "--head",
            help="Only the map from a history to the next item, and how fast a history fades.",
            rich_help_panel=_WHAT,
        ),
    ] = False,
    rank: Annotated[int, typer.Option("--rank", help="Of the low-rank updates.")] = 8,
    alpha: Annotated[float, typer.Option("--alpha", help="Their scale: an update counts alpha / rank.")] = 16.0,
    item_residual: Annotated[
        bool | None,
        typer.Option(
            "--item-residual/--no-item-residual",
            help="A trained vector for each item with interactions. By default validation chooses.",
            show_default=False,
        ),
    ] = None,
    refit: Annotated[
        bool, typer.Option("--refit/--no-refit", help="Train again with the validation events before writing the run.")
    ] = True,
    epochs: Annotated[
        int,
        typer.Option(
            "--epochs", help="Length of the schedule, which validation may end sooner; 0: suited to the data."
        ),
    ] = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Continue a run that was stopped.")] = False,
    profile: options.Profile = False,
    as_json: options.Json = False,
    running: options.Running,
    columns: options.Columns,
) -> None:
    """Adapt a checkpoint's towers to a data set in minutes, and choose how to recommend for it.

    Each user's last event is held back (of few users with long histories, several). Zero-shot, few-shot, the
    fine-tuned towers, and all of them fused are measured on those events, and the best one is what
    `adapt recommend --run` uses. Encoders stay frozen.
    """
    kind = _kind(lora=lora, full=full, head=head)
    if output_folder is None:
        raise UsageError("expected --output with a folder for the run, found none", "For example: --output runs/shop")
    preflight.dataset(dataset, columns, allow_download=running.allow_download)
    preflight.checkpoint(checkpoint)
    preflight.place(output_folder, "finetune")

    from dataclasses import replace

    from adapt.cli import finetune_results as results
    from adapt.cli.progress import computing
    from adapt.workflows.finetune import FinetuneOptions, FinetuneRequest, finetune_run
    from adapt.workflows.finetune_settings import TrainingSettings

    training = TrainingSettings()
    asked = FinetuneRequest(
        dataset=dataset,
        output=str(output_folder),
        checkpoint=checkpoint,
        resume=resume,
        strict=running.strict,
        columns=columns.chosen(),
        options=FinetuneOptions(
            kind=kind,
            rank=rank,
            alpha=alpha,
            item_residual="auto" if item_residual is None else "on" if item_residual else "off",
            refit=refit,
            training=replace(training, epochs=epochs) if epochs else training,
            seed=running.seed,
            device=running.device,
            allow_download=running.allow_download,
        ),
    )
    with computing() as progress:
        run = finetune_run(asked, progress)
    if not ranks.is_main():
        return
    for caveat in run.record["caveats"]:
        output.note(caveat)
    if profile:
        output.profile(run.record["profile"])
    if as_json:
        output.document(results.document(run, profile=profile))
        return
    results.show(run)
    output.next_step("recommend --run", output_folder, columns.typed(dataset), purpose="recommends with it")


def _kind(*, lora: bool, full: bool, head: bool) -> Kind:
    """What is trained, from the three switches.

    Raises:
        UsageError: more than one is on.
    """
    if lora + full + head > 1:
        named = [name for name, on in (("--lora", lora), ("--full", full), ("--head", head)) if on]
        raise UsageError(
            f"expected one of --lora, --full and --head, found {' and '.join(named)}", "Leave out all but one."
        )
    return "full" if full else "head" if head else "lora"

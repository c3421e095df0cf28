"""``adapt pretrain``: a checkpoint from data sets."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from adapt import ranks
from adapt.cli import completion, options, output, preflight
from adapt.errors import UsageError

if TYPE_CHECKING:
    from adapt.workflows.ablate import AblateResult


class TrackerKind(str, Enum):
    """The values of ``--tracker``."""

    tensorboard = "tensorboard"


def pretrain(
    recipe: Annotated[
        str, typer.Option("--recipe", "-r", help="Name of a recipe, or a YAML file.", autocompletion=completion.recipes)
    ] = "",
    dataset: Annotated[
        list[str] | None, typer.Option("--dataset", "-d", help="A data set to train on; repeat for several.")
    ] = None,
    output_folder: Annotated[
        Path | None, typer.Option("--output", "-o", help="Run folder: log, state and the checkpoint.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue a run that was stopped.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Take a few steps and say what the run would need; write nothing.")
    ] = False,
    tracker: Annotated[
        TrackerKind | None, typer.Option("--tracker", help="Tell it every step; it writes into OUTPUT/tensorboard.")
    ] = None,
    list_recipes: Annotated[bool, typer.Option("--list", help="List the recipes that come with the package.")] = False,
    ablate: Annotated[
        str, typer.Option("--ablate", help="Name or YAML file of a comparison: a base recipe and variants of it.")
    ] = "",
    show: Annotated[
        str | None, typer.Option("--show", help="Print a recipe.", autocompletion=completion.recipes)
    ] = None,
    allow_download: options.AllowDownload = False,
    profile: options.Profile = False,
    as_json: options.Json = False,
    device: options.Device = "cpu",
) -> None:
    """Pretrain towers on several data sets, moving them only as far as left-out domains agree."""
    from adapt.train.trackers import Tracker, check_tracker
    from adapt.workflows.recipe_files import recipe_names, recipe_path

    if list_recipes:
        names = recipe_names()
        output.document(names) if as_json else output.text("\n".join(names))
        return
    if show is not None:
        output.text(recipe_path(show).read_text(encoding="utf-8").rstrip())
        return
    if ablate and output_folder is not None:
        _ablate(ablate, dataset or [], output_folder, resume=resume, device=device, as_json=as_json)
        return
    if not recipe or (output_folder is None and not dry_run):
        raise UsageError(
            "expected --recipe, --dataset and --output, found "
            + ("no --output" if recipe or ablate else "no --recipe"),
            "`adapt pretrain --list` shows the recipes.",
        )
    told: Tracker = "" if tracker is None else "tensorboard"
    recipe_path(recipe)
    for name in dataset or ():
        preflight.dataset(name, options.Columns(), allow_download=allow_download)
    preflight.place(output_folder, "pretrain")
    check_tracker(told)
    from adapt.cli import pretrain_results as results
    from adapt.cli.progress import computing
    from adapt.workflows.in_domain import InDomainResult
    from adapt.workflows.pretrain import PretrainOptions
    from adapt.workflows.run_folder import read_profile
    from adapt.workflows.stages import estimate, run_stage

    asked = PretrainOptions(
        recipe=recipe,
        datasets=tuple(dataset or ()),
        output=str(output_folder or ""),
        resume=resume,
        device=device,
        tracker=told,
        allow_download=allow_download,
    )
    if output_folder is None or dry_run:
        with computing() as progress:
            found = estimate(asked, progress)
        results.show_dry_run(found, as_json=as_json)
        return
    with computing() as progress:
        result = run_stage(asked, progress)
    if not ranks.is_main():
        return
    if profile:
        output.profile(read_profile(output_folder))
    if isinstance(result, InDomainResult):
        results.show_in_domain(result, as_json=as_json)
        return
    results.write_report(output_folder)
    results.show_run(result, output_folder, as_json=as_json)


def _ablate(sweep: str, datasets: list[str], folder: Path, *, resume: bool, device: str, as_json: bool) -> None:
    """Train the base and the variants of a comparison, and print its tables."""
    from adapt.cli.pretrain_results import show_table
    from adapt.cli.progress import computing
    from adapt.workflows.ablate import AblateOptions
    from adapt.workflows.ablate import ablate as run

    asked = AblateOptions(sweep=sweep, datasets=tuple(datasets), output=str(folder), resume=resume, device=device)
    with computing() as progress:
        result: AblateResult = run(asked, progress)
    if as_json:
        output.document(dict(result.document))
        return
    for table in result.tables:
        show_table(table)
    output.text(f"Written to {result.folder} ({result.seconds:,.0f} s)")

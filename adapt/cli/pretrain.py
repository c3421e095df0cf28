"""``adapt pretrain``: a checkpoint from data sets."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from adapt.cli import options, output
from adapt.errors import UsageError

if TYPE_CHECKING:
    from adapt.workflows.ablate import AblateResult
    from adapt.workflows.in_domain import InDomainResult
    from adapt.workflows.pretrain import PretrainResult
    from adapt.workflows.tune_encoder import TuneResult


def pretrain(
    recipe: Annotated[str, typer.Option("--recipe", "-r", help="Name of a recipe, or a YAML file.")] = "",
    dataset: Annotated[
        list[str] | None, typer.Option("--dataset", "-d", help="A data set to train on; repeat for several.")
    ] = None,
    output_folder: Annotated[
        Path | None, typer.Option("--output", "-o", help="Run folder: log, state and the checkpoint.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue a run that was stopped.")] = False,
    list_recipes: Annotated[bool, typer.Option("--list", help="List the recipes that come with the package.")] = False,
    ablate: Annotated[
        str, typer.Option("--ablate", help="Name or YAML file of a comparison: a base recipe and variants of it.")
    ] = "",
    show: Annotated[str | None, typer.Option("--show", help="Print a recipe.")] = None,
    as_json: options.Json = False,
    device: options.Device = "cpu",
) -> None:
    """Pretrain towers on several data sets, moving them only as far as left-out domains agree."""
    from adapt.workflows.recipe import recipe_names, recipe_path

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
    if not recipe or output_folder is None:
        raise UsageError(
            "expected --recipe, --dataset and --output, found "
            + ("no --output" if recipe or ablate else "no --recipe"),
            "`adapt pretrain --list` shows the recipes.",
        )
    from adapt.cli.progress import computing
    from adapt.workflows.in_domain import InDomainResult, train_in_domain
    from adapt.workflows.pretrain import PretrainOptions, command_of
    from adapt.workflows.pretrain import pretrain as run
    from adapt.workflows.recipe import load_recipe
    from adapt.workflows.tune_encoder import TuneRequest, tune_encoder

    asked = PretrainOptions(
        recipe=recipe, datasets=tuple(dataset or ()), output=str(output_folder), resume=resume, device=device
    )
    chosen = load_recipe(recipe)
    with computing() as progress:
        result: PretrainResult | TuneResult | InDomainResult
        if chosen.stage == "leave-one-out":
            result = train_in_domain(asked, progress)
        elif chosen.stage == "encoder":
            request = TuneRequest(asked.datasets, output_folder, command_of(asked), resume, device)
            result = tune_encoder(chosen, request, progress)
        else:
            result = run(asked, progress)
    if isinstance(result, InDomainResult):
        _show_in_domain(result, as_json=as_json)
    elif as_json:
        output.document(_document(result))
    else:
        _show(result)


def _ablate(sweep: str, datasets: list[str], folder: Path, *, resume: bool, device: str, as_json: bool) -> None:
    """Train the base and the variants of a comparison, and print its tables."""
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
        _show_table(table)
    output.text(f"Written to {result.folder} ({result.seconds:,.0f} s)")


def _show_in_domain(result: InDomainResult, *, as_json: bool) -> None:
    if as_json:
        steps, seconds = result.loop.best_step, round(result.seconds, 1)
        output.document(
            {"folder": str(result.folder), "step": steps, "seconds": seconds, "metrics": dict(result.metrics)}
        )
        return
    for table in result.metrics["benchmarks"]:
        _show_table(table)
    output.text(f"The weights of step {result.loop.best_step} of {result.loop.steps} are the best on validation.")
    output.text(f"Written to {result.folder} ({result.seconds:,.0f} s)")


def _document(result: PretrainResult | TuneResult) -> dict[str, object]:
    return {
        "folder": str(result.folder),
        "step": result.step,
        "mixture": result.mixture,
        "seconds": round(result.seconds, 1),
        "metrics": dict(result.metrics),
    }


def _show_table(table: Mapping[str, Any]) -> None:
    from rich.table import Table

    shown = Table(title=table["caption"], title_justify="left")
    for column in table["columns"]:
        shown.add_column(column)
    for row in table["rows"]:
        shown.add_row(*map(str, row))
    output.show(shown)


def _show(result: PretrainResult | TuneResult) -> None:
    for table in result.metrics["left_out"]:
        _show_table(table)
    if result.step:
        output.text(f"Kept {result.mixture:.0%} of the way from the start to the weights of step {result.step}.")
    else:
        output.text("The left-out domains do not agree to any step: what was written is the start.")
    output.text(f"Written to {result.folder} ({result.seconds:,.0f} s)")

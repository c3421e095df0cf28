"""What `adapt pretrain` found, on the screen and as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapt import files
from adapt.cli import output
from adapt.cli.output import size

if TYPE_CHECKING:
    from adapt.workflows.dry_run import DryRun
    from adapt.workflows.in_domain import InDomainResult
    from adapt.workflows.pretrain import PretrainResult
    from adapt.workflows.tune_encoder import TuneResult


def write_report(folder: Path) -> None:
    """Write ``report.html`` into a run folder.

    Raises:
        OutputError: it could not be written.
    """
    from adapt.report.pretrain import render

    page = render(folder)
    with files.atomic_write(folder / "report.html") as handle:
        handle.write(page)


def show_run(result: PretrainResult | TuneResult, folder: Path, *, as_json: bool) -> None:
    """A run of the stage ``towers`` or ``encoder``."""
    memory = int(result.run["peak_memory_bytes"])
    if as_json:
        output.document(
            {
                "folder": str(result.folder),
                "step": result.step,
                "mixture": result.mixture,
                "seconds": round(result.seconds, 1),
                "peak_memory_bytes": memory,
                "metrics": dict(result.metrics),
                "files": {name: str(folder / name) for name in ("run.json", "recipe.yaml", "report.html")},
            }
        )
        return
    for table in result.metrics["left_out"]:
        show_table(table)
    if result.step:
        output.text(f"Kept {result.mixture:.0%} of the way from the start to the weights of step {result.step}.")
    else:
        output.text("The left-out domains do not agree to any step: what was written is the start.")
    output.text(f"Peak memory {size(memory)}. The run: {folder / 'report.html'}")
    output.text(f"Written to {result.folder} ({result.seconds:,.0f} s)")
    if (result.folder / "feature_spec.json").is_file():
        output.next_step("zero-shot --dataset PATH --checkpoint", result.folder, purpose="recommends with it")


def show_in_domain(result: InDomainResult, *, as_json: bool) -> None:
    """A run of the stage ``leave-one-out``."""
    if as_json:
        facts = {"folder": str(result.folder), "step": result.step, "seconds": round(result.seconds, 1)}
        output.document({**facts, "metrics": dict(result.metrics)})
        return
    for table in result.metrics["benchmarks"]:
        show_table(table)
    output.text(f"The weights of step {result.step} of {result.steps} are the best on validation.")
    output.text(f"Written to {result.folder} ({result.seconds:,.0f} s)")


def show_dry_run(found: DryRun, *, as_json: bool) -> None:
    """What a run would take."""
    if as_json:
        output.document(found.to_dict())
        return
    from rich.table import Table

    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column()
    table.add_row("parameters", f"{found.parameters:,}, of which {found.trainable:,} are trained")
    table.add_row(
        "memory",
        f"{size(found.peak_memory_bytes)} at most so far, of which {size(found.optimiser_bytes)} are the optimiser's"
        + (f"; {size(found.device_memory_bytes)} on {found.device}" if found.device_memory_bytes else ""),
    )
    left_out = f"{found.folds} x {found.steps_a_fold:,} with a domain left out"
    table.add_row("steps", f"{left_out}, then up to {found.final_steps:,} on all")
    table.add_row("speed", f"{found.seconds_a_step:.3g} s a step, {found.sequences_per_second:,.0f} sequences/s")
    for stage, seconds in found.seconds.items():
        table.add_row(stage, _duration(seconds) + (" (done now, and in the cache)" if stage == "encode" else ""))
    table.add_row("in all", f"about {_duration(found.total_seconds)} on {found.device}")
    output.show(table)


def show_table(table: Mapping[str, Any]) -> None:
    """A table of ``metrics.json``."""
    from rich.table import Table

    shown = Table(title=table["caption"], title_justify="left")
    for column in table["columns"]:
        shown.add_column(column)
    for row in table["rows"]:
        shown.add_row(*map(str, row))
    output.show(shown)


def _duration(seconds: float) -> str:
    """A time as a person reads it.

    >>> _duration(0.42), _duration(40), _duration(600), _duration(9000)
    ('0.4 s', '40 s', '10 min', '2.5 h')
    """
    if seconds < 90:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"

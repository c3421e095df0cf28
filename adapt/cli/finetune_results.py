"""What `adapt finetune` found, on the screen and as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from adapt.cli import output
from adapt.cli.output import size

if TYPE_CHECKING:
    from adapt.workflows.run import Run

_PARTS = (
    "chosen",
    "validation",
    "weighings",
    "base",
    "adaptation",
    "trainings",
    "refitted",
    "residual",
    "caveats",
    "seconds",
    "peak_memory_bytes",
    "seed",
)


def document(run: Run, *, profile: bool = False) -> dict[str, Any]:
    """The JSON document of a run, with what each stage took where ``profile`` asks for it."""
    parts = (*_PARTS, "profile") if profile else _PARTS
    return {"run": str(run.path), **{name: run.record[name] for name in parts}}


def show(run: Run) -> None:
    """Print for a person what was measured, what was chosen, and what it took."""
    from rich.table import Table

    record = run.record
    validation = record["validation"]
    table = Table(
        title=f"Validation: {validation['events']:,} held-back events, {validation['policy']}", title_justify="left"
    )
    for column in ("method", "Recall@10", "NDCG@10", "95% interval", "NDCG@10 warm", "NDCG@10 cold", "cold in lists"):
        table.add_column(column, justify="left" if column == "method" else "right")
    for method, found in validation["methods"].items():
        ndcg = found["ndcg@10"]
        table.add_row(
            f"{method} *" if method == run.chosen else method,
            f"{found['recall@10']['mean']:.4f}",
            f"{ndcg['mean']:.4f}",
            f"{ndcg['low']:.4f} to {ndcg['high']:.4f}",
            _mean(found["warm"]),
            _mean(found["cold"]),
            f"{found['cold_share_of_lists']:.1%}",
        )
    output.show(table)
    output.text(
        f"* chosen: `adapt recommend --run {run.path}` uses {run.chosen}. Cold: {validation['cold_events']:,} of the "
        f"events ask for an item without training events; {validation['cold_share_of_candidates']:.1%} of the "
        "candidates are."
    )
    for name, part in record["trainings"].items():
        output.text(_training(name, part))
    seconds = sum(record["seconds"].values())
    output.text(f"Written to {run.path} ({seconds:,.0f} s, peak memory {size(int(record['peak_memory_bytes']))})")


def _mean(found: Mapping[str, Any]) -> str:
    return f"{found['ndcg@10']['mean']:.4f}" if found["events"] else "-"


def _training(name: str, part: Mapping[str, Any]) -> str:
    """One training in a sentence."""
    curve = part["validation_ndcg@10"]
    best = f", best NDCG@10 on validation {max(curve):.4f} after epoch {part['best_epoch']:.0f}" if curve else ""
    norm = part["residual_norm"]
    residual = f", residuals of length {norm['mean']:.2f} on average" if norm else ""
    epochs = part["steps"] / part["steps_an_epoch"]
    return (
        f"{name}: {part['trainable_parameters']:,} trainable parameters, {epochs:.0f} epoch{'s' * (epochs >= 1.5)} of "
        f"{part['seconds_an_epoch']:.1f} s{best}{residual}"
    )

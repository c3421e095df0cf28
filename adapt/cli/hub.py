"""``adapt hub``: checkpoints that can be had by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from adapt.cli import options, output

if TYPE_CHECKING:
    from adapt.hub.describe import CheckpointFacts

app = typer.Typer(
    help="Checkpoints: which there are, and what is known of one.", no_args_is_help=False, invoke_without_command=True
)


@app.callback()
def _help(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        output.help_of(context)


@app.command("list")
def list_(as_json: options.Json = False) -> None:
    """List the checkpoints that come with the package."""
    from adapt.hub.bundled import bundled_entries

    entries = bundled_entries()
    if as_json:
        output.document({"checkpoints": [entry.to_dict() for entry in entries]})
        return
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("name", style="bold", no_wrap=True)
    table.add_column("kind", no_wrap=True)
    table.add_column("size", justify="right", no_wrap=True)
    table.add_column("sha256", no_wrap=True)
    table.add_column("summary")
    for entry in entries:
        table.add_row(
            entry.name, entry.kind, output.size(entry.size_bytes), entry.sha256[:12], output.clean(entry.summary)
        )
    output.show(table)
    output.text("`adapt hub show NAME` says all about one; `adapt zero-shot --dataset PATH --checkpoint NAME` uses it.")


@app.command("show")
def show(
    reference: Annotated[str, typer.Argument(metavar="REF", help="A folder, a bundled name, or org/name[@revision].")],
    as_json: options.Json = False,
) -> None:
    """Show what a checkpoint is, what it was trained on, and what was measured."""
    from adapt.hub.describe import describe

    facts = describe(reference)
    if as_json:
        output.document(facts.to_dict())
        return
    _show_facts(facts)
    for table in facts.metrics.get("left_out", []):
        _show_table(table["caption"], table["columns"], table["rows"])
    targets = facts.metrics.get("targets", {})
    if targets.get("results"):
        from adapt.hub.card import target_summary

        _show_table(targets["caption"], *target_summary(facts.config["name"], targets))
    for table in facts.metrics.get("benchmarks", []):
        _show_table(table["caption"], table["columns"], table["rows"])


def _show_facts(facts: CheckpointFacts) -> None:
    """Everything but the tables of figures, as one line each."""
    from adapt.hub.card import added_to

    pretraining, run = facts.metrics.get("pretraining", {}), facts.metrics.get("run", {})
    lines = [
        ("name", facts.config["name"]),
        ("summary", facts.config["summary"]),
        ("sha256", facts.sha256),
        ("folder", f"{facts.folder} ({output.size(facts.size_bytes)})"),
        ("towers", f"{facts.config['architecture']}, {facts.parameters:,} parameters"),
    ]
    for modality, encoder in facts.feature_spec["encoders"].items():
        power = facts.feature_spec["normalisation"][modality]["power"]
        name = f"{encoder['kind']} {encoder['name']}{added_to(encoder)}"
        described = f"{name}, {encoder['dim']} wide, whitening power {power:g}"
        lines.append((f"{modality} encoder", f"{described}\n{encoder['id']}"))
    lines.append(("trained on", ", ".join(facts.trained_on) or "nothing"))
    if facts.never_trained_on:
        lines.append(("never trained on", ", ".join(facts.never_trained_on)))
    lines += [("licences", "\n".join(pretraining["licences"]))] if pretraining.get("licences") else []
    lines += [(name, str(run[name])) for name in ("command", "date", "machine") if name in run]
    lines += [("file", f"{name} ({output.size(size)}) {digest}") for name, size, digest in facts.files]
    from rich.table import Table

    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in lines:
        table.add_row(name, "\n".join(output.clean(line) for line in str(value).splitlines()))
    output.show(table)


def _show_table(caption: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    from rich import box
    from rich.table import Table

    output.text("")
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title=output.clean(caption), title_justify="left")
    for column in columns:
        table.add_column(output.clean(column))
    for row in rows:
        table.add_row(*(output.clean(str(cell)) for cell in row))
    output.show(table)

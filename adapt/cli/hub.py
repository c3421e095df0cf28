"""``adapt hub``: checkpoints that can be had by name."""

from __future__ import annotations

import typer

from adapt.cli import options, output

app = typer.Typer(help="Checkpoints: which there are.", no_args_is_help=False, invoke_without_command=True)


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
    output.text("Use one with `adapt zero-shot --dataset PATH --checkpoint NAME`.")

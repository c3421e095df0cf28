"""``adapt data``: what is in a data set, and what is wrong with it."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from adapt.cli import completion, options, output
from adapt.cli.groups import grouped
from adapt.errors import DataError

if TYPE_CHECKING:
    from rich.table import Table

    from adapt.data.check import DataReport, Problem

app = typer.Typer(help="Data sets: what is in them.", invoke_without_command=True)

_STYLES = {"error": "bold red", "warning": "yellow", "note": "cyan"}


@app.callback()
def _help(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        output.help_of(context)


@app.command("check")
@grouped
def check(
    *,
    path: Annotated[
        str,
        typer.Argument(
            metavar="PATH", help=options.DATASET_HELP, show_default=False, autocompletion=completion.datasets
        ),
    ],
    as_json: options.Json = False,
    strict: options.Strict = False,
    allow_download: options.AllowDownload = False,
    profile: options.Profile = False,
    columns: options.Columns,
) -> None:
    """Report what a data set holds and everything wrong with it; exit 0 when it is usable, 3 when not."""
    from adapt.cli.progress import computing
    from adapt.profile import Stages
    from adapt.workflows.data_check import data_check

    stages = Stages(profile)
    with computing() as progress, stages.stage("check"):
        report = data_check(path, columns=columns.chosen(), allow_download=allow_download, progress=progress)
    stages.counted("check", report.items + report.interactions, "rows")
    if profile:
        output.profile(stages.to_dict())
    usable = report.usable and not (strict and any(problem.severity == "warning" for problem in report.problems))
    if as_json:
        profiled = {"profile": stages.to_dict()} if profile else {}
        output.document({**report.to_dict(), "usable": usable, **profiled})
    else:
        _show(report, usable)
    if not usable:
        raise typer.Exit(DataError.exit_code)
    output.next_step("zero-shot", columns.typed(path), purpose="recommends from it")


def _show(report: DataReport, usable: bool) -> None:
    from rich.text import Text

    output.show(_facts(report))
    for problem in report.problems:
        output.show(_problem(problem))
    counts = {severity: sum(p.severity == severity for p in report.problems) for severity in _STYLES}
    found = ", ".join(f"{count} {name}{'s' * (count != 1)}" for name, count in counts.items() if count)
    verdict = ("usable", "bold green") if usable else ("not usable", "bold red")
    output.show(Text.assemble(verdict, f": {found or 'nothing to complain about'}"))


def _facts(report: DataReport) -> Table:
    from rich.table import Table

    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column()
    table.add_row("data set", output.clean(f"{report.path} ({report.layout})"))
    if report.files:
        table.add_row("files", output.clean(", ".join(str(name) for name in report.files)))
    if not report.items:
        return table
    table.add_row("items", f"{report.items:,}")
    for label, count in (
        ("  with text", report.with_text),
        ("  with image", report.with_image),
        ("  with both", report.with_both),
        ("  with neither", report.with_neither),
    ):
        table.add_row(label, f"{count:,} ({count / max(report.items, 1):.0%})")
    table.add_row("users", f"{report.users:,}")
    table.add_row("interactions", f"{report.interactions:,}")
    if report.interactions:
        show = _number if report.time_unit == "number" else _day
        span = " to ".join(show(end) for end in report.time_span) if report.time_span else "no timestamps"
        table.add_row("time", f"{span}; histories in the order of {report.time_order}")
        lengths = report.history_lengths
        if lengths is not None:
            names = ("min", "median", "mean", "p90", "max")
            table.add_row("history length", "  ".join(f"{name} {_number(getattr(lengths, name))}" for name in names))
    if report.text_template:
        table.add_row("text", output.clean(" + ".join(report.text_template)))
        table.add_row("  example", output.clean(report.text_example[:300]))
    return table


def _problem(problem: Problem) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 1))
    style = _STYLES[problem.severity]
    heading = Text.assemble(
        (problem.severity, style),
        f": {output.clean(problem.message)} ",
        (f"[{problem.kind} × {problem.count:,}]", "dim"),
    )
    table.add_row(heading)
    for example in problem.examples:
        place = example.file + (f":{example.line}" if example.line is not None else "")
        column = f" ({example.column})" if example.column else ""
        table.add_row(Text.assemble("    ", (output.clean(place), "dim"), output.clean(f"{column} {example.message}")))
    if problem.count > len(problem.examples) > 0:
        table.add_row(f"    ... and {problem.count - len(problem.examples):,} more")
    if problem.hint:
        table.add_row(Text.assemble("    ", ("fix: ", "green"), output.clean(problem.hint)))
    return table


def _number(value: float) -> str:
    return f"{value:,.1f}".removesuffix(".0")


def _day(seconds: float) -> str:
    """The day of a unix time, or the number itself when it is no plausible time."""
    try:
        moment = datetime.datetime.fromtimestamp(seconds, tz=datetime.timezone.utc)
    except (OverflowError, OSError, ValueError):
        return _number(seconds)
    return moment.date().isoformat() if 1980 <= moment.year <= 2100 else _number(seconds)

"""``adapt doctor``: what this installation can do and lacks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from adapt.cli import options, output
from adapt.errors import MissingExtraError

if TYPE_CHECKING:
    from adapt.workflows.doctor import DoctorReport


def doctor(as_json: options.Json = False) -> None:
    """Show versions, devices, the cache, and what is missing with the command that installs it.

    Exits 6 when something is missing that adapt cannot do without.
    """
    from adapt.cli.progress import computing
    from adapt.workflows.doctor import doctor as examine

    with computing():
        report = examine()
    if as_json:
        output.document(report.to_dict())
    else:
        _show(report)
    if report.missing:
        raise typer.Exit(MissingExtraError.exit_code)
    output.next_step("demo", purpose="tries it on the shop that comes with it")


def _show(report: DoctorReport) -> None:
    from rich.table import Table
    from rich.text import Text

    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="bold", no_wrap=True)
    facts.add_column(overflow="fold")
    facts.add_row("adapt", report.version)
    facts.add_row("python", report.python)
    facts.add_row("platform", report.platform)
    facts.add_row("devices", ", ".join(report.devices) or "torch cannot be imported")
    facts.add_row("threads", f"{report.threads or '?'} of {report.cores} cores")
    state = output.size(report.cache.size_bytes) if report.cache.exists else "not there yet"
    facts.add_row("cache", f"{report.cache.path} ({state}{'' if report.cache.writable else ', NOT WRITABLE'})")
    facts.add_row(
        "Hugging Face Hub", "offline by environment" if report.hub_offline else "used only with --allow-download"
    )
    facts.add_row("packages", ", ".join(f"{name} {version}" for name, version in report.packages.items() if version))
    output.show(facts, "")
    parts = Table.grid(padding=(0, 2))
    for part in report.parts:
        mark = ("ok", "green") if part.available else ("MISSING", "bold red") if part.required else ("-", "dim")
        parts.add_row(Text(*mark), part.name, Text(part.detail, "dim"))
        if part.install:
            parts.add_row("", Text(f"  {part.install}", "bold"), "")
    output.show(parts)
    if report.missing:
        output.show(Text("\nSomething needed is missing: run the commands above.", "bold red"))

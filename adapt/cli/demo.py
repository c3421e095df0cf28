"""``adapt demo``: the main job on the example shop that comes with the package."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from adapt.cli import options, output, preflight, results


def demo(
    output_folder: Annotated[
        Path, typer.Option("--output", "-o", help="Folder for recommendations.csv, run.json and report.html.")
    ] = Path("adapt-demo"),
    as_json: options.Json = False,
) -> None:
    """Recommend for the users of a small example shop, and say what was done and what to try next."""
    preflight.place(output_folder, "demo")

    from adapt.cli.progress import computing
    from adapt.workflows.demo import demo as run_demo

    with computing() as progress:
        run = run_demo(progress)
        written = results.write_result(run.result, output_folder)
    if as_json:
        output.document(results.document(run.result, written))
        return
    report, result = run.result.dataset.report, run.result
    output.text(
        f"Read the example shop: {report.items} items ({report.with_text} with text, {report.with_image} with "
        f"a picture), {report.users} users, {report.interactions} interactions."
    )
    output.text(
        f"Ranked {result.candidates} items for {len(result.table.keys)} users with the checkpoint "
        f"{result.checkpoint.name}; nothing was trained, nothing was downloaded."
    )
    results.show_self_check(result)
    output.text(f"\nLook at  {written['report.html'].resolve()}")
    output.text(f"Lists    {written['recommendations.csv'].resolve()}")
    output.text("\nTry next")
    for command, purpose in run.next_steps:
        output.text(f"  {command}\n      {purpose}")

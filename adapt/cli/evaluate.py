"""``adapt evaluate``: which method to ship for a data set, and how sure that is."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from adapt.cli import completion, options, output, preflight
from adapt.cli.groups import grouped
from adapt.errors import UsageError, did_you_mean

TRANSFER = "transfer"
METHOD_NAMES = (
    "popularity",
    "recent-popularity",
    "content-knn",
    "content-knn-whitened",
    "item-knn",
    "tuned-item-knn",
    "ease",
    "training-free",
    "zero-shot",
    "training-free-few-shot",
    "few-shot",
    "scratch",
    "fine-tuned",
    "fused",
)
"""As in the registry of methods, which is not imported for a help text."""


class Protocol(str, Enum):
    """The values of ``--protocol``."""

    leave_one_out = "leave-one-out"
    global_time = "global-time"
    cold_items = "cold-items"
    cold_users = "cold-users"


@grouped
def evaluate(
    *,
    dataset: options.Dataset,
    checkpoint: Annotated[
        str | None,
        typer.Option(
            "--checkpoint",
            help=options.REFERENCE_HELP,
            autocompletion=completion.checkpoints,
            show_default="adapt-mini, or the base of --run",
        ),
    ] = None,
    run: Annotated[
        list[str] | None,
        typer.Option(
            "--run",
            help="Also a fine-tuned run: its folder; repeat for several. One that saw hidden events is trained anew.",
        ),
    ] = None,
    methods: Annotated[
        str | None,
        typer.Option(
            "--methods",
            help=f"Only these, separated by commas: {', '.join(METHOD_NAMES)}.",
            show_default="those that need no training",
            autocompletion=completion.methods,
        ),
    ] = None,
    protocol: Annotated[Protocol, typer.Option("--protocol", help="What is hidden.")] = Protocol.leave_one_out,
    strict_split: Annotated[
        bool, typer.Option("--strict-split", help="Learn from neither of the last two events of a user, as papers do.")
    ] = False,
    learning_curve: Annotated[
        str | None,
        typer.Option(
            "--learning-curve",
            help="Per cent of the histories that are known, such as 0,1,5,10,100; or 'transfer': 1,5,10,100, and "
            "methods trained with and without the checkpoint.",
            show_default=False,
        ),
    ] = None,
    source: Annotated[
        list[str] | None,
        typer.Option("--source", help="A data set the checkpoint was pretrained on, to find shared items in; repeat."),
    ] = None,
    k: Annotated[int, typer.Option("--k", min=1, help="Length of the lists.")] = 10,
    output_folder: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="Folder for evaluation.json, run.json and report.html.", show_default=False
        ),
    ] = None,
    as_json: options.Json = False,
    running: options.Running,
    columns: options.Columns,
) -> None:
    """Measure every method and simple baselines on the same hidden events, and say which one to ship."""
    chosen, fractions = read_methods(methods), read_fractions(learning_curve)
    preflight.dataset(dataset, columns, allow_download=running.allow_download)
    for other in source or ():
        preflight.dataset(other, options.Columns(), allow_download=running.allow_download)
    preflight.checkpoint(checkpoint)
    preflight.run(*(run or ()))
    preflight.place(output_folder, "evaluate")

    from adapt.cli import evaluate_results
    from adapt.cli.progress import computing
    from adapt.workflows.evaluate import EvaluateOptions, evaluate_run

    with computing() as progress:
        result = evaluate_run(
            EvaluateOptions(
                dataset=dataset,
                checkpoint=checkpoint,
                runs=tuple(run or ()),
                methods=chosen,
                protocol=protocol.value,
                strict_split=strict_split,
                learning_curve=fractions,
                transfer=learning_curve == TRANSFER,
                sources=tuple(source or ()),
                k=k,
                seed=running.seed,
                device=running.device,
                strict=running.strict,
                allow_download=running.allow_download,
                columns=columns.chosen(),
            ),
            progress,
        )
        written = evaluate_results.write_evaluation(result, output_folder) if output_folder is not None else {}
    if as_json:
        output.document(evaluate_results.document(result, written))
        return
    evaluate_results.show(result, written)
    if output_folder is None:
        output.note("nothing was saved: --output DIR writes the figures and a report to look at")
    output.next_step("index build", columns.typed(dataset), "--output shop-index", purpose="makes it searchable")


def read_methods(value: str | None) -> tuple[str, ...]:
    """The names of ``--methods``.

    >>> read_methods("ease, few-shot"), read_methods(None)
    (('ease', 'few-shot'), ())

    Raises:
        UsageError: one is no method.
    """
    names = tuple(name.strip() for name in (value or "").split(",") if name.strip())
    for name in names:
        if name not in METHOD_NAMES:
            raise UsageError(
                f"expected names of methods after --methods, found {name!r}",
                f"{did_you_mean(name, METHOD_NAMES)}There are {', '.join(METHOD_NAMES)}.",
            )
    return names


def read_fractions(value: str | None) -> tuple[float, ...]:
    """The shares of ``--learning-curve``, given in per cent, ascending and each once.

    >>> read_fractions("10,0, 2.5"), read_fractions(None), read_fractions("transfer")
    ((0.0, 0.025, 0.1), (), (0.01, 0.05, 0.1, 1.0))

    Raises:
        UsageError: there is no number in it, or one is not between 0 and 100.
    """
    if value is None:
        return ()
    if value == TRANSFER:
        return (0.01, 0.05, 0.1, 1.0)
    parts = [part.strip() for part in value.split(",") if part.strip()]
    try:
        shares = sorted({float(part) / 100 for part in parts})
    except ValueError:
        shares = []
    if not shares or not all(0 <= share <= 1 for share in shares):
        raise UsageError(
            f"expected per cents between 0 and 100 in --learning-curve, found {value!r}",
            "For example --learning-curve 0,1,5,10,100.",
        )
    return tuple(shares)

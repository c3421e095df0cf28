"""An evaluation on the screen, and in its folder: the verdict first, then the figures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapt import files
from adapt.cli import output

if TYPE_CHECKING:
    from adapt.evaluate.significance import Interval
    from adapt.workflows.evaluate_results import EvaluationResult, MethodResult, Slice
    from adapt.workflows.evaluate_verdict import Difference


def write_evaluation(result: EvaluationResult, folder: Path) -> dict[str, Path]:
    """Write ``evaluation.json``, ``run.json`` and ``report.html``; return the path of each by its name.

    ``evaluation.json`` holds no time and no path: two runs with the same seed write the same bytes.

    Raises:
        OutputError: a file could not be written.
    """
    from adapt.report.evaluate import render

    page = render(result)
    files.write_json(folder / "evaluation.json", result.to_dict())
    files.write_json(folder / "run.json", dict(result.run))
    with files.atomic_write(folder / "report.html") as handle:
        handle.write(page)
    return {name: folder / name for name in ("evaluation.json", "run.json", "report.html")}


def document(result: EvaluationResult, written: dict[str, Path]) -> dict[str, Any]:
    """The JSON document: what ``evaluation.json`` holds, the times and the files."""
    return {
        **result.to_dict(),
        "timings": dict(result.timings),
        "files": {name: str(path) for name, path in written.items()},
    }


def show(result: EvaluationResult, written: dict[str, Path]) -> None:
    """Print an evaluation for a person."""
    output.text(output.clean(result.verdict.headline))
    for sentence in result.verdict.sentences:
        output.text(output.clean(sentence))
    output.text("")
    output.text(output.clean(result.setting.description))
    _accuracy(result)
    _slices(result)
    _lists(result)
    if result.curve:
        _curve(result)
    if result.transfers:
        _transfers(result)
    output.text("")
    for name, reason in result.left_out.items():
        output.text(output.clean(f"{name} was not evaluated: {reason}"))
    for line in (*result.guards, *result.caveats):
        output.text(output.clean(f"- {line}"))
    output.text(f"Seed {result.seed}.")
    for path in written.values():
        output.text(f"Written: {path}")


def _accuracy(result: EvaluationResult) -> None:
    from adapt.workflows.evaluate_results import metric_title

    k, deciding = result.setting.k, result.setting.metric
    recall, reciprocal = f"recall@{k}", f"mrr@{k}"
    columns = [
        "method",
        metric_title(recall),
        metric_title(deciding),
        metric_title(reciprocal),
        "vs best baseline",
        "vs best",
    ]
    rows = []
    for found in result.methods:
        metrics = found.slices["overall"].metrics
        rows.append(
            [
                _name(result, found),
                f"{metrics[recall].mean:.4f}",
                _whole(metrics[deciding]),
                f"{metrics[reciprocal].mean:.4f}",
                _change(found.against_baseline),
                _change(found.against_best),
            ]
        )
    title = f"Accuracy [95 % interval]; differences are of {metric_title(deciding)}, * = their interval excludes zero"
    _table(title, columns, rows)
    output.text(f"One event is hidden of each user: the hit rate at {k} is the recall.")


def _slices(result: EvaluationResult) -> None:
    """Warm and cold hidden items, and ranges of history lengths, on the deciding metric."""
    from adapt.workflows.evaluate_results import metric_title

    first = result.methods[0]
    kinds = [name for name in ("warm", "cold") if first.slices[name].cases]
    lengths = [label for label, part in first.lengths.items() if part.cases]
    columns = [
        "method",
        *(f"{name} ({first.slices[name].cases:,})" for name in kinds),
        *(f"{label} items ({first.lengths[label].cases:,})" for label in lengths),
    ]
    rows = []
    for found in result.methods:
        parts = [*(found.slices[name] for name in kinds), *(found.lengths[label] for label in lengths)]
        rows.append([_name(result, found), *(_mean(part, result.setting.metric) for part in parts)])
    title = f"{metric_title(result.setting.metric)} of warm and cold hidden items, and by length of the history (cases)"
    _table(title, columns, rows)


def _lists(result: EvaluationResult) -> None:
    names = list(result.methods[0].lists)
    columns = ["method", *names]
    rows = [[_name(result, found), *(_number(found.lists[name]) for name in names)] for found in result.methods]
    _table(f"The lists of {result.setting.k}", columns, rows)


def _curve(result: EvaluationResult) -> None:
    from adapt.workflows.evaluate_results import metric_title

    columns = ["method", *(f"{100 * point.fraction:g} %" for point in result.curve)]
    rows = []
    for found in result.methods:
        cells = [point.methods.get(found.name) for point in result.curve]
        rows.append([_name(result, found), *("-" if part is None else _half(part) for part in cells)])
    _table(
        f"{metric_title(result.setting.metric)} by share of the histories that is known, ± half of the 95 % interval",
        columns,
        rows,
    )
    for point in result.curve:
        for name, reason in point.left_out.items():
            output.text(output.clean(f"{name} at {100 * point.fraction:g} %: {reason}"))


def _transfers(result: EvaluationResult) -> None:
    rows = [
        [f"{100 * part.fraction:g} %", part.difference.ours, part.difference.theirs, _change(part.difference),
         part.outcome]
        for part in result.transfers
    ]  # fmt: skip
    _table("Does pretraining help?", ["histories", "pretrained", "without", "difference", "pretraining"], rows)


def _table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich import box
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number == 0 else "right", no_wrap=number == 0)
    for row in rows:
        table.add_row(*map(output.clean, row))
    output.show(table)


def _name(result: EvaluationResult, found: MethodResult) -> str:
    return f"{found.name} (ship)" if found.name == result.verdict.ship else found.name


def _mean(part: Slice, metric: str) -> str:
    return f"{part.metrics[metric].mean:.4f}" if part.metrics else "-"


def _whole(found: Interval) -> str:
    return f"{found.mean:.4f} {_ends(found)}"


def _half(found: Interval) -> str:
    return f"{found.mean:.4f} ±{(found.high - found.low) / 2:.3f}"


def _ends(found: Interval) -> str:
    return f"[{found.low:.4f}, {found.high:.4f}]"


def _change(found: Difference | None) -> str:
    if found is None:
        return ""
    change, _, interval = found.words().partition(", 95 % ")
    return f"{change} [{interval.replace(' to ', ', ')}]{' *' if found.significant else ''}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"

"""The page of a pretraining run, made from the files in its folder alone."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from adapt.errors import CheckpointError
from adapt.evaluate.significance import bootstrap_interval
from adapt.report import curves, svg, view, words
from adapt.report.recommend import environment
from adapt.train.pretraining import FoldResult
from adapt.version import __version__
from adapt.workflows.run_folder import RUN, read_folds


@dataclass(frozen=True)
class Change:
    """What training did to a left-out domain in one view: NDCG@10 before and after, and the change with its chart."""

    domain: str
    view: str
    cases: int
    start: float
    trained: float
    change: str
    interval: str
    chart: Markup


def render(folder: Path) -> str:
    """The whole page as HTML text; see :func:`adapt.report.recommend.render` for what it holds to.

    Args:
        folder: of a finished run of the stage ``towers`` or ``encoder``.

    Raises:
        CheckpointError: there is no finished run in the folder, or its files are damaged.
    """
    try:
        run = json.loads((folder / RUN).read_text(encoding="utf-8"))
        result = run["result"]
        name = result.get("checkpoint") or result["encoder"]
        metrics = json.loads((folder / name / "metrics.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, KeyError) as failure:
        raise CheckpointError(f"expected a finished pretraining run in {folder}, found: {failure!r}") from failure
    runs, folds = curves.trainings(folder), read_folds(folder)
    recipe = run["identity"]["recipe"]
    context = {
        "version": __version__,
        "heading": f"Pretraining {name}",
        "name": name,
        "kind": "checkpoint" if "checkpoint" in result else "encoder",
        "summary": recipe["summary"],
        "result": result,
        "run": run,
        "seconds": sum(run["seconds"].values()),
        "changes": changes(folds, (result["step"], result["mixture"])),
        "gains": gain_plots(folds),
        "losses": curves.loss_plots(runs) if runs else [],
        "rate": curves.rate_plot(runs) if runs else None,
        "trainings": runs,
        "tables": [table for table in metrics["left_out"] if "change" not in table["columns"]],
        "facts": view.flatten({key: run[key] for key in run if key != "identity"}),
        "settings": view.flatten(recipe, limit=200),
        "data": run["identity"]["data"],
    }
    return environment().get_template("pretrain.html.j2").render(context)


def changes(folds: Sequence[FoldResult], moved: tuple[int, float]) -> list[Change]:
    """One row for each domain and view that was measured, at the step and share of the way that were kept.

    Where nothing was kept, the rows show the last point measured: what was turned down.
    """
    rows: list[tuple[FoldResult, str, Any]] = []
    for fold in folds:
        if fold.trained:
            point = moved if moved in fold.trained else list(fold.trained)[-1]
            rows += [(fold, name, fold.trained[point][name]) for name, start in fold.start.items() if len(start)]
    intervals = [bootstrap_interval(trained - fold.start[name]) for fold, name, trained in rows]
    extent = max((abs(end) for found in intervals for end in (found.low, found.high)), default=0.0) or 1.0
    shown = []
    for (fold, name, trained), found in zip(rows, intervals, strict=True):
        start = float(fold.start[name].mean())
        difference = float(trained.mean()) - start
        interval = f"{found.low:+.4f} to {found.high:+.4f}"
        label = f"{fold.source}, {name}: NDCG@10 changes by {difference:+.4f}, 95 % interval {interval}"
        colour = "ours" if difference >= 0 else "worse"
        chart = svg.change_bar(difference, (found.low, found.high), extent * 1.05, colour, label)
        relative = f"{100 * difference / max(start, 1e-9):+.1f} %"
        shown.append(Change(fold.source, name, len(trained), start, float(trained.mean()), relative, interval, chart))
    return shown


def gain_plots(folds: Sequence[FoldResult]) -> list[tuple[curves.Plot, list[tuple[str, str]]]]:
    """For each share of the way: the mean change of each left-out domain over the steps, with the key of its curves."""
    shares = dict.fromkeys(share for fold in folds for _, share in fold.trained)
    plots = []
    for share in shares:
        series, key = [], []
        for number, fold in enumerate(folds):
            points = [(step, _gain(fold, (step, part))) for step, part in fold.trained if part == share]
            series.append((f"l{number % curves.COLOURS}", [(0.0, 0.0), *points]))
            key.append((f"l{number % curves.COLOURS}", fold.source))
        title = f"{words.percent(share)} of the way, mean change of NDCG@10 in %"
        plots.append((curves.plot(title, series), key))
    return plots


def _gain(fold: FoldResult, point: tuple[int, float]) -> float:
    """The mean over views of the relative change, in %."""
    pairs = [(fold.trained[point][name], start) for name, start in fold.start.items() if len(start)]
    gains = [100 * float(trained.mean() / max(start.mean(), 1e-9) - 1) for trained, start in pairs]
    return sum(gains) / max(len(gains), 1)

"""The curves of a pretraining run, from the logs in its folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from adapt.report import svg
from adapt.train.log import read_log
from adapt.workflows.output_folder import FOLDS

_POINTS = 250
COLOURS = 7  # classes l0 to l6 in the style sheet


@dataclass(frozen=True)
class Training:
    """One training of a run: its name, its CSS class and its log."""

    name: str
    colour: str
    log: Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Plot:
    """A chart with what stands beside it: the values at its edges and the steps at its ends."""

    title: str
    chart: Markup
    low: str
    high: str
    first: str
    last: str


def trainings(folder: Path) -> list[Training]:
    """The trainings of a run that have a log: one for each left-out domain, then the final one."""
    found = [
        Training(f"without {path.parent.name}", f"l{number % COLOURS}", read_log(path))
        for number, path in enumerate(sorted((folder / FOLDS).glob("*/log.jsonl")))
    ]
    final = Training("final, on all", "final", read_log(folder / "log.jsonl"))
    return [training for training in (*found, final) if training.log]


def loss_plots(runs: Sequence[Training]) -> list[Plot]:
    """A plot of each objective, and of their sum where there are several."""
    names = dict.fromkeys(name for run in runs for record in run.log for name in record["losses"])
    parts = [name for name in names if name != "total"]
    shown = parts if len(parts) == 1 else [*parts, "total"]
    titles = {"total": "weighted sum"}
    return [
        plot(titles.get(name, name.replace("_", " ")), [(run.colour, _points(run, name)) for run in runs])
        for name in shown
    ]


def rate_plot(runs: Sequence[Training]) -> Plot:
    """The learning rate over the longest training."""
    longest = max(runs, key=lambda run: len(run.log))
    return plot("learning rate", [("final", [(r["step"], r["learning_rate"]) for r in longest.log])], floor=0.0)


def plot(
    title: str, series: Sequence[tuple[str, Sequence[tuple[float, float]]]], *, floor: float | None = None
) -> Plot:
    """A plot whose edges fit its curves.

    Args:
        title: what is drawn.
        series: CSS class and points of each curve.
        floor: the value at the bottom edge; None: the lowest one.
    """
    drawn = [(colour, thinned(points)) for colour, points in series if points]
    xs = [x for _, points in drawn for x, _ in points] or [0.0]
    ys = [y for _, points in drawn for _, y in points] or [0.0]
    low, high = min(ys) if floor is None else floor, max(ys)
    label = f"{title} over the steps {min(xs):,.0f} to {max(xs):,.0f}, between {_number(low)} and {_number(high)}"
    chart = svg.lines(drawn, (min(xs), max(xs), low, high), label)
    return Plot(title, chart, _number(low), _number(high), f"step {min(xs):,.0f}", f"{max(xs):,.0f}")


def thinned(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """At most 250 points: means of neighbours, so that a long and noisy curve shows where it goes.

    >>> len(thinned([(step, 1.0) for step in range(1000)]))
    250
    """
    size = -(-len(points) // _POINTS)
    groups = [points[start : start + size] for start in range(0, len(points), size)] if points else []
    return [(sum(x for x, _ in group) / len(group), sum(y for _, y in group) / len(group)) for group in groups]


def _points(run: Training, name: str) -> list[tuple[float, float]]:
    found = [(record["step"], record["losses"].get(name)) for record in run.log]
    return [(step, value) for step, value in found if value is not None]


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"

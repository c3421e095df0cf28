"""The charts of an evaluation's page: bars with intervals, learning curves, and what pretraining changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from markupsafe import Markup

from adapt.report import svg
from adapt.report.curves import COLOURS
from adapt.workflows.evaluate_results import metric_title

if TYPE_CHECKING:
    from adapt.evaluate.significance import Interval
    from adapt.workflows.evaluate_results import EvaluationResult, Slice


_GROUPS = {"baseline": "other", "untrained": "text", "trained": "text", "control": "image"}


@dataclass(frozen=True)
class Bar:
    """One line of a bar chart: what it is, its number, a detail and the drawing."""

    label: str
    value: str
    detail: str
    chart: Markup


@dataclass(frozen=True)
class Curves:
    """The learning curves: the drawing, the numbers at its edges, labels below it, its key; how many were left out."""

    chart: Markup
    low: str
    high: str
    ticks: tuple[str, ...]
    keys: tuple[tuple[str, str], ...]
    left: int


def figure(found: Interval) -> str:
    """A figure of a table.

    >>> from adapt.evaluate.significance import Interval
    >>> figure(Interval(0.0602, 0.058, 0.0625, 0.95, 9))
    '0.0602'
    """
    return f"{found.mean:.4f}"


def method_bars(result: EvaluationResult) -> list[Bar]:
    """A bar for each method on the deciding metric, in the order of the registry."""
    metric = result.setting.metric
    drawn = [(found.name, found.slices["overall"]) for found in result.methods]
    return _bars(result, [(name, part, _mark(result, name)) for name, part in drawn if metric in part.metrics])


def warm_cold_bars(result: EvaluationResult) -> list[tuple[str, int, list[Bar]]]:
    """The same for warm and for cold hidden items: name, cases and bars; without a kind that does not occur."""
    groups = []
    for name in ("warm", "cold"):
        parts = [(found.name, found.slices[name], "") for found in result.methods]
        cases = max((part.cases for _, part, _ in parts), default=0)
        if cases:
            groups.append((name, cases, _bars(result, parts)))
    return groups


def _bars(result: EvaluationResult, parts: Sequence[tuple[str, Slice, str]]) -> list[Bar]:
    metric = result.setting.metric
    intervals = [part.metrics[metric] for _, part, _ in parts]
    top = max((found.high for found in intervals), default=0.0) * 1.05 or 1.0
    bars = []
    for (name, _, mark), found in zip(parts, intervals, strict=True):
        detail = f"95 % interval {found.low:.4f} to {found.high:.4f}{mark}"
        colour = "ours" if name == result.verdict.ship else _GROUPS[result.method(name).group]
        label = f"{name}: {metric_title(metric)} {found.mean:.4f}, {detail}"
        bars.append(
            Bar(name, figure(found), detail, svg.interval_bar(found.mean, (found.low, found.high), top, colour, label))
        )
    return bars


def learning_curves(result: EvaluationResult) -> Curves | None:
    """A curve for each method over the share of histories that is known; None when there is none."""
    points = result.curve
    if len(points) < 2:
        return None
    names, left = _drawn(result)
    shown = [found for point in points for found in point.methods.values()]
    top, bottom = max((found.high for found in shown), default=0.0) * 1.03 or 1.0, 0.0
    colours, series, keys = _colours(result, names), [], []
    for name in names:
        places = []
        for number, point in enumerate(points):
            if name in point.methods:
                found = point.methods[name]
                places.append(((number + 0.5) / len(points), found.mean, found.low, found.high))
        series.append((colours[name], places))
        keys.append((colours[name], name))
    ticks = tuple(f"{100 * point.fraction:g} %" for point in points)
    said = "; ".join(
        f"{name} from {series[number][1][0][1]:.4f} to {series[number][1][-1][1]:.4f}"
        for number, name in enumerate(names)
    )
    label = f"{metric_title(result.setting.metric)} by share of the histories that is known, {', '.join(ticks)}: {said}"
    ordered = sorted(series, key=lambda part: part[0] == "final")  # the method to ship is drawn on top
    return Curves(svg.bands(ordered, top, bottom, label), f"{bottom:g}", f"{top:.3f}", ticks, tuple(keys), left)


def _drawn(result: EvaluationResult) -> tuple[list[str], int]:
    """The methods that get a curve, as many as there are colours, and how many do not: those that end lowest."""
    last = result.curve[-1].methods
    known = [found.name for found in result.methods if sum(found.name in point.methods for point in result.curve) > 1]
    best = sorted(known, key=lambda name: (name != result.verdict.ship, -last[name].mean if name in last else 0.0))
    kept = set(best[: COLOURS + (result.verdict.ship in known)])
    return [name for name in known if name in kept], len(known) - len(kept)


def transfer_bars(result: EvaluationResult) -> list[Bar]:
    """What pretraining changes at each share of the histories, in per cent of the method without it."""
    if not result.transfers:
        return []
    relative = [(part, 100 / max(part.difference.base, 1e-9)) for part in result.transfers]
    extent = max(
        (abs(scale * end) for part, scale in relative for end in (part.difference.interval.low,
                                                                  part.difference.interval.high)), default=1.0,
    ) or 1.0  # fmt: skip
    bars = []
    for part, scale in relative:
        found = part.difference
        mean, low, high = (scale * value for value in (found.interval.mean, found.interval.low, found.interval.high))
        detail = (
            f"{100 * part.fraction:g} % of the histories, 95 % interval {low:+.1f} to {high:+.1f} %, {part.outcome}"
        )
        label = f"{found.ours} against {found.theirs}"
        colour = "other" if not found.sign else "ours" if found.sign > 0 else "worse"
        chart = svg.change_bar(mean, (low, high), extent * 1.05, colour, f"{label}: {mean:+.1f} %, {detail}")
        bars.append(Bar(label, f"{mean:+.1f} %", detail, chart))
    return bars


def _colours(result: EvaluationResult, names: Sequence[str]) -> dict[str, str]:
    """CSS class of each curve: the one of the method to ship stands out."""
    others = [name for name in names if name != result.verdict.ship]
    colours = {name: f"l{number % COLOURS}" for number, name in enumerate(others)}
    return {name: colours.get(name, "final") for name in names}


def _mark(result: EvaluationResult, name: str) -> str:
    found = result.method(name).against_best
    if found is None:
        return ", the best"
    return ", significantly below the best" if found.sign < 0 else ", not significantly below the best"

"""The page of a zero-shot run: one HTML file that needs nothing else."""

from __future__ import annotations

import datetime
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2
from markupsafe import Markup

from adapt.report import svg, view, words
from adapt.version import __version__

if TYPE_CHECKING:
    from adapt.workflows.recommend import RecommendResult

_TEMPLATES = Path(__file__).resolve().parent / "templates"
_SHOWN_IDS = 5
_LAYOUTS = {
    "directory": "a folder",
    "items file": "one file of items",
    "interactions file with item columns": "one file of interactions with the items' columns",
    "recbole": "RecBole files",
}


def render(result: RecommendResult) -> str:
    """The whole page as HTML text.

    Everything is inline: style, charts (SVG), thumbnails (``data:`` URIs). There is no script, and a content security
    policy forbids every request. Text from the data set is escaped.

    Args:
        result: what :func:`adapt.workflows.recommend.zero_shot_run` returned.
    """
    return environment().get_template("recommend.html.j2").render(_context(result))


@lru_cache(maxsize=1)
def environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["percent"] = words.percent
    environment.filters["number"] = lambda value: f"{value:,}"
    environment.filters["seconds"] = _seconds
    return environment


def _context(result: RecommendResult) -> dict[str, Any]:
    report, examples = result.dataset.report, view.example_lists(result)
    return {
        "version": __version__,
        "result": result,
        "report": report,
        "layout": _LAYOUTS.get(report.layout, report.layout),
        "heading": _heading(result),
        "verdict": words.verdict(result),
        "index_sentence": words.index_sentence(result),
        "coverage": _coverage(result),
        "histogram": _histogram(result),
        "check_bars": _check_bars(result),
        "time_span": _time_span(result),
        "examples": examples,
        "problems": sorted(report.problems, key=lambda p: ("error", "warning", "note").index(p.severity)),
        "left_out_shown": result.left_out[:_SHOWN_IDS],
        "no_history_shown": result.users_without_history[:_SHOWN_IDS],
        "failures_shown": result.encode_failures[:_SHOWN_IDS],
        "facts": view.flatten(result.run),
    }


def _heading(result: RecommendResult) -> str:
    kind = {"users": "Recommendations for", "similar": "Similar items in", "history": "Recommendations from"}[
        result.mode
    ]
    return f"{kind} {result.dataset.name}"


def _coverage(result: RecommendResult) -> dict[str, Any]:
    """The candidates by what is known of them, and the items that could not become candidates."""
    parts = (
        ("both", "text and picture", result.with_both),
        ("text", "text only", result.with_text - result.with_both),
        ("image", "picture only", result.with_image - result.with_both),
        ("none", "neither, left out", len(result.left_out)),
    )
    total = sum(count for _, _, count in parts) or 1
    described = ", ".join(f"{count:,} {label}" for _, label, count in parts)
    return {
        "chart": svg.stacked_bar([(name, count) for name, _, count in parts], f"Items by what is known: {described}"),
        "parts": [(name, label, count, count / total) for name, label, count in parts],
    }


def _histogram(result: RecommendResult) -> dict[str, Any] | None:
    bins = view.history_histogram(result)
    if not bins:
        return None
    described = ", ".join(f"{count:,} users with {label}" for label, count in bins)
    return {"chart": svg.columns([count for _, count in bins], f"Length of histories: {described}"), "bins": bins}


def _check_bars(result: RecommendResult) -> list[tuple[str, str, str, Markup]]:
    """Label, number, detail and chart of each scorer of the self-check."""
    check = result.self_check
    if check is None:
        return []
    top = max(check.recall_high, check.popularity_recall, check.chance_recall, 1e-9) * 1.05
    interval = (check.recall_low, check.recall_high)
    detail = f"95 % interval {words.percent(check.recall_low)} to {words.percent(check.recall_high)}"
    rows: list[tuple[str, float, tuple[float, float] | None, str, str]] = [
        ("These recommendations", check.recall, interval, "ours", detail),
        ("Most popular items", check.popularity_recall, None, "other", "the same list for everyone"),
        ("Chance", check.chance_recall, None, "other", "items drawn at random"),
    ]
    return [
        (
            label,
            words.percent(value),
            text,
            svg.interval_bar(value, ends, top, name, f"{label}: {words.percent(value)}, {text}"),
        )
        for label, value, ends, name, text in rows
    ]


def _time_span(result: RecommendResult) -> str:
    span = result.dataset.report.time_span
    if span is None:
        return ""
    dates = result.dataset.report.time_unit != "number"
    days = [_day(end) if dates else f"{end:,.0f}" for end in span]
    return days[0] if days[0] == days[1] else f"{days[0]} to {days[1]}"


def _day(seconds: float) -> str:
    try:
        moment = datetime.datetime.fromtimestamp(seconds, tz=datetime.timezone.utc)
    except (OverflowError, OSError, ValueError):
        return f"{seconds:,.0f}"
    return f"{moment.day} {moment:%B %Y}" if 1980 <= moment.year <= 2100 else f"{seconds:,.0f}"


def _seconds(value: float) -> str:
    return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.1f} s" if value < 90 else f"{value / 60:.1f} min"

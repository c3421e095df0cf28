"""The page of an evaluation: the verdict first, then the figures that it follows from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from adapt.report import evaluate_charts as charts
from adapt.report import view
from adapt.report.recommend import environment
from adapt.report.thumbnails import Thumbnails
from adapt.version import __version__
from adapt.workflows.evaluate_results import metric_title

if TYPE_CHECKING:
    from adapt.evaluate.significance import Interval
    from adapt.report.view import ItemCard
    from adapt.workflows.evaluate_results import EvaluationResult, MethodResult, Slice

_EXAMPLES = 6
_EXAMPLE_METHODS = 4
_EXAMPLE_ITEMS = 5


@dataclass(frozen=True)
class Answer:
    """What one method recommends to a user; ``place`` of the hidden item from 1, 0 where it is not in the list."""

    method: str
    items: tuple[ItemCard, ...]
    place: int


@dataclass(frozen=True)
class ExampleUser:
    """One case: the history, the hidden item and what each method recommends."""

    user: str
    history: tuple[ItemCard, ...]
    history_length: int
    hidden: ItemCard
    answers: tuple[Answer, ...]

    @property
    def pictures(self) -> bool:
        """Whether any item has a picture."""
        cards = [*self.history, self.hidden, *(card for answer in self.answers for card in answer.items)]
        return any(card.picture for card in cards)


def render(result: EvaluationResult) -> str:
    """The whole page as HTML text; see :func:`adapt.report.recommend.render` for what it holds to.

    Args:
        result: what :func:`adapt.workflows.evaluate.evaluate_run` returned.
    """
    setting = result.setting
    context = {
        "version": __version__,
        "heading": f"What to ship for {result.dataset.name}",
        "result": result,
        "metric": metric_title(setting.metric),
        "bars": charts.method_bars(result),
        "warm_cold": charts.warm_cold_bars(result),
        "curves": charts.learning_curves(result),
        "curve_table": _curve_table(result),
        "transfer": charts.transfer_bars(result),
        "accuracy": _accuracy(result),
        "lists": _lists(result),
        "lengths": _lengths(result),
        "examples": example_users(result),
        "facts": view.flatten(result.run),
    }
    return environment().get_template("evaluate.html.j2").render(context)


def example_users(result: EvaluationResult) -> tuple[ExampleUser, ...]:
    """A few cases spread evenly from the shortest to the longest history, so that none is picked by its result."""
    setting, catalog = result.setting, result.dataset.catalog
    interactions = result.dataset.interactions
    assert interactions is not None
    thumbnails = Thumbnails(catalog)
    offsets = setting.histories.offsets
    order = np.argsort(np.diff(offsets), kind="stable")
    places = np.unique(np.linspace(0, len(order) - 1, min(_EXAMPLES, len(order))).round().astype(np.int64))
    methods = example_methods(result)
    examples = []
    for case in order[places].tolist():
        history = setting.histories.items[offsets[case] : offsets[case + 1]].tolist()
        hidden = int(setting.targets[case])
        answers = []
        for method in methods:
            rows = [row for row in method.top[case].tolist() if row >= 0]
            shown = tuple(view.item_card(catalog, thumbnails, row) for row in rows[:_EXAMPLE_ITEMS])
            answers.append(Answer(method.name, shown, rows.index(hidden) + 1 if hidden in rows else 0))
        examples.append(
            ExampleUser(
                user=interactions.user_ids[int(setting.case_users[case])],
                history=tuple(view.item_card(catalog, thumbnails, row) for row in history[-view.MAX_HISTORY :]),
                history_length=len(history),
                hidden=view.item_card(catalog, thumbnails, hidden),
                answers=tuple(answers),
            )
        )
    return tuple(examples)


def example_methods(result: EvaluationResult) -> tuple[MethodResult, ...]:
    """The methods that examples show: the one to ship, the best baseline, and the best of the others."""
    metric = result.setting.metric
    ranked = sorted(result.methods, key=lambda found: -found.slices["overall"].metrics[metric].mean)
    wanted = [found for found in ranked if found.name == result.verdict.ship]
    wanted += [found for found in ranked if found.group == "baseline"][:1]
    chosen = {found.name: found for found in [*wanted, *ranked]}
    return tuple(list(chosen.values())[:_EXAMPLE_METHODS])


def _accuracy(result: EvaluationResult) -> dict[str, Any]:
    """Columns and rows of the table of accuracy."""
    first = result.methods[0].slices["overall"]
    rows = []
    for found in result.methods:
        overall = found.slices["overall"]
        cells = [_cell(overall.metrics[name]) for name in first.metrics]
        rows.append((found, cells, _against(found)))
    return {"columns": [metric_title(name) for name in first.metrics], "rows": rows}


def _against(found: MethodResult) -> list[tuple[str, str]]:
    """Against the best baseline and the best method: the words and the mark."""
    cells = []
    for difference in (found.against_baseline, found.against_best):
        if difference is None:
            cells.append(("", ""))
        else:
            mark = "*" if difference.significant else ""
            change, _, interval = difference.words().partition(", 95 % ")
            cells.append((f"{change} {mark}".strip(), f"{interval}"))
    return cells


def _lists(result: EvaluationResult) -> dict[str, Any]:
    names = list(result.methods[0].lists)
    rows = [(found.name, [_number(found.lists[name]) for name in names]) for found in result.methods]
    return {"columns": [name.capitalize() for name in names], "rows": rows}


def _lengths(result: EvaluationResult) -> dict[str, Any]:
    """The deciding metric by length of the history."""
    labels = list(result.methods[0].lengths)
    cases = [result.methods[0].lengths[label].cases for label in labels]
    rows = [(found.name, [_of(found.lengths[label], result) for label in labels]) for found in result.methods]
    return {"columns": list(zip(labels, cases, strict=True)), "rows": rows}


def _curve_table(result: EvaluationResult) -> list[tuple[str, list[tuple[str, str]]]]:
    """Rows of the learning curve: method, then the figure and interval at each share."""
    missing = ("–", "")
    return [
        (found.name, [_cell(p.methods[found.name]) if found.name in p.methods else missing for p in result.curve])
        for found in result.methods
    ]


def _of(part: Slice, result: EvaluationResult) -> tuple[str, str]:
    return _cell(part.metrics[result.setting.metric]) if part.metrics else ("–", "")


def _cell(found: Interval) -> tuple[str, str]:
    return charts.figure(found), f"{found.low:.4f} to {found.high:.4f}"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}"

"""The report on a data set: what is there, and what is wrong with it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from adapt.data.catalog import Catalog, Interactions
from adapt.data.layout import Layout
from adapt.data.problems import Example, Problem, ProblemLog
from adapt.data.views import filled

__all__ = ["DataReport", "Example", "HistoryLengths", "Problem", "make_report"]

_EXAMPLE_CHARACTERS = 500


@dataclass(frozen=True)
class HistoryLengths:
    """How long the histories of users with at least one known item are."""

    min: int
    median: float
    mean: float
    p90: float
    max: int


@dataclass(frozen=True)
class DataReport:
    """What was found in a data set.

    Attributes:
        path: as given.
        layout: how it is laid out.
        files: the files that were read, by their names below the data set's folder.
        items, users, interactions: what can be used of them.
        with_text, with_image, with_both, with_neither: numbers of items.
        time_span: first and last timestamp; None = no timestamps.
        time_unit: what timestamps were read as; "number" = small numbers, which order events and are no dates.
        time_order: what orders the histories.
        history_lengths: None = no interactions.
        text_template: the columns that make up an item's text, in order.
        text_example: the first text.
        problems: what is wrong, errors first.
    """

    path: str
    layout: Layout
    files: tuple[str, ...]
    items: int
    users: int
    interactions: int
    with_text: int
    with_image: int
    with_both: int
    with_neither: int
    time_span: tuple[float, float] | None
    time_unit: str | None
    time_order: Literal["timestamps", "file order"]
    history_lengths: HistoryLengths | None
    text_template: tuple[str, ...]
    text_example: str
    problems: tuple[Problem, ...]

    @property
    def usable(self) -> bool:
        """Whether nothing found is an error."""
        return not any(problem.severity == "error" for problem in self.problems)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {**asdict(self), "usable": self.usable}


def make_report(
    path: str,
    layout: Layout,
    files: tuple[str, ...],
    *,
    catalog: Catalog,
    interactions: Interactions | None,
    time_unit: str | None,
    log: ProblemLog,
) -> DataReport:
    """Count what was read."""
    text, image = catalog.has_text, catalog.has_image
    lengths = interactions.lengths() if interactions is not None else np.zeros(0, dtype=np.int64)
    times = interactions.timestamps if interactions is not None else None
    return DataReport(
        path=path,
        layout=layout,
        files=files,
        items=len(catalog),
        users=interactions.n_users if interactions is not None else 0,
        interactions=len(interactions) if interactions is not None else 0,
        with_text=int(text.sum()),
        with_image=int(image.sum()),
        with_both=int((text & image).sum()),
        with_neither=int((~text & ~image).sum()),
        time_span=(float(times.min()), float(times.max())) if times is not None and len(times) else None,
        time_unit=time_unit,
        time_order="file order" if times is None else "timestamps",
        history_lengths=_lengths(lengths[lengths > 0]),
        text_template=catalog.text_template,
        text_example=_first_text(catalog)[:_EXAMPLE_CHARACTERS],
        problems=log.problems(),
    )


def _first_text(catalog: Catalog) -> str:
    there = filled(catalog.texts)
    return catalog.texts[int(np.argmax(there))] if there.any() else ""


def _lengths(lengths: Any) -> HistoryLengths | None:
    if not len(lengths):
        return None
    return HistoryLengths(
        min=int(lengths.min()),
        median=float(np.median(lengths)),
        mean=float(lengths.mean()),
        p90=float(np.quantile(lengths, 0.9)),
        max=int(lengths.max()),
    )

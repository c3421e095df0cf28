"""What the page of a zero-shot run shows, as plain values that the template lays out."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from adapt.report.thumbnails import Thumbnails

if TYPE_CHECKING:
    from adapt.data.catalog import Catalog
    from adapt.workflows.recommend import RecommendResult

MAX_LISTS = 10
MAX_HISTORY = 6
MAX_ITEMS = 10
_TILES = 6  # colours of letter tiles in the style sheet
_DETAIL_COLUMNS = ("category", "categories", "genre", "genres", "brand")
_BINS = ((1, 1), (2, 2), (3, 3), (4, 4), (5, 5), (6, 10), (11, 20), (21, 50), (51, 100), (101, None))


@dataclass(frozen=True)
class ItemCard:
    """One item of a list; ``score`` is None in a history, ``title`` is empty for an item known by its picture only."""

    id: str
    title: str
    detail: str
    picture: str | None
    letter: str
    tile: int
    score: float | None


@dataclass(frozen=True)
class ExampleList:
    """One key with its history (or the item asked about) and the recommended items, best first."""

    key: str
    history: tuple[ItemCard, ...]
    history_length: int
    items: tuple[ItemCard, ...]

    @property
    def pictures(self) -> bool:
        """Whether any item has a picture; letter tiles for all of them would only take space."""
        return any(card.picture for card in (*self.history, *self.items))


def example_lists(result: RecommendResult) -> tuple[ExampleList, ...]:
    """Up to ``MAX_LISTS`` lists that are spread over short and long histories, in the order of the table.

    Spread evenly over the ranking by history length, so that the page shows no hand-picked successes.
    """
    table, catalog = result.table, result.dataset.catalog
    thumbnails = Thumbnails(catalog)
    lengths = np.array([len(history) for history in table.histories], dtype=np.int64)
    order = np.argsort(lengths, kind="stable")
    places = np.unique(np.linspace(0, len(order) - 1, min(MAX_LISTS, len(order))).round().astype(np.int64))
    examples = []
    for number in sorted(order[places].tolist()) if len(order) else []:
        key, history = table.keys[number], table.histories[number].tolist()
        if result.mode == "similar" and not history:
            history = [catalog.row(key)]
        rows, scores = table.rows[number].tolist()[:MAX_ITEMS], table.scores[number].tolist()
        items = [
            item_card(catalog, thumbnails, row, score) for row, score in zip(rows, scores, strict=False) if row >= 0
        ]
        shown = [item_card(catalog, thumbnails, row) for row in history[-MAX_HISTORY:]]
        examples.append(ExampleList(key, tuple(shown), len(history), tuple(items)))
    return tuple(examples)


def history_histogram(result: RecommendResult) -> tuple[tuple[str, int], ...]:
    """Label and number of users of each range of history lengths, without empty ranges at either end."""
    interactions = result.dataset.interactions
    if interactions is None or interactions.n_users == 0:
        return ()
    lengths = np.diff(interactions.offsets)
    longest = int(lengths.max(initial=0))
    bins = [(number, number) for number in range(1, longest + 1)] if longest <= 12 else list(_BINS)
    counted = []
    for low, high in bins:
        inside = (lengths >= low) & (lengths <= (longest if high is None else high))
        label = str(low) if low == high else f"{low}+" if high is None else f"{low}–{high}"
        counted.append((label, int(inside.sum())))
    while counted and counted[-1][1] == 0:
        counted.pop()
    while counted and counted[0][1] == 0:
        counted.pop(0)
    return tuple(counted)


def flatten(values: Mapping[str, Any], limit: int = 120) -> tuple[tuple[str, str], ...]:
    """Nested run facts as lines of a table: dotted name and value; long sequences are shortened.

    >>> flatten({"seed": 0, "versions": {"torch": "2.4"}})
    (('seed', '0'), ('versions.torch', '2.4'))
    """
    lines: list[tuple[str, str]] = []

    def visit(prefix: str, value: object) -> None:
        if isinstance(value, Mapping) and value:
            for name, inner in value.items():
                visit(f"{prefix}.{name}" if prefix else str(name), inner)
        else:
            lines.append((prefix, _short(value)))

    visit("", values)
    return tuple(lines[:limit])


def _short(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        head = ", ".join(_short(part) for part in value[:4])
        return (f"{head}, … ({len(value):,})" if len(value) > 4 else head) or "none"
    text = "none" if value is None or value == {} else str(value)
    return text if len(text) <= 200 else text[:199] + "…"


def item_card(catalog: Catalog, thumbnails: Thumbnails, row: int, score: float | None = None) -> ItemCard:
    """What a page shows of one item of the catalog."""
    item_id, title = catalog.ids[row], catalog.titles[row]
    known = title if title and title != item_id else ""
    picture = thumbnails.uri(row)
    initial = next((character for character in known or item_id if character.isalnum()), "•")
    return ItemCard(
        id=item_id,
        title=known,
        detail=_detail(catalog, row),
        picture=picture,
        letter=initial.upper()[:1],
        tile=zlib.crc32(item_id.encode("utf-8", "surrogatepass")) % _TILES,
        score=score,
    )


def _detail(catalog: Catalog, row: int) -> str:
    by_name = {name.lower(): name for name in catalog.columns}
    for wanted in _DETAIL_COLUMNS:
        if wanted in by_name and (value := catalog.columns[by_name[wanted]][row].strip()):
            return value[:80]
    return ""

"""What a living index is asked, and what it answers."""

from __future__ import annotations

from dataclasses import dataclass

from adapt.errors import UsageError
from adapt.index.filters import Condition
from adapt.workflows.index_build import ItemsReport


@dataclass(frozen=True)
class SearchOptions:
    """What an answer may hold.

    Attributes:
        k: how many items; fewer are returned where fewer are allowed.
        where: conditions on columns that all must hold.
        allow: ids that alone may be returned; None = any. Ids that the index does not hold allow nothing.
        deny: ids that may not be returned.
        keep_seen: whether the items of the query itself may be returned.
        diversity: 0 = by score alone; up to 1, the more unlike each other the items of a list are; see
            :func:`adapt.index.diversity.diversify`.
    """

    k: int = 10
    where: tuple[Condition, ...] = ()
    allow: tuple[str, ...] | None = None
    deny: tuple[str, ...] = ()
    keep_seen: bool = False
    diversity: float = 0.0

    def __post_init__(self) -> None:
        if self.k < 1 or not 0 <= self.diversity <= 1:
            raise UsageError(
                f"expected k of at least 1 and a diversity between 0 and 1, found {self.k} and {self.diversity}"
            )


DEFAULTS = SearchOptions()


@dataclass(frozen=True)
class Hits:
    """One ranked list.

    Attributes:
        key: what was searched by.
        item_ids: best first.
        titles: what a person reads of each.
        scores: cosines.
        generation: of the index that answered.
        unknown: items of the history that the index does not hold; they were not read.
    """

    key: str
    item_ids: tuple[str, ...]
    titles: tuple[str, ...]
    scores: tuple[float, ...]
    generation: str
    unknown: tuple[str, ...] = ()


@dataclass(frozen=True)
class Change:
    """What a writer did.

    Attributes:
        generation: that counts now.
        count: items that can be found now.
        added, replaced, removed: how many items.
        report: what became of the items of the file; None where there was none.
        recalibrated: whether recall was measured anew.
    """

    generation: str
    count: int
    added: int = 0
    replaced: int = 0
    removed: int = 0
    report: ItemsReport | None = None
    recalibrated: bool = False

"""What could make a figure too good: items of the target that pretraining saw, and events that repeat."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from adapt.data.catalog import Catalog, Interactions
from adapt.errors import UsageError
from adapt.evaluate.tasks import Task

ALIKE = 0.8
"""Jaccard similarity of the words from which two texts count as nearly identical."""

_WORDS = re.compile(r"\w+")
_BLOCK = 1024
_PAIRS = 1 << 20
_EXAMPLES = 5
_WHOLE = 3  # a history of fewer events equals another one by chance


@dataclass(frozen=True)
class CatalogOverlap:
    """How many items of a target catalog are in a source catalog too.

    Attributes:
        items: of the target.
        same_ids: items whose id is in the source. Ids that are plain numbers coincide without meaning the same.
        same_texts: items whose whole text or title is one of the source's, but for case, punctuation and spacing.
        near_texts: further items whose text or title has nearly the same words.
        examples: up to five (target title, source title), of equal and nearly equal texts.
    """

    items: int
    same_ids: int
    same_texts: int
    near_texts: int
    examples: tuple[tuple[str, str], ...]

    @property
    def share(self) -> float:
        """The share of the target's items that have an equal or nearly equal text in the source."""
        return (self.same_texts + self.near_texts) / max(1, self.items)


@dataclass(frozen=True)
class Repeats:
    """Events that repeat, within a task.

    Attributes:
        consecutive: events with the same item as the event before it of the same user.
        targets_seen: cases whose hidden item is in the history; with seen items excluded nobody can find it.
        same_histories: users whose whole history, three events or more, equals that of another user.
    """

    consecutive: int
    targets_seen: int
    same_histories: int


def catalog_overlap(target: Catalog, source: Catalog, threshold: float = ALIKE) -> CatalogOverlap:
    """Count the items of a target that a source holds: same id, same text, nearly the same words.

    Args:
        target: the catalog that is evaluated on.
        source: one that a checkpoint was pretrained on.
        threshold: Jaccard similarity of the sets of words, above 0 and at most 1.

    Raises:
        UsageError: ``threshold`` is out of range.
    """
    same, match = np.zeros(len(target), bool), np.full(len(target), -1, np.int64)
    fields = [([_normal(text) for text in side.texts], _titles(side)) for side in (target, source)]
    for ours, theirs in zip(*fields, strict=True):
        known = {text: row for row, text in reversed(list(enumerate(theirs))) if text}
        rows = np.array([known.get(text, -1) if text else -1 for text in ours], np.int64)
        match = np.where((match < 0) & (rows >= 0), rows, match)
        same |= rows >= 0
    near = np.zeros(len(target), bool)
    for ours, theirs in zip(*fields, strict=True):
        left = np.flatnonzero(~same & ~near)
        rows = near_duplicates([ours[row] for row in left], theirs, threshold)
        near[left] = rows >= 0
        match[left] = np.where(rows >= 0, rows, match[left])
    examples = [(target.titles[row], source.titles[match[row]]) for row in np.flatnonzero(same | near)[:_EXAMPLES]]
    ids = set(source.ids)
    return CatalogOverlap(
        items=len(target),
        same_ids=sum(item in ids for item in target.ids),
        same_texts=int(same.sum()),
        near_texts=int(near.sum()),
        examples=tuple(examples),
    )


def near_duplicates(texts: Sequence[str], others: Sequence[str], threshold: float = ALIKE) -> NDArray[np.int64]:
    """For each text one of the others with at least ``threshold`` Jaccard similarity of its words, -1 = there is none.

    Exact, and far from comparing all pairs: with words in order of rarity, similar sets share one of their first
    ``|x| - ceil(threshold |x|) + 1`` words (prefix filtering, Bayardo et al., WWW 2007).

    Args:
        texts: any; an empty one has no duplicate.
        others: any.
        threshold: above 0 and at most 1.

    Returns:
        int64 (texts,), the place of the most similar other text, of several the first.

    Raises:
        UsageError: ``threshold`` is out of range.

    >>> near_duplicates(["red wool hat, large, new", "blue"], ["green", "large red hat new wool soft"])
    array([ 1, -1])
    """
    if not 0 < threshold <= 1:
        raise UsageError(f"expected a threshold above 0 and at most 1, found {threshold}")
    words: dict[str, int] = {}
    sides = [[sorted({words.setdefault(w, len(words)) for w in _WORDS.findall(t.casefold())}) for t in side]
             for side in (texts, others)]  # fmt: skip
    found, best = np.full(len(texts), -1, np.int64), np.zeros(len(texts))
    if not words or not len(others):
        return found
    counts = np.bincount([word for side in sides for row in side for word in row], minlength=len(words))
    rarity = np.empty(len(words), np.int64)
    rarity[np.argsort(counts, kind="stable")] = np.arange(len(words))
    ranked = [[np.sort(rarity[row]) for row in side] for side in sides]
    whole = [_sets(side, len(words)) for side in ranked]
    first = [_sets([row[: _prefix(len(row), threshold)] for row in side], len(words)) for side in ranked]
    sizes = [np.array([len(row) for row in side], np.int64) for side in sides]
    lookup = first[1].T.tocsr()
    for start in range(0, len(texts), _BLOCK):
        pairs = (first[0][start : start + _BLOCK] @ lookup).tocoo()
        left, right = pairs.row.astype(np.int64) + start, pairs.col.astype(np.int64)
        possible = np.minimum(sizes[0][left], sizes[1][right]) >= threshold * np.maximum(
            sizes[0][left], sizes[1][right]
        )
        left, right = left[possible], right[possible]
        for begin in range(0, len(left), _PAIRS):
            a, b = left[begin : begin + _PAIRS], right[begin : begin + _PAIRS]
            shared = np.asarray(whole[0][a].multiply(whole[1][b]).sum(axis=1)).reshape(-1)
            similarity = shared / (sizes[0][a] + sizes[1][b] - shared)
            order = np.lexsort((-b, similarity))  # the last one written is the most similar, of several the first
            a, b, similarity = a[order], b[order], similarity[order]
            better = (similarity >= threshold - 1e-9) & (similarity > best[a])
            found[a[better]], best[a[better]] = b[better], similarity[better]
    return found


def repeats(task: Task, interactions: Interactions) -> Repeats:
    """Count the events that repeat in a data set and in a task made from it.

    Args:
        task: made from the interactions.
        interactions: all of them.

    >>> from adapt.evaluate.tasks import leave_one_out_task
    >>> events = Interactions(("a", "b"), np.array([0, 3, 5]), np.array([0, 0, 1, 1, 2], np.int32))
    >>> repeats(leave_one_out_task(events, np.ones(3, bool)), events)
    Repeats(consecutive=1, targets_seen=0, same_histories=0)
    """
    users, items = interactions.users(), interactions.items
    case = np.repeat(np.arange(len(task)), np.diff(task.histories.offsets))
    seen = np.unique(case[task.histories.items == task.targets[case]])
    whole = [interactions.history(int(user)).tobytes() for user in np.flatnonzero(interactions.lengths() >= _WHOLE)]
    _, counts = np.unique(np.array(whole, object), return_counts=True) if whole else ([], np.zeros(0, np.int64))
    return Repeats(
        consecutive=int(np.count_nonzero((np.diff(users) == 0) & (np.diff(items) == 0))),
        targets_seen=len(seen),
        same_histories=int(counts[counts > 1].sum()),
    )


def _normal(text: str) -> str:
    return " ".join(_WORDS.findall(unicodedata.normalize("NFKC", text).casefold()))


def _titles(catalog: Catalog) -> list[str]:
    """Normalised titles; "" where an item has none and its id stands for it."""
    pairs = zip(catalog.titles, catalog.ids, strict=True)
    return ["" if title == item else _normal(title) for title, item in pairs]


def _prefix(size: int, threshold: float) -> int:
    return size - int(np.ceil(threshold * size - 1e-9)) + 1


def _sets(rows: Sequence[NDArray[np.int64]], width: int) -> Any:
    """Sets of numbers as a float32 CSR matrix of ones."""
    offsets = np.concatenate([[0], np.cumsum([len(row) for row in rows], dtype=np.int64)])
    numbers = np.concatenate([np.zeros(0, np.int64), *rows])
    return sparse.csr_array((np.ones(len(numbers), np.float32), numbers, offsets), shape=(len(rows), width))

"""Training batches of histories. A batch is a function of (seed, step) alone, so a resumed run draws the same ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from adapt.errors import DataError
from adapt.seeds import generator

_BUCKET = 8
"""Lengths are rounded up to a multiple of this, so that little of a batch is padding."""


@dataclass(frozen=True, eq=False)
class SequenceSource:
    """The histories of one data set, as training reads them.

    Attributes:
        name: of the data set.
        n_items: number of items in its catalog.
        offsets: int64 (users + 1,).
        items: int32 (events,) catalog rows, each user's oldest first.
        usable: bool (n_items,): the item has a modality that the towers read; others are skipped.
        ordered: whether the order of events means anything; if not, next-item objectives leave the source out.
    """

    name: str
    n_items: int
    offsets: NDArray[np.int64]
    items: NDArray[np.int32]
    usable: NDArray[np.bool_]
    ordered: bool = True


@dataclass(frozen=True, eq=False)
class SequenceBatch:
    """Histories of one source, with the candidates that their next items are told apart from.

    Attributes:
        source: number of the source.
        rows: int64 (m,) catalog rows that occur in the batch, without repetition; the other arrays point into it.
        histories: int64 (batch, length), padded on the left with -1.
        targets: int64 (batch, length), the item after each place, -1 at padding.
        candidates: int64 (candidates,), the distinct targets and the negatives drawn uniformly.
        log_q: float32 (candidates,), log of the probability that the item is among a batch's candidates.
    """

    source: int
    rows: NDArray[np.int64]
    histories: NDArray[np.int64]
    targets: NDArray[np.int64]
    candidates: NDArray[np.int64]
    log_q: NDArray[np.float32]


class SequenceSampler:
    """Draws batches of histories from several sources, one source a step.

    A source is drawn with probability proportional to its number of users to the power of ``temperature``: 1 follows
    the sizes, 0 makes all equal. Within a step, all histories are about equally long.

    Args:
        sources: at least one with a history of two usable items.
        batch_size: histories a batch.
        max_length: number of last places that are read; longer histories are cut at a random place.
        negatives: candidates drawn uniformly from the catalog, beside the batch's own targets.
        temperature: see above.
        max_targets: places that are supervised in a batch, drawn at random where there are more; it bounds the memory.
        seed: of every draw.

    Raises:
        DataError: no source has a history of two usable items.
    """

    def __init__(
        self,
        sources: Sequence[SequenceSource],
        batch_size: int,
        max_length: int,
        negatives: int,
        temperature: float = 0.5,
        max_targets: int = 1024,
        seed: int = 0,
    ) -> None:
        self.sources = sources
        self.batch_size = batch_size
        self.max_length = max_length
        self.negatives = negatives
        self.max_targets = max_targets
        self.seed = seed
        self._histories = [_usable_histories(source) for source in sources]
        users = np.array([len(offsets) - 1 for offsets, _ in self._histories], dtype=np.float64)
        if not users.sum():
            raise DataError(
                "expected at least one data set with a history of two items whose order is known, found none",
                "Add a data set with interactions, or leave out the next-item objective.",
            )
        chance = np.where(users > 0, users**temperature, 0.0)
        self.chance = chance / chance.sum()
        self._by_length = [np.argsort(np.diff(offsets), kind="stable") for offsets, _ in self._histories]
        self._frequency = [
            np.bincount(items, minlength=source.n_items) / max(1, len(items))
            for source, (_, items) in zip(sources, self._histories, strict=True)
        ]

    def batch(self, step: int) -> SequenceBatch:
        """The batch of a step: always the same for the same seed and step."""
        random = generator(self.seed, step)
        number = int(random.choice(len(self.sources), p=self.chance))
        offsets, items = self._histories[number]
        windows = [self._window(offsets, items, int(user), random) for user in self._similar_users(number, random)]
        length = min(self.max_length, -(-(max(map(len, windows)) - 1) // _BUCKET) * _BUCKET)
        histories = np.full((len(windows), length), -1, dtype=np.int64)
        targets = np.full_like(histories, -1)
        for row, window in enumerate(windows):
            histories[row, length - len(window) + 1 :] = window[:-1]
            targets[row, length - len(window) + 1 :] = window[1:]
        supervised = np.flatnonzero(targets >= 0)
        if len(supervised) > self.max_targets:
            random.shuffle(supervised)
            targets.ravel()[supervised[self.max_targets :]] = -1
        return self._with_candidates(number, histories, targets, random)

    def _similar_users(self, number: int, random: np.random.Generator) -> NDArray[np.int64]:
        """A run of users of neighbouring lengths, starting anywhere, in random order where lengths are equal."""
        order = self._by_length[number]
        count = min(self.batch_size, len(order))
        pool = min(len(order), 8 * count)
        start = int(random.integers(len(order) - pool + 1))
        return np.asarray(random.choice(order[start : start + pool], count, replace=False))

    def _window(
        self, offsets: NDArray[np.int64], items: NDArray[np.int32], user: int, random: np.random.Generator
    ) -> NDArray[np.int32]:
        start, end = int(offsets[user]), int(offsets[user + 1])
        if end - start > self.max_length + 1:
            start += int(random.integers(end - start - self.max_length))
            end = start + self.max_length + 1
        return items[start:end]

    def _with_candidates(
        self, number: int, histories: NDArray[np.int64], targets: NDArray[np.int64], random: np.random.Generator
    ) -> SequenceBatch:
        usable = np.flatnonzero(self.sources[number].usable)
        distinct = np.unique(targets[targets >= 0])
        drawn = usable[random.integers(len(usable), size=min(self.negatives, len(usable)))]
        candidates = np.unique(np.concatenate([distinct, drawn]))
        expected = int((targets >= 0).sum()) * self._frequency[number][candidates] + len(drawn) / len(usable)
        log_q = np.log(-np.expm1(-expected)).astype(np.float32)  # at least one of a Poisson number of draws
        rows, inverse = np.unique(np.concatenate([histories.ravel(), candidates]), return_inverse=True)
        shift = int(rows[0] == -1)  # the place of -1 in `rows`, if padding occurs
        local = inverse.reshape(-1) - shift
        position = np.full(int(rows[-1]) + 2, -1, dtype=np.int64)  # last entry: index -1 stays -1
        position[candidates] = np.arange(len(candidates))
        return SequenceBatch(
            source=number,
            rows=rows[shift:],
            histories=local[: histories.size].reshape(histories.shape),
            targets=position[targets],
            candidates=local[histories.size :],
            log_q=log_q,
        )


def _usable_histories(source: SequenceSource) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Offsets and items of the histories with two usable items or more."""
    if not source.ordered or not len(source.items):
        return np.zeros(1, dtype=np.int64), np.zeros(0, dtype=np.int32)
    keep = source.usable[source.items]
    kept = np.concatenate([[0], np.cumsum(keep)])
    lengths = kept[source.offsets[1:]] - kept[source.offsets[:-1]]
    long_enough = lengths >= 2
    owner = np.repeat(np.arange(len(lengths)), np.diff(source.offsets))
    items = source.items[keep & long_enough[owner]]
    return np.concatenate([[0], np.cumsum(lengths[long_enough])]).astype(np.int64), items

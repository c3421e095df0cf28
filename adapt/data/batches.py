"""Training batches of histories. A batch is a function of (seed, step) alone, so a resumed run draws the same ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from adapt.data.epochs import SourceSchedule, UserBatches
from adapt.errors import DataError
from adapt.seeds import generator


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
    """Histories of one source, with the candidates that the items to predict are told apart from.

    Attributes:
        source: number of the source.
        rows: int64 (m,) catalog rows that occur in the batch, without repetition; the other arrays point into it.
        histories: int64 (batch, length), padded on the left with -1; a hidden place is -1 too.
        targets: int64 (batch, length), which of the candidates each place predicts: the item after it, or the item that
            is hidden there; -1 at padding and where nothing is predicted.
        candidates: int64 (candidates,), the distinct targets and the negatives drawn uniformly, or all usable items.
        log_q: float32 (candidates,), log of the probability that the item is among a batch's candidates.
    """

    source: int
    rows: NDArray[np.int64]
    histories: NDArray[np.int64]
    targets: NDArray[np.int64]
    candidates: NDArray[np.int64]
    log_q: NDArray[np.float32]


def in_windows(source: SequenceSource, span: int) -> SequenceSource:
    """The same events with long histories cut into several, so that every event is predicted once an epoch.

    Items that are not usable are left out. Windows are counted from the end of a history; each begins with the last
    item of the one before it, as what its first prediction is made from.

    Args:
        source: whose histories.
        span: most items of a window, at least 2.

    >>> histories = SequenceSource("s", 9, np.array([0, 5]), np.arange(5, dtype=np.int32), np.ones(9, bool))
    >>> cut = in_windows(histories, 3)
    >>> np.split(cut.items, cut.offsets[1:-1])
    [array([0, 1, 2], dtype=int32), array([2, 3, 4], dtype=int32)]
    """
    offsets, items = usable_histories(source)
    spans = [
        (max(int(start), end - span), end)
        for start, last in pairwise(offsets)
        for end in sorted(range(int(last), int(start) + 1, 1 - span))
    ]
    lengths = [end - start for start, end in spans]
    return SequenceSource(
        source.name,
        source.n_items,
        np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        np.concatenate([np.zeros(0, np.int32), *(items[start:end] for start, end in spans)]),
        source.usable,
        source.ordered,
    )


class SequenceSampler:
    """Draws batches of histories from several sources, one source a step.

    A source is drawn with probability proportional to its number of users to the power of ``temperature``: 1 follows
    the sizes, 0 makes all equal. The users of a source take turns, each once an epoch, in batches of similar lengths
    (see :class:`~adapt.data.epochs.UserBatches`).

    Args:
        sources: at least one with a history of two usable items.
        batch_size: histories a batch, at most.
        max_length: number of places that are read; longer histories are cut at a random place.
        negatives: candidates drawn uniformly from the catalog, beside the batch's own targets; or ``"all"``: every
            usable item is a candidate, which makes a sampled softmax the full one.
        temperature: see above.
        max_targets: places that are supervised in a batch, drawn at random where there are more; it bounds the memory.
            None: all are, and instead of the number of histories that of places is the same in every batch, as large
            as that of ``batch_size`` histories on average.
        seed: of every draw.
        mask_ratio: None has each place predict the item after it. A number hides the last item of each history, and
            every other one with that probability, and has the hidden places predict them.

    Raises:
        DataError: no source has a history of two usable items.
    """

    def __init__(
        self,
        sources: Sequence[SequenceSource],
        batch_size: int,
        max_length: int,
        negatives: int | Literal["all"],
        temperature: float = 0.5,
        max_targets: int | None = 1024,
        seed: int = 0,
        mask_ratio: float | None = None,
    ) -> None:
        self.sources = sources
        self.batch_size = batch_size
        self.max_length = max_length
        self.negatives = negatives
        self.max_targets = max_targets
        self.temperature = temperature
        self.seed = seed
        self.mask_ratio = mask_ratio
        self._span = max_length + (mask_ratio is None)
        self._histories = [usable_histories(source) for source in sources]
        users = np.array([len(offsets) - 1 for offsets, _ in self._histories], dtype=np.float64)
        if not users.sum():
            raise DataError(
                "expected at least one data set with a history of two items whose order is known, found none",
                "Add a data set with interactions, or leave out the next-item objective.",
            )
        chance = np.where(users > 0, users**temperature, 0.0)
        self.chance = chance / chance.sum()
        self._schedule = SourceSchedule(self.chance, seed)
        self._users = [
            UserBatches(
                np.minimum(np.diff(offsets), self._span), batch_size, seed, number, balanced=max_targets is None
            )
            for number, (offsets, _) in enumerate(self._histories)
        ]
        self._usable = [np.flatnonzero(source.usable) for source in sources]
        self._share = [self._target_share(number) for number in range(len(sources))]

    def batches(self, source: int = 0) -> int:
        """Batches in which every history of a source occurs once."""
        return self._users[source].batches

    def batch(self, step: int) -> SequenceBatch:
        """The batch of a step: always the same for the same seed and step."""
        random = generator(self.seed, step)
        number, visit = self._schedule.visit(step)
        windows = [self._window(number, int(user), random) for user in self._users[number].users(visit)]
        length = max(map(len, windows))
        items = np.full((len(windows), length), -1, dtype=np.int64)
        for row, window in enumerate(windows):
            items[row, length - len(window) :] = window
        if self.mask_ratio is None:
            histories, targets = items[:, :-1], np.where(items[:, :-1] >= 0, items[:, 1:], -1)
            self._thin(targets, random)
        else:
            hidden = (random.random(items.shape) < self.mask_ratio) & (items >= 0)
            hidden[:, -1] = True
            targets = np.where(hidden, items, -1)
            self._thin(targets, random)
            histories = np.where(targets >= 0, -1, items)
        return self._with_candidates(number, histories, targets, random)

    def _window(self, number: int, user: int, random: np.random.Generator) -> NDArray[np.int32]:
        """The items of a user, of a long history a part that begins anywhere."""
        offsets, items = self._histories[number]
        start, end = int(offsets[user]), int(offsets[user + 1])
        if end - start > self._span:
            start += int(random.integers(end - start - self._span + 1))
        return items[start : min(end, start + self._span)]

    def _thin(self, targets: NDArray[np.int64], random: np.random.Generator) -> None:
        """Keep ``max_targets`` of the targets."""
        supervised = np.flatnonzero(targets >= 0)
        if self.max_targets is not None and len(supervised) > self.max_targets:
            random.shuffle(supervised)
            targets.ravel()[supervised[self.max_targets :]] = -1

    def _target_share(self, number: int) -> NDArray[np.float64]:
        """The share of each item among the targets that a source gives in the long run: float64 (items,)."""
        offsets, items = self._histories[number]
        lengths = np.diff(offsets)
        owner = np.repeat(np.arange(len(lengths)), lengths)
        place = np.arange(len(items)) - offsets[owner]
        spans = np.minimum(lengths, self._span)
        starts = (lengths - spans + 1)[owner]  # ways to cut the history
        first = np.maximum(place - spans[owner] + 1, 0)
        if self.mask_ratio is None:  # in all cuts that hold the item, but for the one that begins with it
            chance = (np.minimum(place - 1, starts - 1) - first + 1) / starts
            supervised = spans - 1.0
        else:
            last = place - spans[owner] + 1
            held = (np.minimum(place, starts - 1) - first + 1) / starts
            ends = ((last >= 0) & (last < starts)) / starts
            chance = self.mask_ratio * held + (1 - self.mask_ratio) * ends
            supervised = 1 + self.mask_ratio * (spans - 1)
        most = np.inf if self.max_targets is None else self.max_targets
        thinned = np.minimum(1, most / (supervised * min(self.batch_size, max(1, len(lengths)))))
        weights = np.bincount(items, weights=chance * thinned[owner], minlength=self.sources[number].n_items)
        share: NDArray[np.float64] = weights / max(weights.sum(), 1e-12)
        return share

    def _with_candidates(
        self, number: int, histories: NDArray[np.int64], targets: NDArray[np.int64], random: np.random.Generator
    ) -> SequenceBatch:
        usable = self._usable[number]
        known = targets >= 0
        if self.negatives == "all":
            candidates = usable
            log_q = np.zeros(len(usable), dtype=np.float32)
        else:
            drawn = usable[random.integers(len(usable), size=min(self.negatives, len(usable)))]
            candidates = np.union1d(targets[known], drawn)
            expected = known.sum() * self._share[number][candidates] + len(drawn) / len(usable)
            log_q = np.log(-np.expm1(-expected)).astype(np.float32)  # at least one of a Poisson number of draws
        rows, inverse = np.unique(np.concatenate([histories.ravel(), candidates]), return_inverse=True)
        shift = int(rows[0] == -1)  # the place of -1 in `rows`, if it occurs
        local = inverse.reshape(-1) - shift
        return SequenceBatch(
            source=number,
            rows=rows[shift:],
            histories=local[: histories.size].reshape(histories.shape),
            targets=np.where(known, np.searchsorted(candidates, targets), -1),
            candidates=local[histories.size :],
            log_q=log_q,
        )


def usable_histories(source: SequenceSource) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
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

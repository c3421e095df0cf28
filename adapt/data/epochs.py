"""Which data set a step draws from, and which of its users: every user once an epoch, from (seed, step) alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from adapt.seeds import generator

WINDOW = 8
"""Batches among which users are sorted by length, so that little of a batch is padding."""

_SCHEDULE_STREAM = 1 << 21
_EPOCH_STREAM = 1 << 22
_CHUNK = 1024


class SourceSchedule:
    """The source of each step, and how many earlier steps had the same one.

    Args:
        chance: float64 (sources,), how often each is drawn; adds up to 1.
        seed: of the draws.
    """

    def __init__(self, chance: NDArray[np.float64], seed: int) -> None:
        self.chance = chance
        self.seed = seed
        self._before = [np.zeros(len(chance), dtype=np.int64)]  # visits before each chunk
        self._chunk = (-1, np.zeros(0, dtype=np.int64))

    def visit(self, step: int) -> tuple[int, int]:
        """The source of a step, and the number of its visits before."""
        number, place = divmod(step, _CHUNK)
        while len(self._before) <= number:
            visits = np.bincount(self._sources(len(self._before) - 1), minlength=len(self.chance))
            self._before.append(self._before[-1] + visits)
        sources = self._sources(number)
        source = int(sources[place])
        return source, int(self._before[number][source] + (sources[:place] == source).sum())

    def _sources(self, chunk: int) -> NDArray[np.int64]:
        if self._chunk[0] != chunk:
            random = generator(self.seed, _SCHEDULE_STREAM, chunk)
            self._chunk = (chunk, random.choice(len(self.chance), size=_CHUNK, p=self.chance))
        return self._chunk[1]


class UserBatches:
    """The users of one source, batch by batch.

    An epoch is a permutation of all users, cut into windows of :data:`WINDOW` batches. Within a window, users are
    sorted by length before it is cut into batches, whose order is drawn: users of a batch are about equally long, and
    yet each is drawn exactly once an epoch. Batches of a source differ in size by one at most; or, if ``balanced``, in
    the number of users and hardly in the sum of their lengths.

    Args:
        lengths: int64 (users,), what users are sorted by.
        batch_size: users a batch, at most; on average, if ``balanced``.
        seed, source: of the draws.
        balanced: whether batches are equal in length instead of in users.
    """

    def __init__(
        self, lengths: NDArray[np.int64], batch_size: int, seed: int, source: int, *, balanced: bool = False
    ) -> None:
        self.lengths = lengths
        self.balanced = balanced
        self.seed = (seed, _EPOCH_STREAM, source)
        self.batches = -(-len(lengths) // batch_size)
        """Batches an epoch."""
        self._bounds = np.arange(self.batches + 1) * len(lengths) // max(1, self.batches)
        self._epoch = (-1, np.zeros(0, dtype=np.int64))

    def users(self, visit: int) -> NDArray[np.int64]:
        """The users of the source's batch number ``visit``."""
        epoch, number = divmod(visit, self.batches)
        first = number - number % WINDOW
        last = min(first + WINDOW, self.batches)
        window = self._permutation(epoch)[self._bounds[first] : self._bounds[last]]
        window = window[np.argsort(self.lengths[window], kind="stable")]
        drawn = int(generator(*self.seed, epoch, first).permutation(last - first)[number - first])
        bounds = self._bounds[first : last + 1] - self._bounds[first]
        if self.balanced:
            bounds = _equal_sums(self.lengths[window], last - first)
        return window[bounds[drawn] : bounds[drawn + 1]]

    def _permutation(self, epoch: int) -> NDArray[np.int64]:
        if self._epoch[0] != epoch:
            self._epoch = (epoch, generator(*self.seed, epoch).permutation(len(self.lengths)))
        return self._epoch[1]


def _equal_sums(lengths: NDArray[np.int64], parts: int) -> NDArray[np.int64]:
    """Where to cut an array into parts of about the same sum, none of them empty: int64 (parts + 1,).

    >>> _equal_sums(np.array([1, 1, 2, 4]), 2)
    array([0, 3, 4])
    """
    sums = np.cumsum(lengths)
    cuts = np.searchsorted(sums, sums[-1] * np.arange(1, parts) / parts) + 1
    number = np.arange(1, parts)
    cuts = np.clip(np.maximum.accumulate(cuts - number) + number, number, len(lengths) - parts + number)
    return np.concatenate([[0], cuts, [len(lengths)]]).astype(np.int64)

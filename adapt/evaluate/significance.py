"""How sure to be: bootstrap intervals over users, paired where two systems are compared."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from adapt.errors import UsageError
from adapt.seeds import DEFAULT_SEED, generator

RESAMPLES = 2_000
_STREAM = 0xB007
_BLOCK_VALUES = 4 << 20


@dataclass(frozen=True)
class Interval:
    """A mean over users and the interval that holds it.

    Attributes:
        mean: over the users given.
        low: lower end of the interval.
        high: upper end of the interval.
        confidence: share of resamples that lie inside, for example 0.95.
        users: how many users were resampled.
    """

    mean: float
    low: float
    high: float
    confidence: float
    users: int

    @property
    def excludes_zero(self) -> bool:
        """For a difference: whether the sign of the mean is sure at this confidence."""
        return self.low > 0 or self.high < 0

    def to_dict(self) -> dict[str, float]:
        """Mean and ends, ready for JSON."""
        return {"mean": self.mean, "low": self.low, "high": self.high}


def bootstrap_interval(
    values: npt.ArrayLike,
    *,
    confidence: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = DEFAULT_SEED,
) -> Interval:
    """Percentile bootstrap interval of the mean of one value a user.

    Users are drawn with replacement. Values repeat a lot (a hit is 0 or 1), so the number of draws of each distinct
    value is drawn at once from a multinomial, which is the same distribution and far less work.

    Args:
        values: (users,) for example :func:`adapt.evaluate.metrics.hits_at_k`.
        confidence: between 0 and 1.
        resamples: number of bootstrap resamples.
        seed: the same seed gives the same interval.

    Raises:
        UsageError: no user, a value that is not finite, or a parameter out of range.

    >>> bootstrap_interval([1.0, 1.0, 1.0])
    Interval(mean=1.0, low=1.0, high=1.0, confidence=0.95, users=3)
    """
    array = np.asarray(values, np.float64)
    if array.ndim != 1 or not len(array) or not np.isfinite(array).all():
        raise UsageError(f"expected one finite value for each of one or more users, found shape {array.shape}")
    if not 0 < confidence < 1 or resamples < 1:
        raise UsageError(f"expected 0 < confidence < 1 and resamples >= 1, found {confidence} and {resamples}")
    distinct, counts = np.unique(array, return_counts=True)
    rng = generator(seed, _STREAM)
    block = max(1, _BLOCK_VALUES // len(distinct))
    means = np.concatenate(
        [
            rng.multinomial(len(array), counts / len(array), size=min(block, resamples - start)) @ distinct / len(array)
            for start in range(0, resamples, block)
        ]
    )
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(float(array.mean()), float(low), float(high), confidence, len(array))


def paired_bootstrap(
    ours: npt.ArrayLike,
    theirs: npt.ArrayLike,
    *,
    confidence: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = DEFAULT_SEED,
) -> Interval:
    """Interval of the mean difference ``ours - theirs`` over the same users.

    Pairing removes what makes a user easy or hard for both systems, so small differences become visible.

    Args:
        ours: (users,) one value a user.
        theirs: (users,) the other system's, in the same order.
        confidence: between 0 and 1.
        resamples: number of bootstrap resamples.
        seed: the same seed gives the same interval.

    Raises:
        UsageError: the two do not hold one value for the same users.

    >>> paired_bootstrap([1.0, 1.0, 1.0, 1.0], [0.0, 0.0, 0.0, 0.0]).excludes_zero
    True
    """
    first, second = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
    if first.shape != second.shape:
        raise UsageError(f"expected values for the same users, found shapes {first.shape} and {second.shape}")
    return bootstrap_interval(first - second, confidence=confidence, resamples=resamples, seed=seed)

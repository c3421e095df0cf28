"""Lists that do not say the same thing twice."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from adapt.errors import UsageError
from adapt.index.base import FloatMatrix

POOL = 5
"""How many times more items than wanted a diverse list is chosen from."""


def diversify(
    scores: npt.NDArray[np.float32], embeddings: FloatMatrix, k: int, diversity: float
) -> npt.NDArray[np.int64]:
    """Maximal marginal relevance (Carbonell and Goldstein, 1998): choose items that are relevant and unlike the chosen.

    Each next item has the largest ``(1 - diversity) * score - diversity * similarity``, where the similarity is the
    largest cosine with an item that was chosen before.

    Args:
        scores: float32 (candidates,) cosines, best first.
        embeddings: float32 (candidates, dim).
        k: how many to choose.
        diversity: from 0 (by score alone) to 1 (by unlikeness alone, after the best).

    Returns:
        int64 (min(k, candidates),) positions, in the order of choice; equal values in the order given.

    Raises:
        UsageError: ``diversity`` is out of range.

    >>> diversify(np.array([0.9, 0.8, 0.1], np.float32), np.array([[1, 0], [1, 0], [0, 1]], np.float32), 2, 0.5)
    array([0, 2])
    """
    if not 0 <= diversity <= 1:
        raise UsageError(f"expected a diversity between 0 and 1, found {diversity}")
    unit = embeddings / np.maximum(np.linalg.norm(embeddings, axis=1, keepdims=True), 1e-12)
    chosen: list[int] = []
    closest = np.full(len(scores), -np.inf)
    left = np.ones(len(scores), bool)
    for _ in range(min(k, len(scores))):
        similarity = np.where(np.isneginf(closest), 0.0, closest)
        value = np.where(left, (1 - diversity) * scores - diversity * similarity, -np.inf)
        best = int(np.argmax(value)) if chosen else 0
        chosen.append(best)
        left[best] = False
        closest = np.maximum(closest, unit @ unit[best])
    return np.array(chosen, np.int64)

"""One score from content, evidence and popularity."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from adapt.config import config

POPULARITY = "popularity"

START = {"cooccurrence": 24.0, POPULARITY: 0.2}
"""Weights where nothing is known of a data set. They are small where evidence is scarce, whatever the catalog, because
the channels themselves are: co-occurrence is smoothed, and popularity is nothing for an item without events."""


@config
class Fusion:
    """Weights of the channels beside content, whose weight is 1.

    ``score_j = z(content)_j + sum_k weight_k channel_kj``, where ``z`` divides by the standard deviation over the
    candidates of the user: one unit of any weight is one standard deviation of content.

    Attributes:
        weights: channel -> weight; a channel that is not named plays no part.
        content: weight of content; 0 only where further channels take its place.
    """

    weights: dict[str, float] = field(default_factory=lambda: dict(START))
    content: float = 1.0


@dataclass(frozen=True, eq=False)
class Channels:
    """What a fusion adds up for some histories.

    Attributes:
        content: float32 (n, items), scores of the zero-shot recommender; ``-inf`` where an item is no candidate.
        evidence: channel -> float32 CSR array (n, items).
        popularity: float32 (items,).
        dense: further channel -> float32 (n, items), standardised before it is added, as content is.
    """

    content: npt.NDArray[np.float32]
    evidence: Mapping[str, Any]
    popularity: npt.NDArray[np.float32]
    dense: Mapping[str, npt.NDArray[np.float32]] = field(default_factory=dict)


def fuse(channels: Channels, fusion: Fusion, candidates: npt.NDArray[np.bool_]) -> npt.NDArray[np.float32]:
    """The fused scores: float32 (n, items), ``-inf`` where an item is no candidate.

    Args:
        channels: of n histories.
        fusion: the weights.
        candidates: bool (items,).
    """
    weights = fusion.weights
    scores = standardised(channels.content, candidates)
    if fusion.content != 1:
        scores *= fusion.content
    for name, values in channels.dense.items():
        if weights.get(name):
            scores += weights[name] * standardised(values, candidates)
    if weights.get(POPULARITY):
        scores += weights[POPULARITY] * channels.popularity
    for name, votes in channels.evidence.items():
        if weights.get(name):
            rows = np.repeat(np.arange(votes.shape[0]), np.diff(votes.indptr))
            scores[rows, votes.indices] += weights[name] * votes.data
    scores[:, ~candidates] = -np.inf
    return scores


def standardised(scores: npt.NDArray[np.float32], candidates: npt.NDArray[np.bool_]) -> npt.NDArray[np.float32]:
    """Scores less their mean over the candidates, by their standard deviation there; a row without spread is zero.

    >>> standardised(np.array([[1.0, 3.0, -np.inf], [0.0, 0.0, 0.0]], np.float32), np.array([True, True, False]))
    array([[-1.,  1.,  0.],
           [ 0.,  0.,  0.]], dtype=float32)
    """
    kept = scores if candidates.all() else scores[:, candidates]
    mean, spread = kept.mean(axis=1, keepdims=True), kept.std(axis=1, keepdims=True)
    out = (np.where(candidates, scores, mean) - mean) / np.where(spread > 1e-6, spread, np.inf)
    return np.asarray(out, np.float32)

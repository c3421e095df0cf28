"""Content-kNN on features of one or several modalities, with the treatment of the features that suits it best."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from adapt.errors import UsageError
from adapt.evaluate.baselines import Scorer, content_knn
from adapt.evaluate.histories import Histories
from adapt.features.normalise import Normalisation, SourceStatistics, normalise_catalog, unit

Treatment = Literal["raw", "centred", "whitened .5", "whitened 1"]
TREATMENTS: tuple[Treatment, ...] = ("raw", "centred", "whitened .5", "whitened 1")
"""What is done to features before cosines are taken; it reads the catalog and no interaction."""

_POWERS: Mapping[str, float] = {"whitened .5": 0.5, "whitened 1": 1.0}

Part = tuple[NDArray[np.float32], NDArray[np.bool_]]
"""Features of one modality, float32 (items, width), and bool (items,) which rows hold something."""


def treated(values: NDArray[np.float32], present: NDArray[np.bool_], treatment: Treatment) -> NDArray[np.float32]:
    """Features of one modality after a treatment by the catalog's own statistics.

    ``"raw"`` leaves them, ``"centred"`` takes the mean of the unit rows away, ``"whitened p"`` is ZCA whitening with
    power ``p`` (:mod:`adapt.features.normalise`), shrunk by as many items of no preferred direction as there are
    features.

    Args:
        values: float32 (items, width).
        present: bool (items,), the rows that hold something.
        treatment: one of :data:`TREATMENTS`.

    Returns:
        float32 (items, width); rows that are not present mean nothing.

    Raises:
        UsageError: there is no such treatment.

    >>> treated(np.eye(2, dtype=np.float32), np.ones(2, bool), "centred")
    array([[ 0.5, -0.5],
           [-0.5,  0.5]], dtype=float32)
    """
    if treatment == "raw":
        return np.ascontiguousarray(values)
    if treatment == "centred":
        units = unit(values)
        centred: NDArray[np.float32] = units - units[present].mean(axis=0)
        return centred
    if treatment not in _POWERS:
        raise UsageError(f"expected a treatment among {', '.join(TREATMENTS)}, found {treatment!r}")
    width = values.shape[1]
    settings = Normalisation(power=_POWERS[treatment], prior_count=float(width))
    return normalise_catalog(values, present, SourceStatistics.isotropic(width), settings)[0]


def content_baseline(
    parts: Mapping[str, Part], treatment: Treatment = "whitened .5", *, decay: float = 0.4
) -> Callable[[Histories], Scorer]:
    """Content-kNN on several modalities: ``s_j = sum_m cos_m``, over the modalities that item ``j`` has.

    Nothing is fitted on interactions; see :func:`~adapt.evaluate.baselines.content_knn` for each cosine.

    Args:
        parts: modality -> features and which of them are present.
        treatment: of the features.
        decay: per position of the history.

    Returns:
        Histories to their scorer; ``-inf`` for an item without any modality.

    Raises:
        UsageError: there is no modality, or no such treatment.

    >>> from adapt.evaluate.histories import from_lists
    >>> fit = content_baseline({"text": (np.eye(3, dtype=np.float32), np.array([True, True, False]))}, "raw")
    >>> fit(from_lists([[1]]))(np.array([0]))
    array([[  0.,   1., -inf]], dtype=float32)
    """
    if not parts:
        raise UsageError("expected features of a modality or more, found none")
    features = {name: treated(values, present, treatment) for name, (values, present) in parts.items()}
    usable = np.any([present for _, present in parts.values()], axis=0)

    def scorer(histories: Histories) -> Scorer:
        scorers = [
            content_knn(features[name], histories, decay=decay, present=present) for name, (_, present) in parts.items()
        ]

        def score(cases: NDArray[np.int64]) -> NDArray[np.float32]:
            total = np.zeros((len(cases), len(usable)), np.float32)
            for part in scorers:
                total += np.nan_to_num(part(cases), copy=False, neginf=0.0)
            total[:, ~usable] = -np.inf
            return total

        return score

    return scorer

"""Catalog normalisation: features are centred and whitened with the target catalog's own statistics.

Frozen features of one catalog point the same way (they are all about shoes, or all film titles); what tells its items
apart is the rest. ZCA whitening with a power between 0 (centred only) and 1 (white) brings that out, and unlike PCA
whitening keeps the meaning of the axes across catalogs, so that towers trained on other catalogs still fit. No
interaction is used.

A small catalog cannot estimate its own covariance, so its statistics are shrunk towards those of the catalogs that the
checkpoint was pretrained on, as if ``prior_count`` further items had been seen there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adapt.config import config
from adapt.errors import DataError
from adapt.shards import plan, release

Floats = NDArray[np.float32]

_EPSILON = 1e-6


@config
class Normalisation:
    """How one modality is normalised; part of a checkpoint's feature spec.

    Attributes:
        power: of the whitening, from 0 (centred only) to 1 (white).
        prior_count: weight of the pretraining catalogs' statistics, in items.
        sketch: how many features at the end are a lexical sketch, whitened apart from the others; see
            :mod:`adapt.features.lexical`.
        sketch_power: of its whitening.
        sketch_weight: its share of an item's squared length.
    """

    power: float = 0.75
    prior_count: float = 256.0
    sketch: int = 0
    sketch_power: float = 0.5
    sketch_weight: float = 0.2


@dataclass(frozen=True, eq=False)
class SourceStatistics:
    """Mean and covariance of a modality's unit features over the catalogs of pretraining, in a fixed basis.

    Attributes:
        basis: float32 (features, dim) with orthonormal columns: the principal directions of the pretraining catalogs
            that are kept (all of them when ``dim`` equals ``features``).
        mean: float32 (dim,), in the basis.
        covariance: float32 (dim, dim), in the basis, pooled within catalogs.
    """

    basis: Floats
    mean: Floats
    covariance: Floats

    @property
    def dim(self) -> int:
        return int(self.basis.shape[1])

    @classmethod
    def isotropic(cls, width: int) -> SourceStatistics:
        """What is assumed of features before any are seen: no direction matters more than another."""
        identity = np.eye(width, dtype=np.float32)
        return cls(identity, np.zeros(width, dtype=np.float32), identity / np.float32(width))


@dataclass(frozen=True, eq=False)
class Normaliser:
    """The map that one catalog's features of one modality go through.

    Attributes:
        basis: float32 (features, dim).
        mean: float32 (dim,), of this catalog, shrunk.
        matrix: float32 (dim, dim), symmetric: the covariance to the power of ``-power / 2``.
        sketch: how many of the dimensions, at the end, are a lexical sketch.
        sketch_weight: its share of a row's squared length.
    """

    basis: Floats
    mean: Floats
    matrix: Floats
    sketch: int = 0
    sketch_weight: float = 0.0

    def __call__(self, values: Floats) -> Floats:
        """Normalise features; the rows come out with unit length.

        Args:
            values: float32 (n, features); their length does not matter.

        Returns:
            float32 (n, dim). A row that equals the mean exactly has no direction and stays zero.
        """
        white = (unit(values) @ self.basis - self.mean) @ self.matrix
        if not self.sketch:
            return unit(white)
        parts = np.split(white, [white.shape[1] - self.sketch], axis=1)
        shares = (1 - self.sketch_weight, self.sketch_weight)
        return unit(
            np.concatenate([np.float32(share**0.5) * unit(p) for p, share in zip(parts, shares, strict=True)], axis=1)
        )

    def where(self, present: NDArray[np.bool_], values: Floats) -> Floats:
        """Normalise the rows that are there; the others come out as zeros.

        Args:
            present: bool (n,).
            values: float32 (n, features).
        """
        found = np.zeros((len(present), self.basis.shape[1]), np.float32)
        found[present] = self(values[present])
        return found


def fit_normaliser(
    values: Floats, source: SourceStatistics, settings: Normalisation, rows: NDArray[np.int64] | None = None
) -> Normaliser:
    """Estimate the normaliser of one catalog.

    With ``n`` items, mean ``m`` and covariance ``S`` of the catalog, ``m0`` and ``S0`` of the source and ``c`` the
    prior count: ``mean = (n m + c m0) / (n + c)`` and ``covariance = (n S + c S0) / (n + c)``. The directions of the
    result are those of the catalog as soon as it has clearly more than ``c`` items; with one item they are the
    source's, so that nothing blows up. Items are read once, in blocks, and summed in float64.

    Args:
        values: float32 (n, features), the items that have the modality.
        source: the statistics to shrink towards.
        settings: power and prior count.
        rows: int64, which rows of ``values`` are those; None = all.

    Returns:
        The normaliser.

    Raises:
        DataError: a feature is not finite, the width is not that of the source, or the source keeps only some
            directions of features that end in a sketch.
    """
    if settings.sketch and source.dim != source.basis.shape[0]:
        raise DataError(
            f"expected all {source.basis.shape[0]} features beside a lexical sketch, found {source.dim} kept"
        )
    if values.ndim != 2 or values.shape[1] != source.basis.shape[0]:
        raise DataError(f"expected features of width {source.basis.shape[0]}, found shape {values.shape}")
    count, mean, scatter = _moments(values, np.arange(len(values)) if rows is None else rows, source)
    prior = max(settings.prior_count, _EPSILON)
    weight = count / (count + prior)
    pooled_mean = weight * mean + (1 - weight) * source.mean
    covariance = weight * scatter / max(1, count) + (1 - weight) * source.covariance
    matrix = np.zeros_like(covariance, dtype=np.float32)
    first = source.dim - settings.sketch
    for block, power in ((slice(0, first), settings.power), (slice(first, None), settings.sketch_power)):
        matrix[block, block] = _inverse_power(covariance[block, block], power)
    return Normaliser(source.basis, pooled_mean.astype(np.float32), matrix, settings.sketch, settings.sketch_weight)


def _moments(
    values: Floats, rows: NDArray[np.int64], source: SourceStatistics
) -> tuple[int, NDArray[np.float64], NDArray[np.float64]]:
    """Number, mean (dim,) and scatter (dim, dim) of unit features in the basis of the source.

    Deviations are summed from the mean of the first block, which is the mean itself where there is but one block.
    """
    centre, moved = np.zeros(source.dim), np.zeros(source.dim)
    scatter = np.zeros((source.dim, source.dim))
    blocks = plan(len(rows))
    for block in blocks:
        chosen = rows[block.rows]
        some = values[chosen[0] : chosen[-1] + 1] if len(chosen) == chosen[-1] - chosen[0] + 1 else values[chosen]
        if not np.isfinite(some).all():
            row = int(chosen[np.flatnonzero(~np.isfinite(some).all(axis=1))[0]])
            raise DataError(f"expected finite features, found NaN or infinity in row {row}")
        reduced = (unit(some) @ source.basis).astype(np.float64)
        if block.number == 0:
            centre = reduced.mean(axis=0)
        reduced -= centre
        scatter += reduced.T @ reduced
        if len(blocks) > 1:
            moved += reduced.sum(axis=0)
        release(values)
    if len(blocks) > 1:
        shift = moved / len(rows)
        return len(rows), centre + shift, scatter - len(rows) * np.outer(shift, shift)
    return len(rows), centre, scatter


def normalise_catalog(
    values: Floats, present: NDArray[np.bool_], source: SourceStatistics, settings: Normalisation
) -> tuple[Floats, Normaliser]:
    """Normalise a whole catalog with its own statistics.

    Args:
        values: float32 (items, features).
        present: bool (items,), the rows that hold something; the others come out as zeros.
        source: the statistics to shrink towards.
        settings: power and prior count.

    Returns:
        float32 (items, dim), and the normaliser for further items and queries.
    """
    normaliser = fit_normaliser(values, source, settings, np.flatnonzero(present))
    full = np.zeros((len(present), source.dim), dtype=np.float32)
    for shard in plan(len(present)):
        full[shard.rows] = normaliser.where(present[shard.rows], values[shard.rows])
    return full, normaliser


def pool_statistics(catalogs: list[Floats], dim: int | None = None) -> SourceStatistics:
    """The statistics of several catalogs, each with the same weight whatever its size.

    Args:
        catalogs: float32 (items, features) each: features of the items that have the modality.
        dim: how many principal directions to keep; None keeps the given axes as they are.

    Returns:
        The pooled statistics: the mean of means, and the mean of the covariances within catalogs.
    """
    units = [unit(values).astype(np.float64) for values in catalogs]
    mean = np.mean([values.mean(axis=0) for values in units], axis=0)
    covariance = np.mean([np.cov(values.T, bias=True) for values in units], axis=0)
    width = covariance.shape[0]
    if dim is None or dim >= width:
        basis = np.eye(width)
    else:
        _, vectors = np.linalg.eigh(covariance)
        basis = vectors[:, ::-1][:, :dim]
        basis = basis * np.where(basis[np.abs(basis).argmax(axis=0), np.arange(dim)] < 0, -1.0, 1.0)
    return SourceStatistics(
        basis.astype(np.float32), (mean @ basis).astype(np.float32), (basis.T @ covariance @ basis).astype(np.float32)
    )


def unit(values: NDArray[np.floating[Any]]) -> Floats:
    """Rows scaled to length 1; a zero row stays zero."""
    length = np.linalg.norm(values, axis=-1, keepdims=True)
    return np.asarray(values / np.maximum(length, _EPSILON), dtype=np.float32)


def _inverse_power(covariance: NDArray[np.float64], power: float) -> Floats:
    """``covariance`` to the power of ``-power / 2``, with its smallest eigenvalues lifted off zero."""
    if not covariance.size:
        return covariance.astype(np.float32)
    values, vectors = np.linalg.eigh(covariance)
    floor = max(values.max(initial=0.0), _EPSILON) * 1e-4
    scaled = np.maximum(values, floor) ** (-power / 2)
    return np.asarray((vectors * scaled) @ vectors.T, dtype=np.float32)

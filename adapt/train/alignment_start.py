"""Closed-form alignment: the towers start with every modality's features already mapped into the shared block."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from adapt.model.content import ANCHOR, ContentTowers
from adapt.model.items import ItemFeatures
from adapt.model.projection import FeatureProjection
from adapt.seeds import generator

FEWEST_PAIRS = 50
RIDGE = 0.3
KERNEL_RIDGE = 2e-5
SHARPNESS = 1.0
_STREAM = 9


@dataclass(frozen=True, eq=False)
class AnchorMap:
    """A map of one modality's features to the anchor's.

    Attributes:
        weight: float32 (anchor width, features or landmarks), scaled so that what it gives has a mean length of one.
        landmarks: float32 (landmarks, features) of a kernel map; None for a linear one.
    """

    weight: Tensor
    landmarks: Tensor | None = None


@torch.no_grad()
def fit_maps(towers: ContentTowers, items: Sequence[ItemFeatures], *, seed: int = 0) -> dict[str, AnchorMap]:
    """Fit the map of every modality to the anchor on the items that have both, each source with the same weight.

    Linear, ``M = argmin_M mean_i |x_i M - t_i|^2 + RIDGE * mean(x^2) |M|^2``; or, for a projection with landmarks
    ``z``, kernel ridge regression restricted to their span (Nystroem), ``V = argmin_V mean_i |k_i V - t_i|^2 +
    KERNEL_RIDGE * tr(V' K V)`` with ``k_i = k(x_i, z)`` and ``K = k(z, z)``. Landmarks are items drawn from all
    sources alike.

    Args:
        towers: whose projections say which kind of map; unchanged.
        items: per source, normalised features.
        seed: of the landmarks.

    Returns:
        Modality -> its map; a modality with fewer than :data:`FEWEST_PAIRS` items that have both has none.
    """
    maps = {}
    for name in towers.modalities:
        if name == ANCHOR:
            continue
        pairs = [_pairs(part, name, towers.reach[ANCHOR]) for part in items]
        pairs = [pair for pair in pairs if len(pair[0])]
        if sum(len(x) for x, _ in pairs) < FEWEST_PAIRS:
            continue
        projection = towers.projection[name]
        assert isinstance(projection, FeatureProjection)
        if projection.landmarks is None:
            maps[name] = _linear_map(pairs)
        else:
            maps[name] = _kernel_map(pairs, projection.landmarks.out_features, seed)
    return maps


@torch.no_grad()
def align_projections(towers: ContentTowers, maps: Mapping[str, AnchorMap], *, shared: Mapping[str, float]) -> None:
    """Put maps into the towers.

    The map's output is scaled to a mean length of ``shared``, and what the modality keeps to its own block to the rest
    of the unit length. A modality without a map stays as it is.

    Args:
        towers: changed in place; the modality needs a block of its own.
        maps: from :func:`fit_maps`.
        shared: modality -> length of a unit feature in the shared block, between 0 and 1; 0.5 where it is not named.
    """
    for name, fitted in maps.items():
        projection = towers.projection[name]
        assert isinstance(projection, FeatureProjection)
        share = shared.get(name, 0.5)
        width = len(fitted.weight)
        projection.linear.weight *= (1 - share**2) ** 0.5
        if fitted.landmarks is None:
            projection.linear.weight[:width] = share * fitted.weight
            continue
        assert projection.landmarks is not None
        assert projection.kernel is not None
        count = len(fitted.landmarks)  # fewer than the towers have room for where the sources have fewer items
        projection.linear.weight[:width] = 0.0
        projection.sharpness.fill_(SHARPNESS)  # type: ignore[operator]
        projection.landmarks.weight[:count] = fitted.landmarks
        projection.kernel.weight.zero_()
        projection.kernel.weight[:width, :count] = share * fitted.weight


def _linear_map(pairs: Sequence[tuple[Tensor, Tensor]]) -> AnchorMap:
    gram = torch.stack([x.T @ x / len(x) for x, _ in pairs]).mean(dim=0)
    cross = torch.stack([x.T @ t / len(x) for x, t in pairs]).mean(dim=0)
    penalty = RIDGE * gram.diagonal().mean() * torch.eye(len(gram))
    mapped = torch.linalg.solve(gram + penalty, cross)  # (features, anchor width)
    return AnchorMap((mapped / _mean_length([x @ mapped for x, _ in pairs])).T)


def _kernel_map(pairs: Sequence[tuple[Tensor, Tensor]], count: int, seed: int) -> AnchorMap:
    random = generator(seed, _STREAM)
    chosen: list[Tensor] = []
    for left, (x, _) in zip(range(len(pairs), 0, -1), sorted(pairs, key=lambda pair: len(pair[0])), strict=True):
        drawn = min(len(x), (count - sum(map(len, chosen))) // left)  # what a small source leaves, larger ones get
        chosen.append(x[torch.from_numpy(random.choice(len(x), drawn, replace=False))])
    landmarks = torch.cat(chosen)
    inner = _kernel(landmarks, landmarks).double()
    gram, cross = KERNEL_RIDGE * inner + 1e-9 * torch.eye(len(inner), dtype=torch.float64), torch.zeros(0)
    for x, t in pairs:
        similar = _kernel(x, landmarks)
        gram = gram + (similar.T @ similar).double() / (len(x) * len(pairs))
        part = (similar.T @ t) / (len(x) * len(pairs))
        cross = part if not len(cross) else cross + part
    mapped = torch.linalg.solve(gram, cross.double()).float()  # (landmarks, anchor width)
    length = _mean_length([_kernel(x, landmarks) @ mapped for x, _ in pairs])
    return AnchorMap((mapped / length).T, landmarks)


def _kernel(x: Tensor, landmarks: Tensor) -> Tensor:
    """Gaussian kernel of unit rows: (n, landmarks)."""
    return torch.exp(2 * SHARPNESS * (x @ landmarks.T - 1))


def _mean_length(parts: Sequence[Tensor]) -> Tensor:
    return torch.cat([part.norm(dim=-1) for part in parts]).mean()


def _pairs(items: ItemFeatures, name: str, reach: int) -> tuple[Tensor, Tensor]:
    """Features of a modality, and those of the anchor in the shared block, for the items that have both."""
    if name not in items.values or ANCHOR not in items.values:
        return torch.zeros(0, 1), torch.zeros(0, 1)
    both = items.present[name] & items.present[ANCHOR]
    anchor = F.normalize(items.values[ANCHOR][both], dim=-1)[:, :reach]
    return F.normalize(items.values[name][both], dim=-1), anchor

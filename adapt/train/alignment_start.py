"""Closed-form alignment: the towers start with every modality's features already mapped into the shared block."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from adapt.model.content import ContentTowers
from adapt.model.items import ItemFeatures

ANCHOR = "text"
"""The modality whose own axes are the shared block."""

FEWEST_PAIRS = 50


@torch.no_grad()
def align_projections(
    towers: ContentTowers, items: Sequence[ItemFeatures], *, shared: Mapping[str, float], ridge: float = 0.3
) -> None:
    """Map the features of each other modality to the anchor's by ridge regression on items that have both.

    ``M = argmin_M mean_i |x_i M - t_i|^2 + ridge * mean(x^2) |M|^2``, each source with the same weight. The map's
    output is scaled to a mean length of ``shared``, and what the modality keeps to its own block to the rest of the
    unit length. Without :data:`FEWEST_PAIRS` items that have both, the projections stay as they are.

    Args:
        towers: changed in place; the modality needs a block of its own.
        items: per source, normalised features.
        shared: modality -> length of a unit feature in the shared block, between 0 and 1; 0.5 where it is not named.
        ridge: strength of the penalty, relative to the features' mean square.
    """
    for name in towers.modalities:
        if name == ANCHOR:
            continue
        pairs = [_pairs(part, name) for part in items]
        pairs = [pair for pair in pairs if len(pair[0])]
        if sum(len(x) for x, _ in pairs) < FEWEST_PAIRS:
            continue
        gram = torch.stack([x.T @ x / len(x) for x, _ in pairs]).mean(dim=0)
        cross = torch.stack([x.T @ t / len(x) for x, t in pairs]).mean(dim=0)
        penalty = ridge * gram.diagonal().mean() * torch.eye(len(gram))
        mapped = torch.linalg.solve(gram + penalty, cross)  # (features, anchor width)
        length = torch.cat([(x @ mapped).norm(dim=-1) for x, _ in pairs]).mean()
        weight: Tensor = towers.projection[name].linear.weight  # type: ignore[union-attr, assignment]
        width = mapped.shape[1]
        share = shared.get(name, 0.5)
        weight *= (1 - share**2) ** 0.5
        weight[:width] = (share / length) * mapped.T


def _pairs(items: ItemFeatures, name: str) -> tuple[Tensor, Tensor]:
    """Features of the modality and of the anchor, for the items that have both: (n, width) each."""
    if name not in items.values or ANCHOR not in items.values:
        return torch.zeros(0, 1), torch.zeros(0, 1)
    both = items.present[name] & items.present[ANCHOR]
    return F.normalize(items.values[name][both], dim=-1), F.normalize(items.values[ANCHOR][both], dim=-1)

"""Alignment: views of one item that show different modalities are pulled together, views of others apart."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import torch
from torch import Tensor, nn

from adapt.errors import UsageError
from adapt.model.items import ItemFeatures
from adapt.model.losses import info_nce
from adapt.model.towers import DualTower
from adapt.train.objectives.base import TrainingBatch, own_share
from adapt.train.objectives.second_view import LearnedView

VIEWS = {"V": ("image",), "T": ("text",), "VT": ("image", "text")}
"""The views of an item, named as in the paper."""

PAPER_PAIRS = ("V-V'", "V-T", "T-T'", "VT-VT'")
ALL_PAIRS = (*PAPER_PAIRS, "V-VT", "T-VT")


class Alignment(nn.Module):
    """Symmetric InfoNCE, averaged over pairs of views (arXiv:2304.13277, section 3.3).

    ``L = mean_p [ - mean_i log softmax_j(cos(a_i, b_j) / tau)_i - mean_i log softmax_j(cos(b_i, a_j) / tau)_i ]``

    A dash marks a second view with the same modalities: a second pass through the towers, which differs from the first
    by dropout only (the paper), or one over features that a learned adversary has moved. Where the paper's code scores
    a constant row for an item that lacks a modality, ours leaves the item out of that pair.

    Args:
        pairs: names of pairs, for example ``("V-T", "V-VT")``; see :data:`ALL_PAIRS`.
        learned_view: makes the second view while training; None leaves it to dropout.

    Raises:
        UsageError: a pair is not known.
    """

    name = "alignment"

    def __init__(self, pairs: Sequence[str] = PAPER_PAIRS, learned_view: LearnedView | None = None) -> None:
        super().__init__()
        unknown = [pair for pair in pairs if pair not in ALL_PAIRS]
        if unknown or not pairs:
            raise UsageError(
                f"expected alignment pairs out of {', '.join(ALL_PAIRS)}, found {', '.join(unknown) or 'none'}"
            )
        self.pairs = [_sides(pair) for pair in pairs]
        self.learned_view = learned_view

    def forward(self, towers: DualTower, batch: TrainingBatch, temperature: Tensor) -> Tensor:
        """A scalar; 0 for a batch in which no item has what a pair needs."""
        losses = []
        for first, second in self.pairs:
            items = _with_all(batch.catalog, {*VIEWS[first], *VIEWS[second]})
            if items is None or len(items) < 2:
                continue  # a batch of one has nothing to tell apart
            own = own_share(items)
            again = own.only(VIEWS[second])
            if self.learned_view is not None and first == second and self.training:
                again = self.learned_view(again)
            one = towers.embed_items(own.only(VIEWS[first]))
            losses.append(info_nce(one, towers.embed_items(again), temperature, len(items)))
        return torch.stack(losses).mean() if losses else temperature * 0.0  # a zero that a backward pass accepts


def pairs_within(pairs: Sequence[str], modalities: Collection[str]) -> list[str]:
    """The pairs that need nothing but ``modalities``.

    >>> pairs_within(PAPER_PAIRS, ["text"])
    ["T-T'"]
    """
    return [pair for pair in pairs if {part for side in _sides(pair) for part in VIEWS[side]} <= set(modalities)]


def _sides(pair: str) -> tuple[str, str]:
    first, second = pair.split("-")
    return first, second.rstrip("'")


def _with_all(items: ItemFeatures, modalities: set[str]) -> ItemFeatures | None:
    """The items that have all of ``modalities``; None when the batch's source has no such feature."""
    if not modalities <= set(items.values):
        return None
    complete = torch.stack([items.present[name] for name in sorted(modalities)]).all(dim=0)
    return items.take(complete.nonzero().flatten())

"""From what a recipe says to the objectives that are trained."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from adapt.data.batches import SequenceSampler, SequenceSource
from adapt.errors import UsageError
from adapt.model.towers import DualTower
from adapt.train.objectives.alignment import Alignment, pairs_within
from adapt.train.objectives.base import Objective, WeightedSum
from adapt.train.objectives.cloze import Cloze
from adapt.train.objectives.next_item import NextItem
from adapt.train.objectives.second_view import LearnedView
from adapt.workflows.recipe import ObjectiveSettings


def build_objectives(settings: ObjectiveSettings, widths: Mapping[str, int]) -> WeightedSum:
    """The weighted sum of the objectives whose weight is not zero.

    Args:
        settings: of the recipe.
        widths: modality -> width of the features that the towers read.

    Raises:
        UsageError: alignment is asked for, and none of its pairs can be made of the modalities there are.
    """
    parts: list[tuple[float, Objective]] = []
    if settings.next_item:
        parts.append((settings.next_item, NextItem()))
    if settings.alignment:
        parts.append((settings.alignment, build_alignment(settings, widths)))
    if settings.cloze:
        parts.append((settings.cloze, Cloze()))
    return WeightedSum(parts)


def build_sampler(
    sources: Sequence[SequenceSource], settings: ObjectiveSettings, max_length: int, seed: int
) -> SequenceSampler:
    """The batches that the objectives need: with hidden places for cloze, without for next item.

    Raises:
        UsageError: both are asked for.
    """
    if settings.cloze and settings.next_item:
        raise UsageError(
            f"expected cloze or next_item, found both (weights {settings.cloze:g} and {settings.next_item:g})",
            "Cloze is for bidirectional mmsrec towers, next_item for causal ones: set the other to 0.",
        )
    return SequenceSampler(
        sources,
        settings.batch_size,
        max_length,
        settings.negatives,
        temperature=settings.source_temperature,
        seed=seed,
        mask_ratio=settings.mask_ratio if settings.cloze else None,
    )


def train_only(towers: DualTower, pattern: str) -> None:
    """Train the parameters whose name ``pattern`` matches from its beginning, and no others; empty = all."""
    for name, parameter in towers.named_parameters() if pattern else ():
        parameter.requires_grad_(re.match(pattern, name) is not None)


def build_alignment(settings: ObjectiveSettings, widths: Mapping[str, int]) -> Alignment:
    """The alignment objective; see :func:`build_objectives`."""
    alignment = Alignment(settings.pairs, LearnedView(widths) if settings.second_view == "learned" else None)
    if not pairs_within(settings.pairs, widths):
        raise UsageError(
            f"expected alignment pairs of {' and '.join(widths)}, found {', '.join(settings.pairs)}",
            "Set objectives.pairs to pairs that the data can make, or leave alignment out.",
        )
    return alignment

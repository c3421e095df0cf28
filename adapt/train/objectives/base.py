"""What an objective is: a loss of the towers on a batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from adapt.model.gather import gather_rows, share_of, sharers
from adapt.model.items import ItemFeatures
from adapt.model.towers import DualTower


@dataclass(frozen=True)
class TrainingBatch:
    """What the objectives of one step read. Indices point into ``items``.

    Attributes:
        items: the items of the histories and candidates (after modality dropout).
        histories: int64 (batch, length), oldest first, padded on the left with -1; a hidden place is -1 too.
        targets: int64 (batch, length), index into ``candidates`` of the item after each place, or of the item that is
            hidden there; -1 = none.
        candidates: int64 (candidates,), without repetition.
        log_q: float32 (candidates,).
        places: number of supervised places of the whole batch, divided by the number of processes that share it.
        catalog: items of a catalog for the alignment objective, each with at least one modality.
    """

    items: ItemFeatures
    histories: Tensor
    targets: Tensor
    candidates: Tensor
    log_q: Tensor
    places: float
    catalog: ItemFeatures


class Objective(Protocol):
    """One loss; ``name`` is what the log calls it."""

    name: str

    def __call__(self, towers: DualTower, batch: TrainingBatch, temperature: Tensor) -> Tensor:
        """A scalar, differentiable in the towers' parameters and in ``temperature``."""
        ...


def embed_together(towers: DualTower, items: ItemFeatures) -> Tensor:
    """The embeddings of the items of a batch, float32 (n, dim), of which each process of a training computes a share.

    Args:
        towers: whose item tower is used.
        items: the same on every process.
    """
    return gather_rows(towers.embed_items(own_share(items)), len(items))


def own_share(items: ItemFeatures) -> ItemFeatures:
    """The items of a batch that this process embeds; all of them where it is alone."""
    if sharers()[1] == 1:
        return items
    return items.take(share_of(len(items), next(iter(items.values.values())).device))


@dataclass(frozen=True)
class WeightedSum:
    """``sum_k weight_k * objective_k``."""

    parts: Sequence[tuple[float, Objective]]

    def losses(self, towers: DualTower, batch: TrainingBatch, temperature: Tensor) -> dict[str, Tensor]:
        """The parts by name, unweighted, and their weighted sum under ``total``."""
        found = {part.name: part(towers, batch, temperature) for _, part in self.parts}
        total = sum((weight * found[part.name] for weight, part in self.parts), start=temperature.new_zeros(()))
        return {**found, "total": total}

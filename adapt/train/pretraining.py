"""Pretraining as a task of the loop: batches from many sources, objectives, and measuring on what is left out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from adapt.data.batches import SequenceBatch, SequenceSampler
from adapt.evaluate.significance import bootstrap_interval
from adapt.model.items import ItemFeatures
from adapt.model.towers import DualTower
from adapt.seeds import generator
from adapt.train.loop import LoopOptions
from adapt.train.objectives.base import TrainingBatch, WeightedSum
from adapt.train.sources import PretrainingSource, measure, view

_CATALOG_STREAM = 1 << 20

Views = dict[str, NDArray[np.float64]]
"""View -> NDCG@10 of each case."""


@dataclass(frozen=True, eq=False)
class FoldResult:
    """What training did to a domain that it left out.

    Attributes:
        source: the domain.
        start: view -> NDCG@10 of each case with the training-free towers.
        trained: (step, mixture) -> the same with trained towers.
    """

    source: str
    start: Views
    trained: Mapping[tuple[int, float], Views]


class TowersWithLoss(nn.Module):
    """Towers, a learned temperature and the objectives as one module, so that one forward pass gives the losses."""

    def __init__(self, towers: DualTower, objective: WeightedSum, temperature: float) -> None:
        super().__init__()
        self.towers = towers
        self.objective = objective
        self.trained_objectives = nn.ModuleList(part for _, part in objective.parts if isinstance(part, nn.Module))
        self.log_temperature = nn.Parameter(torch.tensor(math.log(temperature)))

    def forward(self, batch: TrainingBatch) -> dict[str, Tensor]:
        return self.objective.losses(self.towers, batch, self.log_temperature.exp())


@dataclass(eq=False)
class Pretraining:
    """A task for :func:`adapt.train.loop.run_loop`.

    Attributes:
        module: what is trained.
        sampler: of histories.
        items: per source, what the towers read.
        catalog_batch: items a step for the alignment objective, from one source at a time.
        modality_dropout: chance that an item with several modalities shows only one of them.
        left_out: a source that is measured and not trained on, with what the towers read of it.
        start: the towers' weights before training, for interpolation.
        mixtures: shares of the way from start to trained weights at which ``left_out`` is measured.
        measured: what :meth:`validate` found: one entry a call, mixture -> view -> NDCG@10 of each case.
    """

    module: TowersWithLoss
    sampler: SequenceSampler
    items: Sequence[ItemFeatures]
    catalog_batch: int
    modality_dropout: float
    seed: int
    left_out: tuple[PretrainingSource, ItemFeatures] | None = None
    start: Mapping[str, Tensor] = field(default_factory=dict)
    mixtures: Sequence[float] = (1.0,)
    measured: list[dict[float, Views]] = field(default_factory=list)

    @property
    def batch_size(self) -> int:
        """Histories a batch, over all processes."""
        return self.sampler.batch_size

    def batch(self, number: int, rank: int, ranks: int, device: torch.device) -> TrainingBatch:
        """Histories are shared out by rank; which items the objectives embed is shared out by them."""
        drawn = self.sampler.batch(number)
        random = generator(self.seed, _CATALOG_STREAM, number)
        sizes = np.array([len(items) for items in self.items], dtype=np.float64) ** self.sampler.temperature
        catalog = self.items[int(random.choice(len(self.items), p=sizes / sizes.sum()))]
        usable = catalog.any_present.nonzero().flatten()
        count = min(self.catalog_batch, len(usable))
        rows = usable[torch.from_numpy(random.choice(len(usable), count, replace=False))]
        items = self.items[drawn.source].take(torch.from_numpy(drawn.rows))
        return _to_batch(
            drawn, self._drop_modalities(items, random), catalog.take(rows), slice(rank, None, ranks), device
        )

    def _drop_modalities(self, items: ItemFeatures, random: np.random.Generator) -> ItemFeatures:
        """Show only one modality of some of the items that have several."""
        names = list(items.present)
        if len(names) < 2 or not self.modality_dropout:
            return items
        several = torch.stack([items.present[name] for name in names]).sum(dim=0) > 1
        hit = several & torch.from_numpy(random.random(len(items)) < self.modality_dropout)
        kept = torch.from_numpy(random.integers(len(names), size=len(items)))
        return items.drop({name: hit & (kept != number) for number, name in enumerate(names)})

    def validate(self) -> float | None:
        """Measure the left-out source at every mixture; early stopping follows the fully trained weights."""
        if self.left_out is None:
            return None
        source, items = self.left_out
        trained = {name: value.clone() for name, value in self.module.towers.state_dict().items()}
        found = {}
        for mixture in self.mixtures:
            self.module.towers.load_state_dict(interpolate(self.start, trained, mixture))
            found[mixture] = measure_views(self.module.towers, source, items)
        self.module.towers.load_state_dict(trained)
        self.measured.append(found)
        means = [values.mean() for values in found[max(self.mixtures)].values() if len(values)]
        return float(np.mean(means)) if means else None


def measure_views(towers: DualTower, source: PretrainingSource, items: ItemFeatures) -> Views:
    """NDCG@10 of each case of a source in each of its views."""
    return {name: measure(towers, source, view(items, name)) for name in source.views}


def interpolate(start: Mapping[str, Tensor], end: Mapping[str, Tensor], share: float) -> dict[str, Tensor]:
    """``start + share * (end - start)``, tensor by tensor, where ``start`` is.

    >>> interpolate({"w": torch.tensor(1.0)}, {"w": torch.tensor(3.0)}, 0.5)["w"]
    tensor(2.)
    """
    return {name: value + share * (end[name].to(value.device) - value) for name, value in start.items()}


def _to_batch(
    drawn: SequenceBatch, items: ItemFeatures, catalog: ItemFeatures, share: slice, device: torch.device
) -> TrainingBatch:
    return TrainingBatch(
        items=items.to(device),
        histories=torch.from_numpy(drawn.histories[share]).to(device),
        targets=torch.from_numpy(drawn.targets[share]).to(device),
        candidates=torch.from_numpy(drawn.candidates).to(device),
        log_q=torch.from_numpy(drawn.log_q).to(device),
        places=float((drawn.targets >= 0).sum()) / (share.step or 1),
        catalog=catalog.to(device),
    )


def points(loop: LoopOptions, measured: Sequence[dict[float, Views]]) -> dict[tuple[int, float], Views]:
    """What a task measured, by step and mixture: one entry of ``measured`` for each validation of the loop."""
    every = loop.evaluate_every or loop.steps
    return {
        (min(loop.steps, every * (count + 1)), share): views
        for count, found in enumerate(measured)
        for share, views in found.items()
    }


def agreed(folds: Sequence[FoldResult]) -> tuple[int, float]:
    """How far to move: the (step, mixture) with the best mean relative gain, if it is one, that hurts no domain.

    A domain is hurt when its mean NDCG@10 in a view falls beyond noise: the paired 95 % interval lies below zero. The
    mean gain over domains and views has to exceed 1.96 of its own standard errors. (0, 0.0) keeps the start.
    """
    best, best_gain = (0, 0.0), 0.0
    for point in folds[0].trained if folds else ():
        pairs = [
            (fold.trained[point][name], start) for fold in folds for name, start in fold.start.items() if len(start)
        ]
        gains = [float(trained.mean() / max(start.mean(), 1e-9) - 1) for trained, start in pairs]
        hurt = any(bootstrap_interval(trained - start).high < 0 for trained, start in pairs)
        errors = [float(np.std(t - s) / np.sqrt(len(s)) / max(s.mean(), 1e-9)) for t, s in pairs]
        certain = float(np.mean(gains)) > 1.96 * float(np.sqrt(np.sum(np.square(errors)))) / len(pairs)
        if certain and not hurt and float(np.mean(gains)) > best_gain:
            best, best_gain = point, float(np.mean(gains))
    return best

"""Fine-tuning as a task of the loop: the next item on one data set's own histories, stopped by held-back events."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from adapt.data.batches import SequenceSampler, SequenceSource, in_windows
from adapt.evaluate.baselines import Scorer
from adapt.evaluate.histories import HistoryLists
from adapt.evaluate.metrics import gains_at_k
from adapt.evaluate.ranking import rank_cases
from adapt.model.content import ContentTowers
from adapt.model.inference import embed_items, embed_users
from adapt.model.items import ItemFeatures
from adapt.model.losses import sampled_softmax
from adapt.model.mmsrec import MMSRec
from adapt.model.residual import ItemResidual
from adapt.model.towers import DualTower
from adapt.train.loop import ParameterGroup
from adapt.train.objectives.base import Objective, TrainingBatch, embed_together
from adapt.train.objectives.cloze import Cloze
from adapt.train.objectives.next_item import NextItem

HEAD: dict[type, str] = {
    ContentTowers: r"user_map\.weight|log_recency",
    MMSRec: r"(items\.)?(output\..*|prediction\..*)",
}
"""What ``head`` trains: of the default towers the linear map from a history's mean to the next item and how fast a
history fades; of the paper's the maps from its encoder to the space of embeddings."""

BESIDE_LORA: dict[type, str] = {ContentTowers: HEAD[ContentTowers], MMSRec: r""}
"""Parameters that are trained as they are beside LoRA: how fast a history fades is no matrix, and the map from a
history's mean to the next item is worth more than a low rank can hold."""


@dataclass(frozen=True, eq=False)
class HeldBackEvents:
    """Events that early stopping goes by.

    Attributes:
        histories: what each user met before, usable items only, at least one.
        targets: int64 (cases,), the item that followed.
    """

    histories: HistoryLists
    targets: NDArray[np.int64]


@dataclass(frozen=True)
class FineTuneBatch:
    """What one step reads.

    Attributes:
        items: histories, targets and candidates.
        rows: int64 (items,), the rows of the catalog that its items are.
        places: number of supervised places of the whole batch, over all processes.
    """

    items: TrainingBatch
    rows: Tensor
    places: float


class FineTunedTowers(nn.Module):
    """Towers, the item residual and a learned temperature as one module, whose forward pass gives the losses.

    Args:
        towers: what is fine-tuned.
        residual: of warm items; None = items are their content.
        temperature: at the start.
        penalty: on the squared length of the residuals that a batch reads, per supervised place.
        content: float32 (items, dim), what the item tower says of the catalog, where nothing in it is trained: it is
            then looked up instead of computed. None = it is computed for every batch.
    """

    def __init__(
        self,
        towers: DualTower,
        residual: ItemResidual | None,
        temperature: float,
        penalty: float = 0.0,
        content: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.penalty = penalty
        self.content: Tensor | None
        self.towers = towers
        self.residual = residual
        self.log_temperature = nn.Parameter(torch.tensor(math.log(temperature)))
        self.register_buffer("content", content, persistent=False)

    def embed(self, items: ItemFeatures, rows: Tensor) -> tuple[Tensor, Tensor | None]:
        """The embeddings of items at some rows of the catalog, float32 (n, dim), and the penalty of the residual."""
        content = embed_together(self.towers, items) if self.content is None else self.content.index_select(0, rows)
        if self.residual is None:
            return content, None
        return self.residual.moved(content, rows)

    def forward(self, batch: FineTuneBatch) -> dict[str, Tensor]:
        """Sampled softmax over the batch's targets and uniform negatives; a user's own items are no negatives.

        What a user has met is never recommended again, so that ranking it low is nothing to be learned.
        """
        part, temperature = batch.items, self.log_temperature.exp()
        if not isinstance(self.towers, ContentTowers):
            objective: Objective = Cloze() if isinstance(self.towers, MMSRec) and not self.towers.causal else NextItem()
            loss = objective(self.towers, part, temperature)
            return {objective.name: loss, "total": loss}
        embedded, length = self.embed(part.items, batch.rows)
        targets = part.targets.flatten()
        known = (targets >= 0).nonzero().flatten()
        places = self.towers.embed_places(part.histories, embedded, wanted=known)
        loss = sampled_softmax(
            places,
            F.embedding(part.candidates, embedded),
            targets[known],
            part.log_q,
            None,
            temperature,
            part.places,
            met_before(part.histories, part.candidates, known, len(batch.rows)),
        )
        if length is None or not self.penalty:
            return {"next_item": loss, "total": loss}
        length = length / batch.places
        return {"next_item": loss, "residual": length, "total": loss + self.penalty * length}


def met_before(histories: Tensor, candidates: Tensor, known: Tensor, items: int) -> Tensor:
    """Which candidates a user has met up to each supervised place: bool (places, candidates).

    Args:
        histories: int64 (batch, length), numbers of items, padded with -1.
        candidates: int64 (candidates,), numbers of items, without repetition.
        known: int64 (places,), the supervised places of the flattened histories.
        items: number of items in the batch.

    >>> met_before(torch.tensor([[0, 1]]), torch.tensor([1, 0, 2]), torch.tensor([0, 1]), 3)
    tensor([[False,  True, False],
            [ True,  True, False]])
    """
    length = histories.shape[1]
    column = torch.full((items + 1,), -1, dtype=torch.int64, device=histories.device)  # the last is that of padding
    column[candidates] = torch.arange(len(candidates), device=histories.device)
    columns = column[histories][known // length]  # (places, length)
    earlier = torch.arange(length, device=histories.device) <= (known % length)[:, None]
    place, when = (earlier & (columns >= 0)).nonzero(as_tuple=True)
    met = torch.zeros(len(known), len(candidates), dtype=torch.bool, device=histories.device)
    met[place, columns[place, when]] = True
    return met


@dataclass(eq=False)
class FineTuning:
    """A task for :func:`adapt.train.loop.run_loop`.

    Attributes:
        module: what is trained.
        sampler: of the training histories.
        items: what the towers read of the catalog.
        groups: how its parameters are trained.
        held_back: the events that early stopping goes by; None = none.
        measured: NDCG@10 of each of them: an entry a validation.
    """

    module: FineTunedTowers
    sampler: SequenceSampler
    items: ItemFeatures
    groups: Sequence[ParameterGroup]
    held_back: HeldBackEvents | None = None
    measured: list[NDArray[np.float64]] = field(default_factory=list)

    @property
    def batch_size(self) -> int:
        """Histories a batch, over all processes."""
        return self.sampler.batch_size

    def batch(self, number: int, rank: int, ranks: int, device: torch.device) -> FineTuneBatch:
        """Histories are shared out by rank; which items are embedded is shared out in the forward pass."""
        drawn = self.sampler.batch(number)
        share = slice(rank, None, ranks)
        rows = torch.from_numpy(drawn.rows)
        items = self.items.take(rows).to(device)
        return FineTuneBatch(
            TrainingBatch(
                items=items,
                histories=torch.from_numpy(drawn.histories[share]).to(device),
                targets=torch.from_numpy(drawn.targets[share]).to(device),
                candidates=torch.from_numpy(drawn.candidates).to(device),
                log_q=torch.from_numpy(drawn.log_q).to(device),
                places=float((drawn.targets >= 0).sum()) / ranks,
                catalog=items,
            ),
            rows.to(device),
            float((drawn.targets >= 0).sum()),
        )

    def validate(self) -> float | None:
        """Mean NDCG@10 of the held-back events: full ranking, seen items excluded."""
        if self.held_back is None:
            return None
        self.measured.append(self.gains(self.held_back, self.module.residual))
        return float(self.measured[-1].mean())

    def gains(self, events: HeldBackEvents, residual: ItemResidual | None) -> NDArray[np.float64]:
        """NDCG@10 of each event by the towers as they are, with a residual or without."""
        usable = self.items.any_present.numpy()
        embeddings = embed_with_residual(self.module.towers, self.items, residual)
        scorer = tower_scorer(self.module.towers, self.items, embeddings, events.histories)
        return gains_at_k(rank_cases(scorer, events.histories, events.targets, usable, ks=(10,)).ranks, 10)


def embed_with_residual(towers: DualTower, items: ItemFeatures, residual: ItemResidual | None) -> NDArray[np.float32]:
    """A catalog's embeddings: float32 (items, dim), unit rows, zero where an item is not usable."""
    usable = items.any_present.numpy()
    content = embed_items(towers, items, usable)
    if residual is None:
        return content
    rows = torch.from_numpy(np.flatnonzero(usable)).to(residual.slots.device)
    with torch.no_grad():
        moved = residual(torch.from_numpy(content).to(rows.device).index_select(0, rows), rows)
    content[usable] = moved.cpu().numpy()
    return content


def tower_scorer(
    towers: DualTower, items: ItemFeatures, embeddings: NDArray[np.float32], histories: HistoryLists
) -> Scorer:
    """Cosine of what the user tower predicts with every item; dimensions that no item uses cost nothing."""
    known = np.split(histories.items, histories.offsets[1:-1])
    states = embed_users(towers, known, items, embeddings)
    used = np.flatnonzero(embeddings.any(axis=0))
    states, catalog = states[:, used], np.ascontiguousarray(embeddings[:, used])
    return lambda cases: states[cases] @ catalog.T


def train_only(towers: DualTower, pattern: str) -> int:
    """Train the parameters whose name ``pattern`` matches in full, and no others; returns how many numbers they hold.

    What a tower fixes when it is made (``alone``) stays fixed whatever the pattern.
    """
    fixed = {name for name, _ in towers.named_parameters() if name.startswith("alone.")}
    for name, parameter in towers.named_parameters():
        parameter.requires_grad_(name not in fixed and re.fullmatch(pattern, name) is not None)
    return sum(parameter.numel() for parameter in towers.parameters() if parameter.requires_grad)


def trains_items(towers: DualTower) -> bool:
    """Whether something in the item tower is trained, so that items have to be embedded anew in every batch."""
    of_users = ("user_map", "log_recency", "down", "up", "position", "transformer")
    names = [name for name, parameter in towers.named_parameters() if parameter.requires_grad]
    return not isinstance(towers, ContentTowers) or any(name.split(".")[0] not in of_users for name in names)


def make_sampler(source: SequenceSource, towers: DualTower, targets: int, negatives: int, seed: int) -> SequenceSampler:
    """Batches of about ``targets`` supervised places each; long histories are cut, so that all events are learned from.

    Args:
        source: the training histories.
        towers: which decide how long a history may be, and whether places are hidden.
        targets: places that are supervised in a batch.
        negatives: candidates drawn uniformly, beside the batch's own targets.
        seed: of every draw.

    Raises:
        DataError: no history has two usable items.
    """
    cloze = isinstance(towers, MMSRec) and not towers.causal
    cut = in_windows(source, towers.max_length + (not cloze))
    windows = max(1, len(cut.offsets) - 1)
    mean = max(1.0, (len(cut.items) - windows) / windows)
    size = max(1, min(round(targets / mean), windows))
    return SequenceSampler(
        [cut], size, towers.max_length, negatives, max_targets=None, seed=seed, mask_ratio=0.2 if cloze else None
    )

"""Next item: each place of a history predicts the item that followed."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from adapt.model.content import ContentTowers
from adapt.model.losses import sampled_softmax
from adapt.model.mmsrec import MMSRec
from adapt.model.towers import DualTower
from adapt.train.objectives.base import TrainingBatch, embed_together


class NextItem:
    """Sampled softmax over the batch's own targets and uniform negatives, with logQ correction; or over all items.

    ``L = - mean_{b,t} log [exp(cos(u_bt, e_target) / tau - log q_target) / sum_c exp(cos(u_bt, e_c) / tau - log q_c)]``

    where ``c`` runs over the distinct targets of the batch and the negatives drawn uniformly from the catalog, and
    ``q_c`` is the chance that item ``c`` is among them. For towers with a prediction at every place.
    """

    name = "next_item"

    def __call__(self, towers: DualTower, batch: TrainingBatch, temperature: Tensor) -> Tensor:
        embedded = embed_together(towers, batch.items)
        if isinstance(towers, ContentTowers):
            places = towers.embed_places(batch.histories, embedded).flatten(0, 1)
        elif isinstance(towers, MMSRec) and towers.causal:
            places = towers.embed_places(batch.histories, batch.items).flatten(0, 1)
        else:
            raise TypeError("the next-item objective supervises every place: it needs causal towers")
        targets = batch.targets.flatten()
        known = (targets >= 0).nonzero().flatten()
        return sampled_softmax(
            places.index_select(0, known),
            F.embedding(batch.candidates, embedded),
            targets[known],
            batch.log_q,
            None,
            temperature,
            batch.places,
        )

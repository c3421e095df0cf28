"""Cloze: hidden places of a history are predicted from the others, for the paper's bidirectional towers."""

from __future__ import annotations

import torch
from torch import Tensor

from adapt.model.losses import full_softmax
from adapt.model.mmsrec import MMSRec
from adapt.model.towers import DualTower
from adapt.train.objectives.base import TrainingBatch


class Cloze:
    """Cross-entropy of the items at masked places over the candidates (arXiv:2304.13277, section 3.4).

    ``L = - mean_{masked places} log softmax_c(cos(h_place, e_c) / tau)_item``

    The place after a history is always masked, as at inference, and every other one with probability ``ratio``. A batch
    that supervises only some of its places may not say what followed a history: then that place stays empty.

    Args:
        ratio: probability of masking a place that is not the last.
    """

    name = "cloze"

    def __init__(self, ratio: float = 0.2) -> None:
        self.ratio = ratio

    def __call__(self, towers: DualTower, batch: TrainingBatch, temperature: Tensor) -> Tensor:
        if not isinstance(towers, MMSRec) or towers.causal:
            raise TypeError("the cloze objective needs towers with a mask token")
        after = batch.targets[:, -1:]
        last = batch.candidates[after.clamp(min=0)].masked_fill(after < 0, -1)
        sequences = torch.cat([batch.histories, last], dim=1)[:, -towers.max_length :]
        masked = (torch.rand(sequences.shape, device=sequences.device) < self.ratio) & (sequences >= 0)
        masked[:, -1] = sequences[:, -1] >= 0
        column = torch.full((len(batch.items),), -1, dtype=torch.long, device=sequences.device)
        column[batch.candidates] = torch.arange(len(batch.candidates), device=sequences.device)
        masked &= column[sequences.clamp(min=0)] >= 0  # an item that is no candidate cannot be predicted
        hidden = towers.embed_masked(sequences, masked, batch.items)
        candidates = towers.embed_items(batch.items.take(batch.candidates))
        return full_softmax(hidden, candidates, column[sequences[masked]], temperature)

"""Cloze: hidden places of a history are predicted from the others, for the paper's bidirectional towers."""

from __future__ import annotations

from torch import Tensor

from adapt.model.losses import sampled_softmax
from adapt.model.mmsrec import MMSRec
from adapt.model.towers import DualTower
from adapt.train.objectives.base import TrainingBatch, embed_together


class Cloze:
    """Cross-entropy of the items at hidden places over the candidates (arXiv:2304.13277, section 3.4).

    ``L = - mean_{b,t} log [exp(cos(h_bt, e_target) / tau - log q_target) / sum_c exp(cos(h_bt, e_c) / tau - log q_c)]``

    The sampler hides the last place of each history, as at inference, and others at random. ``c`` runs over the
    distinct hidden items of the batch and the negatives drawn uniformly, with the logQ correction of
    :class:`~adapt.train.objectives.next_item.NextItem`; or over all items without it, which is the paper's loss.
    """

    name = "cloze"

    def __call__(self, towers: DualTower, batch: TrainingBatch, temperature: Tensor) -> Tensor:
        if not isinstance(towers, MMSRec) or towers.causal:
            raise TypeError("the cloze objective needs towers with a mask token")
        hidden = batch.targets >= 0
        if (batch.histories[hidden] >= 0).any():
            raise ValueError("the cloze objective needs batches that hide what they predict (mask_ratio)")
        return sampled_softmax(
            towers.embed_masked(batch.histories, hidden, batch.items),
            embed_together(towers, batch.items.take(batch.candidates)),
            batch.targets[hidden],
            batch.log_q,
            None,
            temperature,
            batch.places,
        )

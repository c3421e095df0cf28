"""Contrastive and softmax losses on embeddings: plain tensors in, a scalar out."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from adapt.model.gather import gather_rows, share_of, sharers
from adapt.model.unit import unit

_WHOLE = 8
"""Columns of a matrix product come in multiples of this: with others it takes half as long again."""


def info_nce(first: Tensor, second: Tensor, temperature: float | Tensor, count: int | None = None) -> Tensor:
    """Symmetric InfoNCE between two views of the same items: the sum of both directions (paper, section 3.3).

    ``L = - mean_i log softmax_j(cos(a_i, b_j) / t)_i - mean_i log softmax_j(cos(b_i, a_j) / t)_i``.

    Rows of an item that lacks one of the two views must be left out by the caller: a constant row is no embedding.

    Args:
        first: (n, dim), one view of n items.
        second: (n, dim), the other view of the same items, in the same order.
        temperature: > 0.
        count: number of items over all processes of a training, of which ``first`` and ``second`` are this one's
            :func:`~adapt.model.gather.share_of`. Its loss is then that of its own items among all, so that the mean
            over processes is the loss of the whole batch. None = the n items are the whole batch.

    Returns:
        Scalar; 0 when n is 0, so that a batch without a pair adds nothing.
    """
    if count is not None and sharers()[1] > 1:
        return _shared_info_nce(first, second, temperature, count)
    if not len(first):
        return first.sum() * 0.0
    logits = (F.normalize(first, dim=-1) / temperature) @ F.normalize(second, dim=-1).T  # (n, n)
    target = torch.arange(len(first), device=first.device)
    return F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)


def _shared_info_nce(first: Tensor, second: Tensor, temperature: float | Tensor, count: int) -> Tensor:
    rank, ranks = sharers()
    own = share_of(count, first.device)
    last = len(range(rank, count, ranks))  # what comes after it is another process's
    views = [F.normalize(view, dim=-1) for view in (first, second)]
    gathered = [gather_rows(view, count) for view in views]
    total = first.sum() * 0.0
    for view, others in zip(views, reversed(gathered), strict=True):
        logits = (view[:last] / temperature) @ others.T  # (own, count)
        total = total + F.cross_entropy(logits, own[:last], reduction="sum")
    return total * (ranks / count)


def sampled_softmax(
    users: Tensor,
    candidates: Tensor,
    targets: Tensor,
    log_q: Tensor,
    ids: Tensor | None,
    temperature: float | Tensor,
    count: float | None = None,
    exclude: Tensor | None = None,
) -> Tensor:
    """Cross-entropy over sampled candidates, corrected for how often each is sampled.

    ``logit_ij = cos(u_i, c_j) / t - log q_j`` (Bengio and Senecal, 2008; Yi et al., 2019): without the correction a
    popular item, drawn more often, is pushed down. Candidates that are the target's item again are masked.

    Args:
        users: (n, dim), predicted embeddings.
        candidates: (m, dim), embeddings of the candidates, the n targets among them.
        targets: int64 (n,), the column of each user's target.
        log_q: (m,), log of the expected number of times that the candidate's item is drawn into a batch; zeros where
            the candidates are all items, for the full softmax.
        ids: int64 (m,), the item of each candidate; None: no two are the same.
        temperature: > 0.
        count: what the sum is divided by; None is n. Processes that share a batch out divide by its mean share, so
            that the mean over processes is the mean over the batch.
        exclude: bool (n, m), further candidates that are masked, such as items that the user has seen; the target's own
            column is kept.

    Returns:
        Scalar.
    """
    spare = -len(candidates) % _WHOLE
    table = F.pad(unit(candidates), (0, 0, 0, spare))
    logits = (unit(users) / temperature) @ table.T  # (n, m + spare)
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    masked, added = exclude, -log_q
    if ids is not None:
        same = ids[None, :] == ids[targets][:, None]
        masked = same if masked is None else masked | same
    if masked is not None:
        masked = masked.clone()
        masked[torch.arange(len(users), device=users.device), targets] = False
        added = torch.where(masked, float("-inf"), added)
    # In place, and masked by a sum: of a matrix of this size each further copy is felt.
    logits.add_(F.pad(added, (0, spare), value=float("-inf")))
    total = F.cross_entropy(logits, targets, reduction="sum")
    return total / (len(users) if count is None else count)

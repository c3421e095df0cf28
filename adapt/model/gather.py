"""Rows that the processes of a training compute together: each a share, and all of them everywhere, with gradients.

Processes average their gradients. With ``L = (1 / R) sum_r L_r(E)`` over ``R`` processes and ``E`` the gathered rows,
the process that made row ``i`` has to send back ``sum_r dL_r / dE_i``: what it then adds to the average is exactly
``dL / dE_i``. Gathering without gradients, or sending back the mean, loses a factor of ``R`` for the rows that another
process compares its own with.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def sharers() -> tuple[int, int]:
    """Which of the processes of a training this one is, and how many there are."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1


def share_of(count: int, device: torch.device | str | None = None) -> Tensor:
    """Which of ``count`` rows this process computes: every R-th, int64.

    All processes compute the same number of rows: where they do not come out even, some compute one of the first rows
    once more, which :func:`gather_rows` drops.

    >>> share_of(3)
    tensor([0, 1, 2])
    """
    rank, ranks = sharers()
    rounds = -(-count // ranks)
    return torch.arange(rank, rounds * ranks, ranks, device=device) % max(count, 1)


def gather_rows(part: Tensor, count: int) -> Tensor:
    """The rows of all processes, in their order.

    Args:
        part: (share, dim), this process's rows, those of :func:`share_of`.
        count: number of rows in all.

    Returns:
        (count, dim), the same on every process; its gradient goes back to the process that computed a row.
    """
    _, ranks = sharers()
    if ranks == 1:
        return part
    gathered: Tensor = _Gather.apply(part)  # (ranks, share, dim)
    return gathered.transpose(0, 1).flatten(0, 1)[:count]


class _Gather(torch.autograd.Function):
    """Rows of every process side by side; the gradients of all of them are added up."""

    @staticmethod
    def forward(ctx: Any, part: Tensor) -> Tensor:  # noqa: ARG004
        parts = [torch.empty_like(part) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, part.contiguous())
        return torch.stack(parts)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:  # noqa: ARG004
        summed = gradients[0].contiguous()
        dist.all_reduce(summed)
        return summed[dist.get_rank()]

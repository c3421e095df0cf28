"""The largest scores of each row, the same ones in the same order wherever lists are made."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

# Columns of a group whose maximum is looked at first, at most, and the fewest groups for each column that is looked at
# then: a maximum over a few columns is cheap, and so are few columns to sort.
_GROUP, _GROUPS_A_COLUMN = 64, 2


def top_k(
    scores: torch.Tensor | npt.NDArray[np.float32], k: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """The columns of the largest scores of each row, best first, equal ones in the order of columns.

    Which of several equal scores is picked by ``torch.topk`` is not known. One more than ``k`` are asked for: where the
    last two differ the set is the only one possible and needs but sorting; the few rows where they are equal are chosen
    again.

    Args:
        scores: float32 (n, columns), without NaN; ``-inf`` is never found.
        k: may exceed the number of columns.

    Returns:
        int64 (n, k) padded with -1, and float32 (n, k) padded with ``-inf``.

    >>> top_k(np.array([[0.5, 0.9, 0.5, -np.inf]], np.float32), 3)[0]
    array([[1, 0, 2]])
    >>> top_k(np.array([[0.5, -np.inf]], np.float32), 3)[0]
    array([[ 0, -1, -1]])
    """
    given = scores if isinstance(scores, torch.Tensor) else torch.from_numpy(np.require(scores, np.float32, ["C", "W"]))
    width = given.shape[1]
    wanted = min(k, width)
    rows = np.full((len(given), k), -1, np.int64)
    best = np.full((len(given), k), -np.inf, np.float32)
    if not wanted or not len(given):
        return rows, best
    values, columns = _largest(given, min(wanted + 1, width))
    if width > wanted:
        for row in np.flatnonzero((values[:, wanted - 1] == values[:, wanted]) & ~np.isneginf(values[:, wanted])):
            line, edge = given[row].numpy(), values[row, wanted - 1]
            above = int(np.count_nonzero(values[row] > edge))
            columns[row, above:wanted] = np.flatnonzero(line == edge)[: wanted - above]
        values, columns = values[:, :wanted], columns[:, :wanted]
    order = np.lexsort((columns, -values), axis=1)
    best[:, :wanted] = np.take_along_axis(values, order, axis=1)
    rows[:, :wanted] = np.where(np.isneginf(best[:, :wanted]), -1, np.take_along_axis(columns, order, axis=1))
    return rows, best


def _largest(scores: torch.Tensor, k: int) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """The ``k`` largest scores of each row, sorted, and their columns, any of several equal ones.

    The columns fall into groups; the ``k`` largest lie in the ``k`` groups with the largest maxima. A maximum over
    groups reads the scores at the speed of memory, where ``topk`` over all columns sorts them: several times as fast.
    """
    width = scores.shape[1]
    size = _GROUP
    while size > 1 and (width % size or width // size < _GROUPS_A_COLUMN * size * k):
        size //= 2
    if size == 1:
        top = scores.topk(k, dim=1)
        return top.values.numpy(), top.indices.numpy()
    groups = width // size  # column `c` is in group `c % groups`: a maximum over rows of a matrix needs no shuffling
    maxima = scores.view(-1, size, groups).amax(dim=1)  # [queries, size, groups] -> [queries, groups]
    best = maxima.topk(k, dim=1, sorted=False).indices
    columns = (best[:, :, None] + groups * torch.arange(size)).view(len(scores), -1)  # [queries, k * size]
    top = scores.gather(1, columns).topk(k, dim=1)
    return top.values.numpy(), columns.gather(1, top.indices).numpy()

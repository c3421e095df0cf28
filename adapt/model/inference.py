"""Towers over whole catalogs and many users, in blocks: numpy in, numpy out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from adapt.errors import UsageError
from adapt.model.items import ItemFeatures
from adapt.model.towers import DualTower

_ITEMS = 8192
_USERS = 2048
_PLACES = 6144
"""Users, and history places, of a block: the user tower holds a few vectors for each place."""


def check_device(name: str) -> None:
    """Make sure that torch can compute on a device.

    Raises:
        UsageError: torch does not know it, or this machine has none.
    """
    try:
        torch.zeros(1, device=name).cpu()
    except (RuntimeError, AssertionError) as failure:
        reason = str(failure).split(".")[0]
        raise UsageError(
            f"expected a device that torch can compute on, found {name!r}: {reason}",
            "`adapt doctor` lists the devices.",
        ) from failure


@torch.inference_mode()
def embed_items(towers: DualTower, items: ItemFeatures, usable: NDArray[np.bool_]) -> NDArray[np.float32]:
    """The item tower over a catalog in blocks: float32 (items, dim), unit rows, zero where not usable."""
    device = next(towers.parameters()).device
    rows = torch.from_numpy(np.flatnonzero(usable))
    out = np.zeros((len(usable), towers.dim), dtype=np.float32)
    for block in torch.split(rows, _ITEMS):
        embedded = F.normalize(towers.embed_items(items.take(block).to(device)), dim=-1)
        out[block.numpy()] = embedded.float().cpu().numpy()
    return out


@torch.inference_mode()
def embed_users(
    towers: DualTower, histories: Sequence[NDArray[np.integer]], items: ItemFeatures, embeddings: NDArray[np.float32]
) -> NDArray[np.float32]:
    """The user tower over many histories, in blocks of similar length.

    Args:
        towers: whose user tower is used.
        histories: catalog rows of each user, oldest first, usable items only, at least one.
        items: what the towers read of the catalog.
        embeddings: float32 (items, dim).

    Returns:
        float32 (users, dim), unit rows.
    """
    device = next(towers.parameters()).device
    lengths = np.array([min(len(history), towers.max_length) for history in histories])
    out = np.zeros((len(histories), towers.dim), dtype=np.float32)
    embedded = torch.from_numpy(embeddings).to(device)
    items = items.to(device) if towers.reads_history_features else items
    order = np.argsort(lengths, kind="stable")
    start = 0
    while start < len(order):
        # As many users as fit the places of a block, whose longest history comes last.
        users = order[
            start : start + max(1, _PLACES // max(1, int(lengths[order[min(start + _USERS, len(order)) - 1]])))
        ]
        users = users[:_USERS]
        start += len(users)
        padded = np.full((len(users), lengths[users].max()), -1, dtype=np.int64)
        for row, user in enumerate(users):
            padded[row, padded.shape[1] - lengths[user] :] = histories[user][-lengths[user] :]
        states = towers.embed_users(torch.from_numpy(padded).to(device), items, embedded)
        out[users] = F.normalize(states, dim=-1).float().cpu().numpy()
    return out

"""Golden outputs: a few items and histories that lie in a checkpoint with the embeddings that its towers gave.

Hashes say that the bytes are the author's; golden outputs say that this machine, with its versions of everything,
computes from them what the author's did.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from adapt.errors import CheckpointError
from adapt.features.normalise import Normalisation, SourceStatistics, fit_normaliser
from adapt.hub.sums import GOLDEN
from adapt.model.inference import embed_items, embed_users
from adapt.model.items import ItemFeatures
from adapt.model.towers import DualTower

TOLERANCE = 1e-4
"""Largest difference of a number of a unit embedding that float32 arithmetic of another machine explains."""

_SEED = 20230413
_PER_COMBINATION = 4
_LENGTHS = (1, 2, 5)
_EMBEDDED = ("item_embeddings", "user_embeddings")


@dataclass(frozen=True, eq=False)
class Golden:
    """Inputs of the towers and what they gave for them.

    Attributes:
        items: normalised features of items with every combination of modalities.
        histories: int64 (users, length) rows of ``items``, oldest first, padded on the left with -1.
        item_embeddings: float32 (items, dim), unit rows.
        user_embeddings: float32 (users, dim), unit rows.
    """

    items: ItemFeatures
    histories: NDArray[np.int64]
    item_embeddings: NDArray[np.float32]
    user_embeddings: NDArray[np.float32]

    def error(self, towers: DualTower) -> float:
        """Largest absolute difference between the embeddings that towers give and the golden ones; NaN counts as
        infinite.
        """
        found = _embed(towers, self.items, self.histories)
        differences = [np.abs(one - other) for one, other in zip(found, self._outputs(), strict=True)]
        return max(float(np.nan_to_num(part, nan=np.inf).max()) for part in differences)

    def holds(self, towers: DualTower, widths: Mapping[str, int]) -> bool:
        """Whether towers that read features of these widths give these embeddings, up to :data:`TOLERANCE`."""
        own = {name: value.shape[-1] for name, value in self.items.values.items()}
        same = own == dict(widths) and self.item_embeddings.shape[-1] == towers.dim
        return same and self.error(towers) <= TOLERANCE

    def save(self, folder: Path) -> None:
        """Write ``golden.safetensors`` into an existing folder."""
        tensors: dict[str, Tensor] = {"histories": torch.from_numpy(self.histories)}
        tensors |= {name: torch.from_numpy(value) for name, value in zip(_EMBEDDED, self._outputs(), strict=True)}
        for name, value in self.items.values.items():
            tensors |= {f"items.{name}.values": value, f"items.{name}.present": self.items.present[name]}
        save_file({name: value.contiguous() for name, value in tensors.items()}, folder / GOLDEN)

    def _outputs(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        return self.item_embeddings, self.user_embeddings


def make_golden(
    towers: DualTower, statistics: Mapping[str, SourceStatistics], settings: Mapping[str, Normalisation]
) -> Golden:
    """Draw items as the catalogs of pretraining have them, from a fixed seed, and histories of them; embed both.

    Args:
        towers: on any device.
        statistics: modality -> those of the pretraining catalogs, which the items are drawn from.
        settings: modality -> how features are normalised.

    Raises:
        CheckpointError: the statistics or the weights are not finite.
    """
    random = np.random.default_rng(_SEED)
    names = sorted(statistics)
    groups = [chosen for size in range(1, len(names) + 1) for chosen in combinations(names, size)]
    owners = [chosen for chosen in groups for _ in range(_PER_COMBINATION)]
    values, present = {}, {}
    for name in names:
        has = np.array([name in chosen for chosen in owners])
        drawn = _draw(random, len(owners), statistics[name], settings[name])
        values[name] = torch.from_numpy(np.where(has[:, None], drawn, np.float32(0)))
        present[name] = torch.from_numpy(has)
    items = ItemFeatures(values, present)
    # The longest is longer than what is read, so that the cut is part of what must be reproduced.
    lengths = sorted({min(length, towers.max_length + 1) for length in (*_LENGTHS, towers.max_length + 1)})
    histories = np.full((2 * len(lengths), lengths[-1]), -1, np.int64)
    for row, length in enumerate(2 * lengths):
        histories[row, lengths[-1] - length :] = random.integers(len(owners), size=length)
    embedded = _embed(towers, items, histories)
    if not all(np.isfinite(part).all() for part in embedded):
        raise CheckpointError("expected towers that give finite embeddings, found NaN or infinity")
    return Golden(items, histories, *embedded)


def read_golden(folder: Path, towers: DualTower, widths: Mapping[str, int]) -> Golden | None:
    """The golden outputs of a checkpoint folder; None where it has none.

    Args:
        folder: of the checkpoint.
        towers: whose embeddings they are; nothing is computed.
        widths: modality -> width of its normalised features.

    Raises:
        CheckpointError: the file is damaged, or its tensors do not fit the towers.
    """
    path = folder / GOLDEN
    if not path.is_file():
        return None
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError) as failure:
        raise CheckpointError(f"expected safetensors in {path}, found: {failure}") from failure
    items, users = (len(tensors.get(name, ())) for name in ("item_embeddings", "histories"))
    expected: dict[str, tuple[torch.dtype, tuple[int, ...]]] = {
        "histories": (torch.int64, (users, tensors["histories"].shape[-1] if users else 0)),
        "item_embeddings": (torch.float32, (items, towers.dim)),
        "user_embeddings": (torch.float32, (users, towers.dim)),
    }
    for name, width in widths.items():
        expected[f"items.{name}.values"] = (torch.float32, (items, width))
        expected[f"items.{name}.present"] = (torch.bool, (items,))
    found = {name: (value.dtype, tuple(value.shape)) for name, value in tensors.items()}
    if found != expected or not items or not users:
        names = sorted(name for name in {*found, *expected} if found.get(name) != expected.get(name))
        raise CheckpointError(f"expected golden outputs that fit config.json in {path}, found others: {names}")
    histories = tensors["histories"].numpy()
    if histories.min() < -1 or histories.max() >= items or (histories.max(axis=1) < 0).any():
        raise CheckpointError(f"expected histories of the {items} golden items in {path}, found other rows")
    return Golden(
        ItemFeatures(
            {name: tensors[f"items.{name}.values"] for name in widths},
            {name: tensors[f"items.{name}.present"] for name in widths},
        ),
        histories,
        *(tensors[name].numpy() for name in _EMBEDDED),
    )


def _draw(
    random: np.random.Generator, count: int, statistics: SourceStatistics, settings: Normalisation
) -> NDArray[np.float32]:
    """Normalised features float32 (count, width) of items with the mean and covariance of pretraining."""
    covariance = statistics.covariance.astype(np.float64)
    if not np.isfinite(covariance).all() or not np.isfinite(statistics.mean).all():
        raise CheckpointError("expected finite statistics of the pretraining catalogs, found NaN or infinity")
    values, vectors = np.linalg.eigh(covariance)
    spread = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    drawn = statistics.mean + random.normal(size=(count, len(values))) @ spread
    features = (drawn @ statistics.basis.T).astype(np.float32)
    return fit_normaliser(features[:0], statistics, settings)(features)


def _embed(
    towers: DualTower, items: ItemFeatures, histories: NDArray[np.int64]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    training = towers.training
    towers.eval()
    try:
        embedded = embed_items(towers, items, items.any_present.numpy())
        users = embed_users(towers, [row[row >= 0] for row in histories], items, embedded)
    finally:
        towers.train(training)
    return embedded, users

"""Features that come with the data set: an encoder that only says what they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from adapt.errors import CheckpointError
from adapt.features.base import FloatArray, Modality


@dataclass(frozen=True)
class PrecomputedEncoder:
    """Stands for whatever made the features; it cannot make more of them.

    Attributes:
        modality: of the features.
        dim: their width.
    """

    modality: Modality
    dim: int

    @property
    def id(self) -> str:
        """Precomputed features are told apart by their width only: nobody knows what made them."""
        return f"precomputed:{self.modality}-{self.dim}"

    def encode(self, batch: Sequence[Any]) -> FloatArray:
        """An empty batch gives an empty array.

        Raises:
            CheckpointError: there is anything to encode.
        """
        if len(batch):
            raise CheckpointError(
                f"expected precomputed {self.modality} features for every item, found {len(batch)} items to encode",
                "Give the features of every item and query, or a checkpoint with an encoder.",
            )
        return np.zeros((0, self.dim), np.float32)

"""What a tower reads of items: features by modality, and which of them are there."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class ItemFeatures:
    """Features of items in any shape of rows, ``(n,)`` for a catalog or ``(batch, length)`` for histories.

    Args:
        values: modality -> float32 (*rows, width of the modality). What an absent row holds does not matter.
        present: modality -> bool (*rows,).
    """

    values: Mapping[str, Tensor]
    present: Mapping[str, Tensor]

    def __len__(self) -> int:
        return len(next(iter(self.present.values())))

    @property
    def any_present(self) -> Tensor:
        """bool (*rows,): has the item at least one modality?"""
        return torch.stack(list(self.present.values())).any(dim=0)

    def take(self, rows: Tensor) -> ItemFeatures:
        """The features of ``rows`` (int64, any shape), in that shape; negative rows are absent."""
        inside = rows >= 0
        safe = rows.clamp(min=0)
        return ItemFeatures(
            {name: value[safe] for name, value in self.values.items()},
            {name: present[safe] & inside for name, present in self.present.items()},
        )

    def only(self, modalities: Collection[str]) -> ItemFeatures:
        """The same items as if they had nothing but ``modalities``."""
        return ItemFeatures(
            {name: value for name, value in self.values.items() if name in modalities},
            {name: present for name, present in self.present.items() if name in modalities},
        )

    def drop(self, dropped: Mapping[str, Tensor]) -> ItemFeatures:
        """The same items with a modality absent where ``dropped[modality]`` (bool, *rows) is True."""
        return ItemFeatures(
            self.values,
            {name: present & ~dropped[name] if name in dropped else present for name, present in self.present.items()},
        )

    def to(self, device: torch.device | str) -> ItemFeatures:
        return ItemFeatures(
            {name: value.to(device) for name, value in self.values.items()},
            {name: present.to(device) for name, present in self.present.items()},
        )

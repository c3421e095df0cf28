"""What of the towers is fine-tuned, and how."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np

from adapt.config import config
from adapt.data.catalog import Interactions
from adapt.errors import UsageError

Kind = Literal["lora", "full", "head"]


@config
class TrainingSettings:
    """How towers are fine-tuned; the defaults were chosen on validation events of three data sets, never on their last.

    Attributes:
        epochs: length of the schedule, which early stopping may end sooner; 0 = by how often items are met, since a
            vector for each item learns what there is in fewer passes where every pass shows the item more often:
            ``20 / sqrt(events an item)``, between 3 and 9.
        patience: epochs without a better validation before training stops.
        targets: supervised places a batch.
        negatives: candidates drawn uniformly, beside the targets of the batch.
        learning_rate: of the map from a history to the next item, along a warm-up and half a cosine.
        tower_rate: of everything else in the towers, as a multiple of it: what pretraining has found moves slowly.
        scalar_rate: of the recency and the temperature, as a multiple of it.
        residual_rate: of the item residual, as a multiple of it.
        residual_epsilon: of its AdamW; above the usual 1e-8, so that items that few people met move less.
        residual_penalty: on the squared length of the residuals that a batch reads, per supervised place.
        residual_norm: longest residual, where an item's content has length 1; 0 = no bound.
        weight_decay: of matrices.
        temperature: of the softmax, at the start.
        warmup: share of the steps over which the rate rises.
        validation_events: events that early stopping goes by at most, drawn at random.
    """

    epochs: int = 0
    patience: int = 2
    targets: int = 1024
    negatives: int = 1024
    learning_rate: float = 1e-3
    tower_rate: float = 0.2
    scalar_rate: float = 10.0
    residual_rate: float = 1.0
    residual_epsilon: float = 1e-5
    residual_penalty: float = 2.0
    residual_norm: float = 1.0
    weight_decay: float = 0.01
    temperature: float = 0.07
    warmup: float = 0.1
    validation_events: int = 10_000

    def __post_init__(self) -> None:
        for name, least in (("epochs", 0), ("targets", 1)):
            if getattr(self, name) < least:
                raise UsageError(f"expected {name} of at least {least}, found {getattr(self, name)}")
        for name in ("learning_rate", "temperature"):
            if getattr(self, name) <= 0:
                raise UsageError(f"expected {name} above 0, found {getattr(self, name)}")

    def suited(self, train: Interactions) -> TrainingSettings:
        """The same with a number of epochs that suits the training events, where none was given.

        >>> events = Interactions(("a", "b"), np.array([0, 50, 100]), np.zeros(100, np.int32))
        >>> TrainingSettings().suited(events).epochs, TrainingSettings(epochs=7).suited(events).epochs
        (3, 7)
        """
        if self.epochs:
            return self
        often = len(train) / max(1, len(np.unique(train.items)))
        return replace(self, epochs=int(np.clip(round(20 / max(often, 1.0) ** 0.5), 3, 9)))


@config
class Adaptation:
    """What is trained.

    Attributes:
        kind: ``"lora"``: low-rank updates of the towers' projections, and the recency; ``"full"``: the towers;
            ``"head"``: only the map from a history to the next item, and the recency.
        rank: of the updates, for ``"lora"``.
        alpha: their scale: an update is multiplied by ``alpha / rank``.
        residual: whether warm items get a residual.
    """

    kind: Kind = "lora"
    rank: int = 8
    alpha: float = 16.0
    residual: bool = True

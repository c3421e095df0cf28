"""What every pair of towers can do: embed items, and embed users as the item they will want next."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn

from adapt.model.items import ItemFeatures


class DualTower(nn.Module, ABC):
    """An item tower and a user tower with one embedding space; a score is the cosine of the two.

    Attributes:
        dim: width of the embeddings.
        max_length: number of last history items that the user tower reads.
        reads_history_features: whether the user tower reads features of a history's items beside their embeddings.
    """

    dim: int
    max_length: int
    reads_history_features: bool = True

    @abstractmethod
    def embed_items(self, items: ItemFeatures) -> Tensor:
        """Item tower.

        Args:
            items: n items, each with at least one modality.

        Returns:
            float32 (n, dim), not normalised.
        """

    @abstractmethod
    def embed_users(self, histories: Tensor, catalog: ItemFeatures, embedded: Tensor) -> Tensor:
        """User tower: the predicted embedding of the next item.

        Args:
            histories: int64 (batch, length) rows of ``catalog``, oldest first, padded on the left with -1; each holds
                at least one item, and at most ``max_length``.
            catalog: the features of the items.
            embedded: float32 (items, dim), what :meth:`embed_items` gives for ``catalog``.

        Returns:
            float32 (batch, dim), not normalised.
        """

    @abstractmethod
    def lora_targets(self) -> str:
        """A regular expression that matches the full name of every linear layer an adapter may be put on."""

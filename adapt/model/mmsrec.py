"""The towers of the paper's own code: one shared encoder, a token per modality, an elementwise maximum at the end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from adapt.model.attention import causal_mask, padding_mask
from adapt.model.blocks import Stack
from adapt.model.items import ItemFeatures
from adapt.model.projection import FeatureProjection
from adapt.model.towers import DualTower

INIT_STD = 0.02

ItemTower = Literal["shared", "separate", "projection", "features"]
"""What a user's predicted embedding is compared with: the output of the encoder that reads histories, or of one of its
own, as dual towers do; or what goes into the encoder, as sequential recommenders without an item tower do: the learned
projection of the features, or the features themselves."""

AttentionKind = Literal["bidirectional", "causal"]


class MMSRec(DualTower):
    """Shared bidirectional towers (arXiv:2304.13277, section 3), trained with a mask token.

    An item is a sequence of one place, a history one of many; a place holds one token per modality that is there. The
    last place of a user's sequence holds the mask token, and its output is the predicted embedding. Positions count
    from the left edge of a sequence of ``max_length`` places, so that the mask token always sits at the last one.

    Args:
        features: modality -> width of its features; the order is that of the modality-type embedding.
        dim: width of tokens and embeddings.
        depth: number of blocks.
        heads: number of attention heads.
        hidden: width inside the feed-forward layers.
        max_length: number of places, the mask token's included.
        dropout: probability of dropping while training; it also makes the second view of an item.
        item_tower: see :data:`ItemTower`; the paper's is ``"shared"``.
        attention: ``"bidirectional"`` (the paper's), trained with a mask token; ``"causal"``, where the output at each
            place predicts the item after it and no mask token is read.
    """

    def __init__(
        self,
        features: Mapping[str, int],
        dim: int = 512,
        depth: int = 2,
        heads: int = 8,
        hidden: int = 1024,
        max_length: int = 20,
        dropout: float = 0.1,
        item_tower: ItemTower = "shared",
        attention: AttentionKind = "bidirectional",
    ) -> None:
        super().__init__()
        self.dim = self.width = dim
        self.item_tower: ItemTower = item_tower
        self.causal = attention == "causal"
        self.max_length = max_length
        self.widths = dict(features)
        self.modalities = tuple(features)
        self.input = nn.ModuleDict({name: FeatureProjection(width, dim) for name, width in features.items()})
        self.position = nn.Embedding(max_length, dim)
        self.modality_type = nn.Embedding(len(features), dim)
        self.mask_token = nn.Parameter(torch.zeros(dim))
        self.token_norm = nn.LayerNorm(dim)
        self.token_dropout = nn.Dropout(dropout)
        self.encoder = Stack(depth, dim, heads, hidden, dropout, norm="post", final_norm=True)
        self.output = nn.ModuleDict({name: FeatureProjection(dim, dim) for name in features})
        if item_tower == "separate":
            self.items = MMSRec(features, dim, depth, heads, hidden, 1, dropout)
        if item_tower == "features":
            self.dim = sum(features.values())
            self.prediction = nn.Linear(dim, self.dim)
        self.reset()

    def reset(self) -> None:
        """Draw the weights as the paper's code does: normal with standard deviation 0.02, biases zero."""
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=INIT_STD)
            if isinstance(module, nn.Linear):
                nn.init.zeros_(module.bias)
        nn.init.normal_(self.mask_token, std=INIT_STD)

    def encode(self, places: ItemFeatures, masked: Tensor, first_position: int) -> Tensor:
        """Run the shared encoder.

        Args:
            places: features of (batch, length) places.
            masked: bool (batch, length): places that hold the mask token instead of an item.
            first_position: the position of the first place.

        Returns:
            float32 (batch, length, dim); what it holds at a place with nothing in it does not matter.
        """
        names = [name for name in self.modalities if name in places.values]
        batch, length = masked.shape
        tokens = torch.stack([self.input[name](places.values[name]) for name in names], dim=2)  # (b, l, m, dim)
        tokens = torch.where(masked[..., None, None], self.mask_token, tokens)
        present = torch.stack([places.present[name] | masked for name in names], dim=2)  # (b, l, m)
        types = torch.tensor([self.modalities.index(name) for name in names], device=masked.device)
        positions = torch.arange(first_position, first_position + length, device=masked.device)
        tokens = tokens + self.position(positions)[:, None] + self.modality_type(types)
        tokens = self.token_dropout(self.token_norm(tokens)).flatten(1, 2)  # (b, l * m, dim)
        there = present.flatten(1, 2)
        allowed = causal_mask(there, len(names)) if self.causal else padding_mask(there)
        hidden = self.encoder(tokens, allowed).view(batch, length, len(names), self.width)
        out = torch.stack([self.output[name](hidden[:, :, column]) for column, name in enumerate(names)], dim=2)
        return _maximum(out, present)

    def embed_items(self, items: ItemFeatures) -> Tensor:
        if self.item_tower == "features":
            return self._features(items)
        if self.item_tower == "projection":
            names = [name for name in self.modalities if name in items.values]
            tokens = torch.stack([self.input[name](items.values[name]) for name in names], dim=1)
            return _maximum(tokens, torch.stack([items.present[name] for name in names], dim=1))
        places = ItemFeatures(
            {name: value[:, None] for name, value in items.values.items()},
            {name: present[:, None] for name, present in items.present.items()},
        )
        masked = torch.zeros(len(items), 1, dtype=torch.bool, device=places.any_present.device)
        encoder = self.items if self.item_tower == "separate" else self
        return encoder.encode(places, masked, first_position=0)[:, 0]

    def _features(self, items: ItemFeatures) -> Tensor:
        """The features of all modalities side by side, zero where an item lacks one."""
        parts = []
        for name, width in self.widths.items():
            if name in items.values:
                parts.append(items.values[name] * items.present[name][:, None])
            else:
                parts.append(next(iter(items.values.values())).new_zeros(len(items), width))
        return torch.cat(parts, dim=1)

    def _predicted(self, outputs: Tensor) -> Tensor:
        """From what the encoder gives at a place to the space of item embeddings."""
        out: Tensor = self.prediction(outputs) if self.item_tower == "features" else outputs
        return out

    def embed_users(self, histories: Tensor, catalog: ItemFeatures, embedded: Tensor) -> Tensor:  # noqa: ARG002
        if self.causal:
            return self.embed_places(histories, catalog)[:, -1]
        histories = histories[:, -(self.max_length - 1) :]
        places = torch.cat([histories, torch.full_like(histories[:, :1], -1)], dim=1)
        masked = torch.zeros_like(places, dtype=torch.bool)
        masked[:, -1] = True
        return self._predicted(self.encode(catalog.take(places), masked, self.max_length - places.shape[1])[:, -1])

    def embed_places(self, histories: Tensor, catalog: ItemFeatures) -> Tensor:
        """Causal towers at every place of their histories: the predicted embedding of the item after it.

        Args:
            histories: int64 (batch, length) rows of ``catalog``, padded on the left with -1.
            catalog: the features of the items.

        Returns:
            float32 (batch, length, dim).
        """
        histories = histories[:, -self.max_length :]
        masked = torch.zeros_like(histories, dtype=torch.bool)
        return self._predicted(self.encode(catalog.take(histories), masked, self.max_length - histories.shape[1]))

    def embed_masked(self, sequences: Tensor, masked: Tensor, catalog: ItemFeatures) -> Tensor:
        """The outputs at masked places, for the cloze objective (paper, equation of the fine-tuning loss).

        Args:
            sequences: int64 (batch, length) rows of ``catalog``, padded on the left with -1.
            masked: bool (batch, length): places whose item is hidden.
            catalog: the features of the items.

        Returns:
            float32 (masked places, dim), in row-major order.
        """
        places = catalog.take(sequences.masked_fill(masked, -1))
        return self._predicted(self.encode(places, masked, self.max_length - sequences.shape[1])[masked])

    def lora_targets(self) -> str:
        return r"(items\.)?encoder\.blocks\.\d+\.(attention\.[qkvo]_proj|feed_forward\.(up|down)_proj)"


def _maximum(outputs: Tensor, present: Tensor) -> Tensor:
    """The elementwise maximum over the modalities that are there: (..., modalities, dim) -> (..., dim)."""
    fused: Tensor = outputs.masked_fill(~present[..., None], torch.finfo(outputs.dtype).min).amax(dim=-2)
    return fused

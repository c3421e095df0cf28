"""The towers of the paper's own code: one shared encoder, a token per modality, an elementwise maximum at the end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from adapt.model.attention import causal_mask, padding_mask
from adapt.model.blocks import Stack
from adapt.model.items import ItemFeatures
from adapt.model.packing import Asked, Packing
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

    def encode(
        self, rows: Tensor, masked: Tensor, first_position: int, catalog: ItemFeatures, wanted: Tensor | None = None
    ) -> Tensor:
        """Run the shared encoder. An empty place costs nothing, and an item that occurs twice is projected once.

        Args:
            rows: int64 (batch, length) rows of ``catalog``, -1 = empty.
            masked: bool (batch, length): places that hold the mask token instead of an item.
            first_position: the position of the first place.
            catalog: the features of the items.
            wanted: bool (batch, length): the places whose output is wanted; None is all.

        Returns:
            float32 (batch, length, dim); or (wanted places, dim) in row-major order. Zero where a place is empty.
        """
        names = [name for name in self.modalities if name in catalog.values]
        rows = rows.masked_fill(masked, -1)
        shown = [catalog.present[name][rows.clamp(min=0)] & (rows >= 0) for name in names]
        there = (torch.stack(shown, dim=2) | masked[..., None]).flatten(1)  # (batch, length * modalities)
        packing = Packing.of(there)
        tokens = self._tokens(rows, packing, first_position, catalog, names)
        if self.causal:
            allowed: Tensor | None = causal_mask(there, len(names))
        else:
            allowed = None if packing.full else padding_mask(there)
        asked = None if wanted is None else Asked.of(packing, wanted.repeat_interleave(len(names), dim=1))
        index = packing.index if asked is None else asked.places
        places, fused = self._fuse(self.encoder(tokens, allowed, packing, asked), index, names)
        if wanted is None:
            return Packing(rows.shape[0], rows.shape[1], places).pad(fused)
        order = wanted.flatten().nonzero().flatten()
        return Packing(1, len(order), torch.searchsorted(order, places)).pad(fused)[0]

    def _tokens(
        self, rows: Tensor, packing: Packing, first_position: int, catalog: ItemFeatures, names: Sequence[str]
    ) -> Tensor:
        """What goes into the encoder: (tokens, width). Places are those of (batch, length, modalities), flattened."""
        used, entry = torch.unique(rows, return_inverse=True)  # (distinct,), ascending, -1 first if it occurs
        parts: list[Tensor] = []
        slots = used.new_full((len(names), len(used)), -1)
        count = 0
        for number, name in enumerate(names):
            here = (catalog.present[name][used.clamp(min=0)] & (used >= 0)).nonzero().flatten()
            slots[number, here] = torch.arange(count, count + len(here), device=used.device)
            count += len(here)
            parts.append(self.input[name](catalog.values[name].index_select(0, used[here])))
        parts.append(self.mask_token[None].to(parts[0].dtype))
        column = packing.index % len(names)
        place = torch.div(packing.index, len(names), rounding_mode="floor")
        slot = slots[column, entry.flatten()[place]]
        tokens = F.embedding(slot.where(slot >= 0, count), torch.cat(parts))  # others are masked
        length = rows.shape[1]
        types = [self.modalities.index(name) for name in names]
        positions = (
            self.position.weight[first_position : first_position + length, None] + self.modality_type.weight[types]
        )
        tokens = tokens + F.embedding(packing.index % (length * len(names)), positions.flatten(0, 1))
        out: Tensor = self.token_dropout(self.token_norm(tokens))
        return out

    def _fuse(self, hidden: Tensor, index: Tensor, names: Sequence[str]) -> tuple[Tensor, Tensor]:
        """The elementwise maximum over the tokens of each place: its number, and (places, width)."""
        places, entry = torch.unique_consecutive(
            torch.div(index, len(names), rounding_mode="floor"), return_inverse=True
        )
        sides = []
        for column, name in enumerate(names):
            here = (index % len(names) == column).nonzero().flatten()
            side = self.output[name](hidden.index_select(0, here))
            if len(here) < len(places):
                lowest = side.new_full((len(places), self.width), torch.finfo(side.dtype).min)
                side = lowest.index_copy(0, entry[here], side)
            sides.append(side)
        return places, reduce(torch.maximum, sides)

    def embed_items(self, items: ItemFeatures) -> Tensor:
        if self.item_tower == "features":
            return self._features(items)
        if self.item_tower == "projection":
            names = [name for name in self.modalities if name in items.values]
            tokens = torch.stack([self.input[name](items.values[name]) for name in names], dim=1)
            return _maximum(tokens, torch.stack([items.present[name] for name in names], dim=1))
        rows = torch.arange(len(items), device=items.any_present.device)[:, None]
        encoder = self.items if self.item_tower == "separate" else self
        return encoder.encode(rows, torch.zeros_like(rows, dtype=torch.bool), 0, items)[:, 0]

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
        histories = histories[:, -(self.max_length if self.causal else self.max_length - 1) :]
        rows = histories if self.causal else F.pad(histories, (0, 1), value=-1)
        last = torch.zeros_like(rows, dtype=torch.bool)
        last[:, -1] = True
        masked = torch.zeros_like(last) if self.causal else last
        return self._predicted(self.encode(rows, masked, self.max_length - rows.shape[1], catalog, last))

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
        return self._predicted(self.encode(histories, masked, self.max_length - histories.shape[1], catalog))

    def embed_masked(self, sequences: Tensor, masked: Tensor, catalog: ItemFeatures) -> Tensor:
        """The outputs at masked places, for the cloze objective (paper, equation of the fine-tuning loss).

        Args:
            sequences: int64 (batch, length) rows of ``catalog``, padded on the left with -1.
            masked: bool (batch, length): places whose item is hidden.
            catalog: the features of the items.

        Returns:
            float32 (masked places, dim), in row-major order.
        """
        first_position = self.max_length - sequences.shape[1]
        return self._predicted(self.encode(sequences, masked, first_position, catalog, masked))

    def lora_targets(self) -> str:
        return r"(items\.)?encoder\.blocks\.\d+\.(attention\.[qkvo]_proj|feed_forward\.(up|down)_proj)"


def _maximum(outputs: Tensor, present: Tensor) -> Tensor:
    """The elementwise maximum over the modalities that are there: (..., modalities, dim) -> (..., dim)."""
    fused: Tensor = outputs.masked_fill(~present[..., None], torch.finfo(outputs.dtype).min).amax(dim=-2)
    return fused

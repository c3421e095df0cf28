"""The training step of the paper's code, written anew from its description, for `pretrain.py` to compare with.

Every item of the catalog goes through the shared encoder at every step, with gradients; histories are padded to their
full length; nothing is cached and nothing is left out. The names of the weights are those of the original, so that its
numbers can be checked (`tests/model/test_mmsrec_golden.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

PADDING, MASK, FIRST_ITEM = 0, 1, 3
"""Numbers in a sequence: an empty place, the mask token, and the first item."""

MISSING = -1e4
"""What stands in the outputs of a modality that an item lacks, before the maximum over modalities."""


@dataclass(frozen=True)
class PaperSizes:
    """Dimensions and chances of the paper's code, as it is used on Amazon data with CLIP ViT-B/32 features."""

    vision: int = 512
    text: int = 512
    dim: int = 512
    depth: int = 2
    heads: int = 8
    hidden: int = 1024
    length: int = 20
    dropout: float = 0.1
    temperature: float = 0.05
    mask_ratio: float = 0.2


class _Embedding(nn.Module):
    """Tokens of a sequence: projected features, mask tokens, positions and modality types."""

    def __init__(self, sizes: PaperSizes) -> None:
        super().__init__()
        self.position_embeddings = nn.Embedding(sizes.length, sizes.dim)
        self.modal_type_embeddings = nn.Embedding(2, sizes.dim)
        self.mask_embeddings = nn.Embedding(1, sizes.dim)
        self.layer_norm = nn.LayerNorm(sizes.dim)
        self.dropout = nn.Dropout(sizes.dropout)

    def forward(self, vision: Tensor, text: Tensor, masked: Tensor) -> Tensor:
        """Two (batch, length, dim) and bool (batch, length) -> (batch, 2 length, dim), all of vision first."""
        positions = self.position_embeddings.weight[: masked.shape[1]]
        types = self.modal_type_embeddings.weight
        mask = self.mask_embeddings.weight[0]
        sides = [torch.where(masked[..., None], mask, side) + positions for side in (vision, text)]
        tokens = torch.cat([side + kind for side, kind in zip(sides, types, strict=True)], dim=1)
        out: Tensor = self.dropout(self.layer_norm(tokens))
        return out


class _Transform(nn.Module):
    """A linear map and a layer normalisation for each modality."""

    def __init__(self, vision: int, text: int, dim: int) -> None:
        super().__init__()
        self.vision_transform = nn.Linear(vision, dim)
        self.vision_layer_norm = nn.LayerNorm(dim)
        self.text_transform = nn.Linear(text, dim)
        self.text_layer_norm = nn.LayerNorm(dim)

    def forward(self, vision: Tensor, text: Tensor) -> tuple[Tensor, Tensor]:
        return (
            self.vision_layer_norm(self.vision_transform(vision)),
            self.text_layer_norm(self.text_transform(text)),
        )


class _Encoder(nn.Module):
    """Torch's own encoder, post-norm with GELU, and a normalisation at its end."""

    def __init__(self, sizes: PaperSizes) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(
            sizes.dim, sizes.heads, sizes.hidden, sizes.dropout, activation="gelu", batch_first=True
        )
        self.transform = nn.TransformerEncoder(
            layer, sizes.depth, norm=nn.LayerNorm(sizes.dim), enable_nested_tensor=False
        )


class PaperModel(nn.Module):
    """The shared encoder with the catalog's features.

    Args:
        sizes: dimensions.
        features: ``"vision"`` and ``"text"`` -> float32 (items, width).
        present: the same -> bool (items,).
    """

    def __init__(self, sizes: PaperSizes, features: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.sizes = sizes
        self.embedding = _Embedding(sizes)
        self.input_transform = _Transform(sizes.vision, sizes.text, sizes.dim)
        self.encoder_blocks = _Encoder(sizes)
        self.output_transform = _Transform(sizes.dim, sizes.dim, sizes.dim)
        empty = torch.zeros(FIRST_ITEM, 1)
        for name, value in features.items():
            self.register_buffer(name, torch.cat([empty.expand(-1, value.shape[1]), value]), persistent=False)
            there = torch.cat([torch.zeros(FIRST_ITEM, dtype=torch.bool), present[name]])
            self.register_buffer(f"{name}_present", there, persistent=False)

    def encode(self, sequences: Tensor) -> Tensor:
        """int64 (batch, length) -> (batch, length, dim)."""
        masked = sequences == MASK
        vision, text = self.input_transform(self.vision[sequences], self.text[sequences])
        tokens = self.embedding(vision, text, masked)
        sides = [self.vision_present[sequences] | masked, self.text_present[sequences] | masked]
        hidden = self.encoder_blocks.transform(tokens, src_key_padding_mask=~torch.cat(sides, dim=1))
        outputs = self.output_transform(*hidden.chunk(2, dim=1))
        shown = [out.masked_fill(~there[..., None], MISSING) for out, there in zip(outputs, sides, strict=True)]
        return torch.maximum(*shown)

    def encode_catalog(self) -> Tensor:
        """Every item as a sequence of one: (items, dim)."""
        rows = torch.arange(FIRST_ITEM, len(self.vision), device=self.vision.device)
        return self.encode(rows[:, None])[:, 0]

    def logits(self, sequences: Tensor) -> Tensor:
        """Scores of all items at the mask tokens of sequences: (mask tokens, items)."""
        users = F.normalize(self.encode(sequences)[sequences == MASK], dim=-1)
        return users @ F.normalize(self.encode_catalog(), dim=-1).T / self.sizes.temperature


def hide(sequences: Tensor, ratio: float, n_items: int, random: torch.Generator) -> tuple[Tensor, Tensor]:
    """Choose what a step predicts: the last place, and every other one with chance ``ratio``.

    Of the others, 80 % are hidden, 10 % replaced by a random item and 10 % left as they are.

    Returns:
        The sequences that are read, and bool (batch, length) of the places that are predicted.
    """
    items = sequences >= FIRST_ITEM
    chosen = (torch.rand(sequences.shape, generator=random) < ratio) & items
    chance = torch.rand(sequences.shape, generator=random)
    others = torch.randint(FIRST_ITEM, FIRST_ITEM + n_items, sequences.shape, generator=random)
    read = sequences.where(~chosen | (chance >= 0.9), others).where(~chosen | (chance >= 0.8), MASK)
    read[:, -1] = MASK
    chosen[:, -1] = True
    return read, chosen


def cloze_loss(model: PaperModel, read: Tensor, chosen: Tensor, sequences: Tensor) -> Tensor:
    """Cross-entropy of the chosen places over all items."""
    users = F.normalize(model.encode(read)[chosen], dim=-1)
    items = F.normalize(model.encode_catalog(), dim=-1)
    return F.cross_entropy(users @ items.T / model.sizes.temperature, sequences[chosen] - FIRST_ITEM)

"""The default towers: they start as a training-free content scorer and learn only what they add to it."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from adapt.model.attention import causal_mask
from adapt.model.blocks import FeedForward, Stack
from adapt.model.items import ItemFeatures
from adapt.model.projection import FeatureProjection
from adapt.model.towers import DualTower
from adapt.model.unit import unit

ANCHOR = "text"
"""The modality whose own axes are the shared block."""


class ContentTowers(DualTower):
    """Separate causal towers whose every residual branch starts at zero.

    Item tower: each modality's (whitened) features are projected, weighted, summed over the modalities that are there
    and scaled to unit length. The embedding space has a shared block of ``shared`` dimensions, which every modality
    reaches, and one block for what the other modalities cannot say (``private``). A missing modality adds nothing.

    With ``slack``, one more dimension takes up what an item's embedding lacks to unit length: an item that has but one
    modality is only as long as that is worth beside the others (``alone``), so that an uncertain picture is neither
    ranked nor remembered like a text. Users have nothing in that dimension.

    User tower: the mean of the history's embeddings with weights ``exp(-recency * age)``, plus a linear map and a
    causal transformer of their own width, both zero at the start; every place of a history predicts the next one.

    Args:
        features: modality -> width of its normalised features.
        shared: width of the shared block.
        private: modality -> width of its own block; a modality that is not named has none. Of the anchor's features the
            last ones start there and the others in the shared block.
        depth: number of blocks of the user tower.
        width: width of the user tower's transformer.
        heads: number of attention heads.
        hidden: width inside the feed-forward layers.
        max_length: number of last history items that are read.
        dropout: probability of dropping while training.
        landmarks: modality -> kernel centres of its projection; see :class:`FeatureProjection`.
        slack: whether items may be shorter than unit length in the dimensions that users have.
    """

    reads_history_features = False

    def __init__(
        self,
        features: Mapping[str, int],
        shared: int = 256,
        private: Mapping[str, int] | None = None,
        depth: int = 1,
        width: int = 128,
        heads: int = 4,
        hidden: int = 256,
        max_length: int = 50,
        dropout: float = 0.1,
        landmarks: Mapping[str, int] | None = None,
        slack: bool = False,
    ) -> None:
        super().__init__()
        private, landmarks = private or {}, landmarks or {}
        self.modalities = tuple(features)
        self.inner = shared + sum(private.values())
        self.dim = self.inner + int(slack)
        self.max_length = max_length
        self.projection = nn.ModuleDict(
            {
                name: FeatureProjection(size, self.inner, False, False, landmarks.get(name, 0), shared)
                for name, size in features.items()
            }
        )
        self.modality_type = nn.ParameterDict({name: nn.Parameter(torch.zeros(self.inner)) for name in features})
        self.modality_weight = nn.ParameterDict({name: nn.Parameter(torch.ones(())) for name in features})
        self.alone = nn.ParameterDict(
            {name: nn.Parameter(torch.ones(()), requires_grad=False) for name in (features if slack else ())}
        )
        self.refine = FeedForward(self.inner, hidden, dropout)
        self.log_recency = nn.Parameter(torch.tensor(0.4).log())
        self.user_map = nn.Linear(self.inner, self.inner, bias=False)
        self.down = nn.Linear(self.inner, width)
        self.position = nn.Embedding(max_length, width)
        self.transformer = Stack(depth, width, heads, hidden, dropout, norm="pre", final_norm=True)
        self.up = nn.Linear(width, self.inner)
        self._known: dict[nn.Module, tuple[list[Tensor], list[int], bool]] = {}
        self.reach: dict[str, int] = {}
        """Modality -> how many of its leading features start in the shared block."""
        self._start(shared, private)

    @torch.no_grad()
    def _start(self, shared: int, private: Mapping[str, int]) -> None:
        """Start as the training-free scorer: projections copy their features, every residual branch gives zero."""
        offset = shared
        for name in self.modalities:
            projection: Tensor = self.projection[name].linear.weight  # type: ignore[union-attr, assignment]
            nn.init.zeros_(projection)
            size = projection.shape[1]
            own = min(private.get(name, 0), size)
            reach = min(shared, size - own) if name == ANCHOR or not own else 0
            projection[:reach, :reach] = torch.eye(reach)
            projection[offset : offset + own, reach : reach + own] = torch.eye(own)
            offset += private.get(name, 0)
            self.reach[name] = reach
        for layer in (self.refine.down_proj, self.up):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        nn.init.zeros_(self.user_map.weight)
        nn.init.normal_(self.position.weight, std=0.02)

    @property
    def recency(self) -> Tensor:
        """Decay of a history item's weight per place of age."""
        return self.log_recency.exp()

    @torch.no_grad()
    def set_recency(self, recency: float) -> None:
        """Choose the decay per place of age; > 0."""
        self.log_recency.fill_(math.log(recency))

    @property
    def has_slack(self) -> bool:
        """May items be shorter than unit length in the dimensions that users have?"""
        return self.dim > self.inner

    def embed_items(self, items: ItemFeatures) -> Tensor:
        total: Tensor | None = None
        for name in self.modalities:
            if name not in items.values:
                continue
            part = self.projection[name](items.values[name]) + self.modality_type[name]
            part = part * (self.modality_weight[name] * items.present[name])[..., None]
            total = part if total is None else total + part
        if total is None:
            raise ValueError(f"expected at least one of the modalities {self.modalities}, found {list(items.values)}")
        embedded = unit(total)
        silent = self._silent(self.refine.down_proj)
        embedded = unit(embedded if silent else embedded + self.refine(embedded))
        if not self.has_slack:
            return embedded
        worth = [self.alone[name] * items.present[name] for name in self.modalities if name in items.values]
        length = torch.stack(worth).amax(dim=0).detach()[..., None]  # a root has no slope at a length of one
        return torch.cat([embedded * length, (1 - length**2).clamp(min=0).sqrt()], dim=-1)

    def embed_places(
        self, histories: Tensor, embedded: Tensor, last_only: bool = False, wanted: Tensor | None = None
    ) -> Tensor:
        """The predicted embedding after every place of every history.

        Args:
            histories: int64 (batch, length) rows of ``embedded``, oldest first, padded on the left with -1.
            embedded: float32 (items, dim).
            last_only: whether only the last place is wanted; what the other places need is then not computed.
            wanted: int64 (places,), those of the flattened places that are wanted, likewise; None is all.

        Returns:
            float32 (batch, length, dim), or (batch, 1, dim) if ``last_only``, or (places, dim) of those ``wanted``; not
            normalised. A padding place holds nothing of use.
        """
        present = histories >= 0
        # An embedding look-up, whose backward pass is deterministic and ten times as fast as that of an index.
        items = F.embedding(histories.clamp(min=0), embedded)[..., : self.inner] * present[..., None]
        length = histories.shape[1]
        age = torch.arange(length, device=items.device)
        age = (age[:, None] - age[None, :]).float()  # (length, length): from a place back to an earlier one
        age = age[-1:] if last_only else age
        weights = torch.where(age >= 0, torch.exp(-self.recency * age.clamp(min=0)), 0.0)
        base = unit(weights @ items)
        if wanted is not None:
            base = base.flatten(0, 1).index_select(0, wanted)
        out: Tensor = base if self._silent(self.user_map) else base + self.user_map(base)
        if not self._silent(self.up):
            place = (present.cumsum(dim=1) - 1).clamp(min=0)  # positions count from the oldest item
            hidden = self.transformer(self.down(items) + self.position(place), causal_mask(present))
            hidden = hidden[:, -1:] if last_only else hidden
            if wanted is not None:
                hidden = hidden.flatten(0, 1).index_select(0, wanted)
            out = out + self.up(hidden)
        return F.pad(out, (0, 1)) if self.has_slack else out

    def _silent(self, layer: nn.Module) -> bool:
        """Whether a residual branch that ends in ``layer`` is the zero that it starts as and need not be computed.

        Where its gradients are wanted it is computed nevertheless, and so is a layer with an adapter. The answer is
        kept until the layer's parameters are written to.
        """
        if type(layer) is not nn.Linear:
            return False
        parameters = [value for value in (layer.weight, layer.bias) if value is not None]
        if torch.is_grad_enabled() and any(value.requires_grad for value in parameters):
            return False
        if any(value.is_inference() for value in parameters):  # these do not count how often they were written to
            return False
        known = self._known.get(layer)
        versions = [value._version for value in parameters]
        if known is None or known[1] != versions or any(a is not b for a, b in zip(known[0], parameters, strict=True)):
            known = self._known[layer] = (parameters, versions, not any(bool(value.any()) for value in parameters))
        return known[2]

    def embed_users(self, histories: Tensor, catalog: ItemFeatures, embedded: Tensor) -> Tensor:  # noqa: ARG002
        return self.embed_places(histories[:, -self.max_length :], embedded, last_only=True)[:, 0]

    def lora_targets(self) -> str:
        """See :class:`DualTower`. A branch that is the zero it starts as is left out: its inner layers are random, and
        low-rank updates of them cost a fifth of the time of training and gain nothing.
        """
        targets = [r"projection\.\w+\.(linear|landmarks|kernel)", "user_map"]
        if not _is_zero(self.refine.down_proj):
            targets.append(r"refine\.(up|down)_proj")
        if not _is_zero(self.up):
            targets.append(r"down|up|transformer\.blocks\.\d+\.(attention\.[qkvo]_proj|feed_forward\.(up|down)_proj)")
        return f"({'|'.join(targets)})"


def _is_zero(layer: nn.Module) -> bool:
    return type(layer) is nn.Linear and not any(bool(value.any()) for value in layer.parameters())

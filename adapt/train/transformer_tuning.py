"""Tuning a transformer text encoder on what people chose next, by LoRA.

An item is the whitened, unit-length, pooled output of the encoder; a user is the decayed mean of the items so far; the
loss is the next-item sampled softmax at every place of a window. Whitening maps are those of the untuned encoder,
fixed, so that a step moves meanings and not the scale of a catalog.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from adapt import lora
from adapt.features.normalise import Normalisation, SourceStatistics, fit_normaliser
from adapt.features.transformers import TransformersEncoder, pool
from adapt.model.gather import gather_rows, share_of
from adapt.model.losses import sampled_softmax
from adapt.seeds import generator
from adapt.train.sources import PretrainingSource
from adapt.train.static_tuning import Measured, mean_of, measure_text
from adapt.train.windows import Windows

_BUCKET = 64


@dataclass(frozen=True, eq=False)
class TokenisedSource:
    """One source as the tuned encoder reads it.

    Attributes:
        ids: the tokens of every item.
        mean, matrix: float32 (dim,) and (dim, dim), the whitening of its catalog under the untuned encoder.
        source: its histories and the cases that measure it.
        texts: of its catalog.
        windows: of its histories.
    """

    ids: Sequence[Sequence[int]]
    mean: Tensor
    matrix: Tensor
    source: PretrainingSource
    texts: Sequence[str]
    windows: Windows


def tokenised(
    encoder: TransformersEncoder, texts: Sequence[str], source: PretrainingSource, settings: Normalisation, length: int
) -> TokenisedSource:
    """Tokenise a catalog, at most ``length`` tokens a text, and fix its whitening."""
    part = source.features["text"]
    normaliser = fit_normaliser(part.values[part.present], SourceStatistics.isotropic(part.values.shape[1]), settings)
    return TokenisedSource(
        encoder.tokenizer(list(texts), truncation=True, max_length=length)["input_ids"],
        torch.from_numpy(normaliser.mean),
        torch.from_numpy(normaliser.matrix),
        source,
        texts,
        Windows(source.histories),
    )


@dataclass(frozen=True, eq=False)
class WindowBatch:
    """Windows of one source.

    Attributes:
        source: which.
        rows: int64 (distinct items,) catalog rows; ``windows`` points into it.
        windows: int64 (share of the batch, length), oldest first; -1 = nothing there.
        log_q: float32 (distinct items,), log of the expected number of times that an item is drawn into a batch.
        places: predicted places of the whole batch, divided by the number of processes that share it.
    """

    source: TokenisedSource
    rows: Sequence[int]
    windows: Tensor
    log_q: Tensor
    places: float


class TunedTransformer(nn.Module):
    """A transformer with a LoRA adapter, a decay and a temperature.

    Args:
        encoder: the untuned encoder; it is not changed.
        rank, alpha: of the adapter; see :mod:`adapt.adapters`.
        recency: decay of a history item's weight per place, at the start.
        temperature: at the start.
    """

    def __init__(
        self, encoder: TransformersEncoder, rank: int, alpha: float, recency: float, temperature: float
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.model = copy.deepcopy(encoder.model)
        lora.attach(self.model, lora_targets(self.model), rank=rank, alpha=alpha)
        self.log_recency = nn.Parameter(torch.tensor(math.log(recency)))
        self.log_temperature = nn.Parameter(torch.tensor(math.log(temperature)))

    def train(self, mode: bool = True) -> TunedTransformer:
        """The encoder stays in eval mode: no dropout, so that an untrained adapter changes nothing."""
        super().train(mode)
        self.model.eval()
        return self

    def embed(self, source: TokenisedSource, rows: Sequence[int]) -> Tensor:
        """Whitened unit embeddings of items: float32 (rows, dim)."""
        ids = [source.ids[row] for row in rows]
        order = sorted(range(len(ids)), key=lambda number: len(ids[number]))
        parts = []
        for start in range(0, len(order), _BUCKET):
            chunk = [ids[number] for number in order[start : start + _BUCKET]]
            padded = self.encoder.tokenizer.pad({"input_ids": chunk}, return_tensors="pt")
            device = self.log_recency.device
            with sdpa_kernel(SDPBackend.MATH):  # the fused kernel's backward is many times slower on a CPU in bf16
                states = self.model(**padded.to(device)).last_hidden_state
            mask = padded["attention_mask"].to(device)
            parts.append(pool(states.float(), mask, self.encoder.pooling, self.encoder.normalize))
        restored = torch.empty(len(order), dtype=torch.long)
        restored[torch.tensor(order)] = torch.arange(len(order))
        pooled = F.normalize(torch.cat(parts).index_select(0, restored.to(parts[0].device)), dim=-1)
        with torch.autocast(pooled.device.type, enabled=False):
            return F.normalize((pooled - source.mean.to(pooled)) @ source.matrix.to(pooled), dim=-1)

    def forward(self, batch: WindowBatch) -> dict[str, Tensor]:
        own = [batch.rows[place] for place in share_of(len(batch.rows)).tolist()]
        embedded = gather_rows(self.embed(batch.source, own), len(batch.rows))  # (distinct, dim)
        with torch.autocast(embedded.device.type, enabled=False):
            return self._loss(embedded, batch)

    def _loss(self, embedded: Tensor, batch: WindowBatch) -> dict[str, Tensor]:
        known = batch.windows >= 0  # (batch, length)
        items = F.embedding(batch.windows.clamp_min(0), embedded) * known[..., None]
        length = batch.windows.shape[1]
        age = torch.arange(length, device=embedded.device)
        # Without an order, every item of a history counts the same.
        decay = self.log_recency.exp() if batch.source.source.histories.ordered else self.log_recency * 0.0
        # Place t is predicted from the places before it: weight exp(-decay * (t - 1 - s)) for s < t.
        distance = (age[:, None] - 1 - age[None, :]).clamp_min(0)
        weights = torch.exp(-decay * distance) * (age[None, :] < age[:, None])  # (length, length)
        users = torch.einsum("ts,bsd->btd", weights, items)
        predicted = _predicted(known)
        states, targets = users[predicted], batch.windows[predicted]
        seen = _seen(batch.windows, predicted, len(embedded))
        temperature = self.log_temperature.exp()
        loss = sampled_softmax(states, embedded, targets, batch.log_q, None, temperature, batch.places, seen)
        return {"next_item": loss, "total": loss}


def lora_targets(model: nn.Module) -> str:
    """A regular expression that matches, in full, the linear layers of a transformer's blocks; no pooler."""
    names = [name for name, module in model.named_modules() if isinstance(module, nn.Linear) and "pooler" not in name]
    return "|".join(name.replace(".", r"\.") for name in names)


def _predicted(known: Tensor) -> Tensor:
    """Which places of windows have something before them to be predicted from: bool, of the shape of ``known``."""
    return known & (known.cumsum(dim=1) > 1)


def _seen(windows: Tensor, predicted: Tensor, count: int) -> Tensor:
    """Which items lie before each predicted place of its window: bool (predicted places, count)."""
    rows, places = predicted.nonzero(as_tuple=True)
    before = torch.arange(windows.shape[1], device=windows.device)[None, :] < places[:, None]
    items = windows[rows]
    seen = torch.zeros(len(rows), count + 1, dtype=torch.bool, device=windows.device)
    seen.scatter_(1, torch.where(before & (items >= 0), items, count), torch.ones_like(before))
    return seen[:, :count]


@dataclass(eq=False)
class TransformerTuning:
    """A task for :func:`adapt.train.loop.run_loop`.

    Attributes:
        module: what is trained.
        sources: that it is trained on.
        batch_size: windows a batch, over all processes.
        length: items of a window.
        negatives: items drawn uniformly from the catalog, beside those of the windows.
        seed: of every draw.
        settings, recency: of the training-free towers that measure.
        left_out: sources that are measured.
        mixtures: shares of the way from the untuned to the tuned weights at which they are measured.
        source_temperature: a batch comes from one source, drawn by its number of events to this power.
        measured: what :meth:`validate` found, one entry a call.
    """

    module: TunedTransformer
    sources: Sequence[TokenisedSource]
    batch_size: int
    length: int
    negatives: int
    seed: int
    settings: Normalisation
    recency: float
    left_out: Sequence[TokenisedSource] = ()
    mixtures: Sequence[float] = (1.0,)
    source_temperature: float = 0.5
    measured: list[Measured] = field(default_factory=list)

    def __post_init__(self) -> None:
        events = np.array([len(source.windows) for source in self.sources], dtype=np.float64)
        self._chance = events**self.source_temperature / (events**self.source_temperature).sum()

    def batch(self, number: int, rank: int, ranks: int, device: torch.device) -> WindowBatch:
        """Windows are shared out by rank; which items are encoded is shared out in the forward pass."""
        random = generator(self.seed, number)
        source = self.sources[int(random.choice(len(self.sources), p=self._chance))]
        windows = source.windows.draw(random, self.batch_size, self.length)
        usable = source.windows.usable
        drawn = random.choice(usable, min(self.negatives, len(usable)), replace=False)
        rows, found = np.unique(np.concatenate([windows.ravel(), drawn, [-1]]), return_inverse=True)
        inverse = torch.from_numpy(found.reshape(-1)[: windows.size].reshape(windows.shape) - 1)  # rows[0] is -1
        expected = windows.size * source.windows.frequency[rows[1:]] + len(drawn) / len(usable)
        log_q = torch.from_numpy(np.log(expected).astype(np.float32))
        places = float(_predicted(inverse >= 0).sum()) / ranks
        return WindowBatch(source, rows[1:].tolist(), inverse[rank::ranks].to(device), log_q.to(device), places)

    def validate(self) -> float | None:
        """Measure the left-out sources at each mixture; the metric follows the fully tuned encoder."""
        if not self.left_out:
            return None
        found: Measured = {source.source.name: {} for source in self.left_out}
        for share in self.mixtures:
            with lora.scaled(self.module.model, share) as model:
                encoder = replace(self.module.encoder, model=model)
                for source in self.left_out:
                    values = encoder.encode(source.texts)
                    score = measure_text(values, source.source, self.settings, self.recency)
                    found[source.source.name][share] = {"text": score}
        self.measured.append(found)
        return mean_of(found, max(self.mixtures))

"""Tuning a static text table on what people chose next: word meanings that hold beyond one catalog.

The table's rows are the only weights. An item is the whitened, unit-length mean of its tokens' rows; a user is the
decayed mean of the last items; the loss is the next-item sampled softmax. Whitening maps are those of the untuned
table, fixed, so that a step moves meanings and not the scale of a catalog.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from adapt.features.normalise import Normalisation, SourceStatistics, fit_normaliser
from adapt.features.static import StaticEncoder
from adapt.model.content import ContentTowers
from adapt.model.gather import gather_rows, share_of
from adapt.model.losses import sampled_softmax
from adapt.seeds import generator
from adapt.train.pretraining import Views
from adapt.train.sources import PretrainingSource, RawFeatures, measure, normalised
from adapt.train.windows import Events

Measured = dict[str, dict[float, Views]]
"""Left-out source -> mixture -> view -> NDCG@10 of each case."""


@dataclass(frozen=True, eq=False)
class TokenLists:
    """The tokens of every item of one source.

    Attributes:
        tokens: int64 (all tokens,), item after item.
        offsets: int64 (items + 1,).
        mean, matrix: float32, the whitening of the source's catalog under the untuned table.
        source: whose histories are read.
    """

    tokens: Tensor
    offsets: Tensor
    mean: Tensor
    matrix: Tensor
    source: PretrainingSource

    def embed(self, table: Tensor, rows: Tensor) -> Tensor:
        """Unit embeddings of items: float32 (rows, dim)."""
        lengths = self.offsets[rows + 1] - self.offsets[rows]
        starts = torch.cat([torch.zeros(1, dtype=torch.long), lengths.cumsum(0)[:-1]])
        places = torch.arange(int(lengths.sum())) - (starts - self.offsets[rows]).repeat_interleave(lengths)
        bags = F.embedding_bag(self.tokens[places], table, starts, mode="mean")
        return F.normalize((F.normalize(bags, dim=-1) - self.mean) @ self.matrix, dim=-1)


def token_lists(
    encoder: StaticEncoder, texts: Sequence[str], source: PretrainingSource, settings: Normalisation
) -> TokenLists:
    """Tokenise a source's catalog and fix its whitening."""
    tokens, offsets = map(torch.from_numpy, encoder.known_tokens(texts))
    part = source.features["text"]
    prior = SourceStatistics.isotropic(part.values.shape[1])
    normaliser = fit_normaliser(part.values[part.present], prior, settings)
    return TokenLists(tokens, offsets, torch.from_numpy(normaliser.mean), torch.from_numpy(normaliser.matrix), source)


@dataclass(frozen=True)
class ContextBatch:
    """Contexts and the items that followed.

    Attributes:
        lists: the source.
        rows: int64 (distinct items,) catalog rows; the other arrays point into it.
        contexts: int64 (share of the batch, length), newest first.
        known: bool (share of the batch, length), whether a place of a context holds an item.
        targets: int64 (share of the batch,), which of the candidates followed each context.
        candidates: int64 (candidates,), the targets of the whole batch first.
        log_q: float32 (candidates,).
        places: contexts of the whole batch, divided by the number of processes that share it.
    """

    lists: TokenLists
    rows: Tensor
    contexts: Tensor
    known: Tensor
    targets: Tensor
    candidates: Tensor
    log_q: Tensor
    places: float


class TunedTable(nn.Module):
    """The rows of a static table, a decay and a temperature."""

    def __init__(self, table: NDArray[np.float32], recency: float, temperature: float) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.from_numpy(table.copy()))
        self.log_recency = nn.Parameter(torch.tensor(math.log(recency)))
        self.log_temperature = nn.Parameter(torch.tensor(math.log(temperature)))

    def forward(self, batch: ContextBatch) -> dict[str, Tensor]:
        own = batch.rows[share_of(len(batch.rows))]
        embedded = gather_rows(batch.lists.embed(self.table, own), len(batch.rows))
        age = torch.arange(batch.contexts.shape[1])
        # Without an order, every item of a context counts the same.
        decay = self.log_recency.exp() if batch.lists.source.histories.ordered else torch.zeros(())
        weights = torch.exp(-decay * age) * batch.known
        contexts = F.embedding(batch.contexts, embedded)  # (batch, length, dim); see embed_places
        users = F.normalize((contexts * weights[..., None]).sum(dim=1), dim=-1)
        loss = sampled_softmax(
            users,
            F.embedding(batch.candidates, embedded),
            batch.targets,
            batch.log_q,
            batch.candidates,
            self.log_temperature.exp(),
            batch.places,
        )
        return {"next_item": loss, "total": loss}


@dataclass(eq=False)
class StaticTuning:
    """A task for :func:`adapt.train.loop.run_loop`.

    Attributes:
        module: what is trained.
        sources: that it is trained on.
        batch_size: contexts a batch; as many further candidates are drawn uniformly.
        length: items of a context.
        seed: of every draw.
        left_out: sources that are measured, with the texts of their catalogs.
        encoder: the untuned encoder.
        settings: normalisation under which the left-out source is measured.
        mixtures: shares of the way from the untuned to the tuned table at which they are measured.
        source_temperature: a batch comes from one source, drawn by its number of events to this power.
        measured: what :meth:`validate` found, one entry a call.
    """

    module: TunedTable
    sources: Sequence[TokenLists]
    batch_size: int
    length: int
    seed: int
    encoder: StaticEncoder
    settings: Normalisation
    recency: float
    left_out: Sequence[tuple[PretrainingSource, Sequence[str]]] = ()
    mixtures: Sequence[float] = (1.0,)
    source_temperature: float = 0.5
    measured: list[Measured] = field(default_factory=list)

    def __post_init__(self) -> None:
        events = np.array([len(lists.source.histories.items) for lists in self.sources], dtype=np.float64)
        self._chance = events**self.source_temperature / (events**self.source_temperature).sum()
        self._events = [_Contexts(lists.source.histories) for lists in self.sources]

    def batch(self, number: int, rank: int, ranks: int, device: torch.device) -> ContextBatch:  # noqa: ARG002
        """Contexts are shared out by rank; which items are embedded is shared out in the forward pass."""
        random = generator(self.seed, number)
        chosen = int(random.choice(len(self.sources), p=self._chance))
        contexts, known, targets = self._events[chosen].draw(random, self.batch_size, self.length)
        lists = self.sources[chosen]
        usable = np.flatnonzero(lists.source.histories.usable)
        drawn = usable[random.integers(len(usable), size=self.batch_size)]
        candidates = np.concatenate([targets, drawn])
        rows, places = np.unique(np.concatenate([contexts.ravel(), candidates]), return_inverse=True)
        inverse = torch.from_numpy(places.reshape(-1))
        expected = self.batch_size * (self._events[chosen].frequency[candidates] + 1 / len(usable))
        return ContextBatch(
            lists,
            torch.from_numpy(rows.astype(np.int64)),
            inverse[: contexts.size].view(*contexts.shape)[rank::ranks],
            torch.from_numpy(known[rank::ranks]),
            torch.arange(rank, self.batch_size, ranks),
            inverse[contexts.size :],
            torch.from_numpy(np.log(expected).astype(np.float32)),
            self.batch_size / ranks,
        )

    def validate(self) -> float | None:
        """Measure the left-out sources with the table at each mixture; the metric follows the fully tuned one."""
        if not self.left_out:
            return None
        tuned = self.module.table.detach().numpy()
        tables = {share: self.encoder.table + share * (tuned - self.encoder.table) for share in self.mixtures}
        found: Measured = {
            source.name: {share: {"text": self.measure(table, source, texts)} for share, table in tables.items()}
            for source, texts in self.left_out
        }
        self.measured.append(found)
        return mean_of(found, max(self.mixtures))

    def measure(
        self, table: NDArray[np.float32], source: PretrainingSource, texts: Sequence[str]
    ) -> NDArray[np.float64]:
        """NDCG@10 of each case of a source with a table, by the training-free towers."""
        return measure_text(replace(self.encoder, table=table).encode(texts), source, self.settings, self.recency)


def measure_text(
    values: NDArray[np.float32], source: PretrainingSource, settings: Normalisation, recency: float
) -> NDArray[np.float64]:
    """NDCG@10 of each case of a source with text features, by the training-free towers.

    Args:
        values: float32 (items, dim).
        source: whose cases are measured.
        settings: of the whitening, with statistics of this catalog alone.
        recency: decay of a history item's weight per place.
    """
    width = values.shape[1]
    text_only = replace(source, features={"text": RawFeatures(values, source.features["text"].present)})
    towers = ContentTowers({"text": width}, shared=width, depth=0).eval()
    towers.set_recency(recency)
    prior = {"text": SourceStatistics.isotropic(width)}
    return measure(towers, source, normalised(text_only, prior, {"text": settings}))


def mean_of(found: Measured, share: float) -> float:
    """Mean over left-out sources of their NDCG@10 at one mixture."""
    return float(np.mean([views[share]["text"].mean() for views in found.values()]))


class _Contexts(Events):
    """Draws what a user met before an event."""

    def draw(
        self, random: np.random.Generator, size: int, length: int
    ) -> tuple[NDArray[np.int64], NDArray[np.bool_], NDArray[np.int64]]:
        """Contexts (size, length), newest first or in random order, which places are known, and targets (size,)."""
        events = random.choice(self.last, size)
        if self.ordered:
            places = events[:, None] - 1 - np.arange(length)
            known = places >= self.start[events][:, None]
        else:
            span = (self.end - self.start)[events][:, None]
            places = self.start[events][:, None] + (random.random((size, length)) * span).astype(np.int64)
            known = self.items[places] != self.items[events][:, None]
        contexts = self.items[np.where(known, places, events[:, None])]
        return contexts, known, self.items[events]

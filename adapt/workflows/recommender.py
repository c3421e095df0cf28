"""A recommender for one catalog: user histories, items and free text in, ranked items out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from adapt.data.catalog import Dataset, Interactions
from adapt.errors import DataError, UsageError
from adapt.hub.format import Checkpoint
from adapt.index import Index, build_index, save_index
from adapt.index.calibrate import Choice
from adapt.index.engine import RemoteSettings
from adapt.index.table import used_columns
from adapt.model.inference import embed_users
from adapt.model.items import ItemFeatures
from adapt.progress import SILENT, Progress
from adapt.shards import Work, is_mapped, plan, release, taken
from adapt.top import top_k
from adapt.workflows.embedding import EmbeddedCatalog, embed_catalog

_BLOCK_BYTES = 32 << 20


@dataclass(frozen=True)
class Recommendations:
    """One ranked list.

    Attributes:
        key: the user's id, the query item's id, the query text, or ``"history"`` for an ad-hoc history.
        item_ids: best first; fewer than asked for when fewer are allowed.
        scores: not increasing; what they are is for the recommender to say.
    """

    key: str
    item_ids: tuple[str, ...]
    scores: tuple[float, ...]


class Recommender(ABC):
    """What every recommender can do: the command line, evaluation, reports and the service know only this.

    Attributes:
        method: zero-shot, few-shot, fine-tuned or fused.
        checkpoint: the towers in use.
        dataset: the data set.
        embedded: the catalog in the checkpoint's space.
        index: over the usable items.
    """

    method: str
    fingerprint: str = ""
    """Of what was fitted beside the checkpoint; "" = nothing was."""
    needs_history: ClassVar[bool] = True
    """Whether a user without any usable item in the history gets an error instead of a list."""

    def __init__(self, checkpoint: Checkpoint, dataset: Dataset, embedded: EmbeddedCatalog, index: Index) -> None:
        self.checkpoint = checkpoint
        self.dataset = dataset
        self.embedded = embedded
        self.index = index
        self._catalog_row = np.flatnonzero(embedded.usable)
        self._index_row = np.full(len(embedded.usable), -1, dtype=np.int64)
        self._index_row[self._catalog_row] = np.arange(len(self._catalog_row))

    def recommend(
        self,
        *,
        history: Sequence[str] | None = None,
        users: Sequence[str] | None = None,
        k: int = 10,
        keep_seen: bool = False,
    ) -> list[Recommendations]:
        """Items that an ad-hoc user or users of the data set may want next.

        Args:
            history: item ids, oldest first; or
            users: user ids of the data set.
            k: how many items.
            keep_seen: whether items of the history may be recommended.

        Returns:
            One list per user, in the order asked for.

        Raises:
            UsageError: neither or both of ``history`` and ``users`` are given, or one is a string.
            DataError: an id is unknown, or a history holds no usable item.
        """
        if (history is None) == (users is None):
            raise UsageError("expected either a history or users, found " + ("neither" if history is None else "both"))
        if isinstance(history, str) or isinstance(users, str):
            raise UsageError(f"expected a sequence of ids, found one string: {history or users!r}")
        if history is not None:
            keys = ["history"]
            rows: list[NDArray[np.integer]] = [self.dataset.catalog.rows(history)]
        else:
            keys = list(users or ())
            rows = [self.history_of(user) for user in keys]
        for key, row in zip(keys, rows, strict=True):
            if self.needs_history and not self.embedded.usable[row].any():
                raise DataError(
                    f"expected at least one item with usable features in the history of {key!r}, found none"
                )
        found, scores = self.search_histories(rows, k, keep_seen=keep_seen)
        return [self._list(key, found[row], scores[row]) for row, key in enumerate(keys)]

    def forgetting(self, known: Interactions) -> Recommender | None:
        """The same recommender as if it knew only these interactions; None where it cannot forget what it learned."""
        del known
        return self

    def explained(self) -> tuple[str, ...]:
        """Sentences on what the scores are made of, beyond content."""
        return ()

    def facts(self) -> dict[str, Any]:
        """What ``run.json`` keeps of how the scores are made, ready for JSON."""
        return {}

    def history_of(self, user: str) -> NDArray[np.integer]:
        """Catalog rows of the items of a user of the data set, oldest first.

        Raises:
            DataError: the data set has no interactions, or no such user.
        """
        if self.dataset.interactions is None:
            raise DataError("expected a data set with interactions, found items only", "Pass a history instead.")
        return self.dataset.interactions.history(self.dataset.interactions.user(user))

    def similar(self, item_id: str, k: int = 10) -> Recommendations:
        """The items closest to an item of the catalog, itself left out.

        Raises:
            DataError: the id is unknown, or the item has no usable feature.
        """
        row = self.dataset.catalog.row(item_id)
        if not self.embedded.usable[row]:
            raise DataError(f"expected an item with usable features, found {item_id!r} without any")
        found, scores = self.search_items(np.array([row]), k)
        return self._list(item_id, found[0], scores[0])

    def search(self, text: str, k: int = 10) -> Recommendations:
        """The items closest to a free text, pictures included: the space is shared.

        Raises:
            UsageError: the checkpoint reads no text, the catalog has none to normalise against, or the encoder knows
                nothing of the text.
        """
        encoder = self.embedded.encoders.get("text")
        if encoder is None or not text.strip():
            raise UsageError(
                "expected a text, and a catalog whose text the checkpoint reads; found none",
                "Search by history or by item instead.",
            )
        encoded = encoder.encode([text])
        if not encoded.any():
            raise UsageError(f"expected a text with words that the encoder knows, found {text!r}")
        query = self.embedded.normalisers["text"](encoded)
        items = ItemFeatures({"text": torch.from_numpy(query)}, {"text": torch.ones(1, dtype=torch.bool)})
        with torch.inference_mode():
            device = next(self.checkpoint.towers.parameters()).device
            embedded = torch.nn.functional.normalize(self.checkpoint.towers.embed_items(items.to(device)), dim=-1)
        found, scores = self._search(embedded.cpu().numpy(), k, None)
        return self._list(text, found[0], scores[0])

    @abstractmethod
    def score_histories(self, histories: Sequence[NDArray[np.integer]]) -> NDArray[np.float32]:
        """The score of every item for every history, seen items too; ``-inf`` where an item is no candidate.

        Args:
            histories: catalog rows of each user, oldest first. One without a usable item says nothing of its user.

        Returns:
            float32 (histories, items); it takes four bytes for each: ask in blocks.
        """

    def search_histories(
        self, histories: Sequence[NDArray[np.integer]], k: int, *, keep_seen: bool = False
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Ranked catalog rows for many histories of catalog rows.

        Returns:
            int64 (histories, k) catalog rows padded with -1, and float32 scores padded with -inf; equal scores in the
            order of rows.
        """
        rows = np.full((len(histories), k), -1, np.int64)
        scores = np.full((len(histories), k), -np.inf, np.float32)
        block = max(1, _BLOCK_BYTES // (4 * max(1, len(self.embedded.usable))))
        for start in range(0, len(histories), block):
            some = histories[start : start + block]
            values = self.score_histories(some)
            if not keep_seen:
                owner = np.repeat(np.arange(len(some)), [len(history) for history in some])
                values[owner, np.concatenate([np.zeros(0, np.int64), *some]).astype(np.int64)] = -np.inf
            rows[start : start + block], scores[start : start + block] = top_k(values, k)
        return rows, scores

    def search_items(self, rows: NDArray[np.integer], k: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Ranked catalog rows similar to usable items of the catalog, each item left out of its own list."""
        return self._search(self.embedded.embeddings[rows], k, [self._index_row[[row]] for row in rows])

    def save(self, folder: str | Path) -> None:
        """Write the index of item embeddings; :func:`adapt.index.load_index` reads it back.

        Raises:
            OutputError: the folder exists with files in it, or cannot be written.
        """
        save_index(self.index, folder, self.checkpoint.sha256)

    def _search(
        self, queries: NDArray[np.float32], k: int, exclude: Sequence[NDArray[np.int64]] | None
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        result = self.index.search(queries, k, exclude=exclude)
        rows = np.where(result.rows >= 0, self._catalog_row[result.rows], -1)
        return rows, result.scores

    def _list(self, key: str, rows: NDArray[np.int64], scores: NDArray[np.float32]) -> Recommendations:
        ids = tuple(self.dataset.catalog.ids[row] for row in rows if row >= 0)
        return Recommendations(key, ids, tuple(float(score) for score in scores[: len(ids)]))


class ZeroShotRecommender(Recommender):
    """Recommends with nothing fitted on the catalog's interactions; made by :func:`zero_shot`. Scores are cosines."""

    method = "zero-shot"

    @property
    def usable(self) -> NDArray[np.bool_]:
        """bool (items,): the candidates."""
        return self.embedded.usable

    @cached_property
    def used(self) -> NDArray[np.int64]:
        """The dimensions of an embedding that some item of the catalog has something in: the others say nothing."""
        return used_columns(self.embedded.embeddings)

    @cached_property
    def _narrow(self) -> NDArray[np.float32]:
        """The catalog in the dimensions that it uses: float32 (items, used), contiguous."""
        return np.ascontiguousarray(self.embedded.embeddings[:, self.used])

    def states(self, histories: Sequence[NDArray[np.integer]]) -> NDArray[np.float32]:
        """What the user tower predicts after each history, in the dimensions that the catalog uses.

        Returns:
            float32 (histories, used); unit rows before dimensions were left out. The row of a history without a usable
            item is zero.
        """
        usable = [history[self.embedded.usable[history]] for history in histories]
        there = [number for number, history in enumerate(usable) if len(history)]
        states = np.zeros((len(usable), len(self.used)), np.float32)
        if there:
            found = embed_users(
                self.checkpoint.towers, [usable[n] for n in there], self.embedded.items, self.embedded.embeddings
            )
            states[there] = found[:, self.used]
        return states

    def score_states(self, states: NDArray[np.float32]) -> NDArray[np.float32]:
        """The cosine of every item with each state: float32 (states, items), ``-inf`` where an item is no candidate."""
        scores: NDArray[np.float32]
        embeddings = self.embedded.embeddings
        if is_mapped(embeddings):
            scores = np.empty((len(states), len(embeddings)), np.float32)
            for shard in plan(len(embeddings)):
                scores[:, shard.rows] = states @ embeddings[shard.rows][:, self.used].T
                release(embeddings)
        else:
            scores = states @ self._narrow.T
        scores[:, ~self.embedded.usable] = -np.inf
        return scores

    def score_histories(self, histories: Sequence[NDArray[np.integer]]) -> NDArray[np.float32]:
        return self.score_states(self.states(histories))

    def search_histories(
        self, histories: Sequence[NDArray[np.integer]], k: int, *, keep_seen: bool = False
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Ranked catalog rows for histories that each hold a usable item, by the index; see the base class."""
        usable = [history[self.embedded.usable[history]] for history in histories]
        states = embed_users(self.checkpoint.towers, usable, self.embedded.items, self.embedded.embeddings)
        return self._search(states, k, None if keep_seen else [self._index_row[history] for history in usable])


def zero_shot(
    checkpoint: Checkpoint,
    dataset: Dataset,
    *,
    index: Choice | RemoteSettings = "auto",
    allow_download: bool = False,
    device: str = "cpu",
    seed: int = 0,
    progress: Progress = SILENT,
    work: Work | None = None,
) -> ZeroShotRecommender:
    """A recommender for a data set from a checkpoint, with nothing fitted on the data set's interactions.

    Args:
        checkpoint: pretrained towers.
        dataset: read by :func:`adapt.load_dataset`.
        index: exact search, HNSW, or whichever suits the size; or the settings of an engine elsewhere, whose collection
            goes with the recommender's index.
        allow_download: whether an encoder may be fetched from the Hub.
        device: where encoders and towers run.
        seed: of the graph of an HNSW index.
        progress: told the items encoded and indexed.
        work: where matrices lie that do not fit memory, and what is told how long each stage takes.

    Raises:
        CheckpointError: an encoder does not fit the checkpoint or cannot be had.
        DataError: no item is usable.
    """
    work = work or Work()
    embedded = embed_catalog(
        checkpoint, dataset.catalog, allow_download=allow_download, device=device, progress=progress, work=work
    )
    with work.stages.stage("index", int(embedded.usable.sum()), "items"):
        searched = index_of(dataset, embedded, index, seed, progress, checkpoint.sha256)
    return ZeroShotRecommender(checkpoint, dataset, embedded, searched)


def index_of(
    dataset: Dataset,
    embedded: EmbeddedCatalog,
    kind: Choice | RemoteSettings = "auto",
    seed: int = 0,
    progress: Progress = SILENT,
    fingerprint: str = "",
) -> Index:
    """The index over the usable items of a catalog that was embedded by the model with a fingerprint."""
    options: dict[str, Any] = {"kind": kind, "seed": seed, "progress": progress, "fingerprint": fingerprint}
    if embedded.usable.all():  # what is mapped stays where it is
        return build_index(dataset.catalog.ids, embedded.embeddings, **options)
    rows = np.flatnonzero(embedded.usable)
    ids = [dataset.catalog.ids[row] for row in rows]
    return build_index(ids, taken(embedded.embeddings, rows), **options)

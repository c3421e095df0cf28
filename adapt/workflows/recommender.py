"""A recommender for one catalog: user histories, items and free text in, ranked items out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from adapt.data.catalog import Dataset
from adapt.errors import DataError, UsageError
from adapt.hub.format import Checkpoint
from adapt.index import Index, build_index, save_index
from adapt.model.inference import embed_users
from adapt.model.items import ItemFeatures
from adapt.progress import SILENT, Progress
from adapt.workflows.embedding import EmbeddedCatalog, embed_catalog


@dataclass(frozen=True)
class Recommendations:
    """One ranked list.

    Attributes:
        key: the user's id, the query item's id, the query text, or ``"history"`` for an ad-hoc history.
        item_ids: best first; fewer than asked for when fewer are allowed.
        scores: cosine similarity of the embeddings, not increasing.
    """

    key: str
    item_ids: tuple[str, ...]
    scores: tuple[float, ...]


class ZeroShotRecommender:
    """Recommends from a catalog with nothing fitted on its interactions; made by :func:`zero_shot`.

    Attributes:
        checkpoint: the towers in use.
        dataset: the data set.
        embedded: the catalog in the checkpoint's space.
        index: over the usable items.
    """

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
            if self.dataset.interactions is None:
                raise DataError("expected a data set with interactions, found items only", "Pass a history instead.")
            keys = list(users or ())
            rows = [self.dataset.interactions.history(self.dataset.interactions.user(user)) for user in keys]
        for key, row in zip(keys, rows, strict=True):
            if not self.embedded.usable[row].any():
                raise DataError(
                    f"expected at least one item with usable features in the history of {key!r}, found none"
                )
        found, scores = self.search_histories(rows, k, keep_seen=keep_seen)
        return [self._list(key, found[row], scores[row]) for row, key in enumerate(keys)]

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

    def search_histories(
        self, histories: Sequence[NDArray[np.integer]], k: int, *, keep_seen: bool = False
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Ranked catalog rows for many histories of catalog rows, each with at least one usable item.

        Returns:
            int64 (histories, k) catalog rows padded with -1, and float32 scores padded with -inf.
        """
        usable = [history[self.embedded.usable[history]] for history in histories]
        states = embed_users(self.checkpoint.towers, usable, self.embedded.items, self.embedded.embeddings)
        return self._search(states, k, None if keep_seen else [self._index_row[history] for history in usable])

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


def zero_shot(
    checkpoint: Checkpoint,
    dataset: Dataset,
    *,
    index: Literal["auto", "exact", "hnsw"] = "auto",
    allow_download: bool = False,
    device: str = "cpu",
    seed: int = 0,
    progress: Progress = SILENT,
) -> ZeroShotRecommender:
    """A recommender for a data set from a checkpoint, with nothing fitted on the data set's interactions.

    Args:
        checkpoint: pretrained towers.
        dataset: read by :func:`adapt.load_dataset`.
        index: exact search, HNSW, or whichever suits the size.
        allow_download: whether an encoder may be fetched from the Hub.
        device: where encoders and towers run.
        seed: of the graph of an HNSW index.
        progress: told the items encoded and indexed.

    Raises:
        CheckpointError: an encoder does not fit the checkpoint or cannot be had.
        DataError: no item is usable.
    """
    embedded = embed_catalog(
        checkpoint, dataset.catalog, allow_download=allow_download, device=device, progress=progress
    )
    rows = np.flatnonzero(embedded.usable)
    ids = [dataset.catalog.ids[row] for row in rows]
    built = build_index(ids, embedded.embeddings[rows], kind=index, seed=seed, progress=progress)
    return ZeroShotRecommender(checkpoint, dataset, embedded, built)

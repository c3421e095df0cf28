"""An index that follows its catalog: searched by any number of threads and processes, changed by one at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from adapt.data.catalog import Catalog
from adapt.errors import CheckpointError, DataError, UsageError
from adapt.index.base import SearchResult
from adapt.index.calibrate import Choice
from adapt.index.carry import asked_of, settle
from adapt.index.changes import delete, has_grown, put
from adapt.index.diversity import POOL, diversify
from adapt.index.engine import RemoteSettings
from adapt.index.generations import DEFAULT_WAIT, Generations, Writer
from adapt.index.segments import DENSE_BYTES
from adapt.index.snapshot import Snapshot
from adapt.progress import SILENT, Progress
from adapt.workflows.index_build import embedded_items, items_report
from adapt.workflows.index_model import FrozenNormalisation, IndexModel, load_model, usable_rows
from adapt.workflows.index_place import index_folder, refuse_cached
from adapt.workflows.index_rows import rows_of_history, selected
from adapt.workflows.index_sharing import IndexHubMixin
from adapt.workflows.index_types import DEFAULTS, Change, Hits, SearchOptions
from adapt.workflows.index_upkeep import recalibrate, rewrite

__all__ = ["Change", "Hits", "LivingIndex", "SearchOptions"]


@dataclass(eq=False)
class LivingIndex(IndexHubMixin):
    """An open index.

    Every search sees one generation whole; :meth:`reload` goes on to the one that counts now. Changes are on disk when
    the call returns. Every method may be called from several threads.

    Attributes:
        folder: of the index.
        snapshot: the generation that is searched.
        checkpoint, run: where the model is, instead of where the index was built from.
        allow_download: whether an encoder may be fetched from the Hub.
        device: where encoders and towers run.
        progress: told what takes long.
        dense_bytes: memory for float32 copies of embeddings that are stored in fewer bytes; see
            :class:`adapt.index.snapshot.Snapshot`.
    """

    folder: Generations
    snapshot: Snapshot
    checkpoint: str = ""
    run: str = ""
    allow_download: bool = False
    device: str = "cpu"
    progress: Progress = SILENT
    dense_bytes: int = DENSE_BYTES
    _model: tuple[str, IndexModel] | None = None
    _swap: threading.Lock = field(default_factory=threading.Lock)

    @classmethod
    def open(
        cls,
        path: str | Path,
        *,
        checkpoint: str = "",
        run: str = "",
        allow_download: bool = False,
        device: str = "cpu",
        progress: Progress = SILENT,
        dense_bytes: int = DENSE_BYTES,
    ) -> LivingIndex:
        """Open an index.

        Args:
            path: its folder, or ``org/name[@revision]`` on the Hub, to be read only.
            checkpoint: reference of the checkpoint to ask with, or
            run: folder of the fine-tuned run; empty = what the index itself names.
            allow_download: whether an encoder may be fetched from the Hub.
            device: where encoders and towers run.
            progress: told where a graph is built.
            dense_bytes: memory for float32 copies of embeddings that are stored in fewer bytes.

        Raises:
            CheckpointError: there is no index, it is damaged, or it belongs to another model; says both fingerprints.
            UsageError: both ``checkpoint`` and ``run`` are given.
        """
        if checkpoint and run:
            raise UsageError("expected a checkpoint or a run, found both")
        folder = Generations(index_folder(path))
        now = Snapshot.open(folder, progress=progress, dense_bytes=dense_bytes)
        opened = cls(folder, now, checkpoint, run, allow_download, device, progress, dense_bytes)
        if checkpoint or run:
            _ = opened.model
        return opened

    def reload(self) -> bool:
        """Go on to the generation that counts now; True where it is another one.

        Raises:
            CheckpointError: it is damaged; the one before stays open.
        """
        with self._swap:
            now = self.folder.pointer()
            if now is not None and now.generation == self.snapshot.generation:
                return False
            self.snapshot = Snapshot.open(self.folder, self.snapshot, self.progress, self.dense_bytes)
            return True

    @property
    def model(self) -> IndexModel:
        """Towers, encoders and the frozen maps of the open generation, loaded when first needed.

        Raises:
            CheckpointError: the model cannot be had, is another one, or the index keeps no maps.
        """
        return self._model_of(self.snapshot)

    def by_history(self, history: Sequence[str], options: SearchOptions = DEFAULTS) -> Hits:
        """What a user with this history, oldest first, may want next; see :meth:`by_histories`."""
        return self.by_histories([history], options)[0]

    def by_histories(self, histories: Sequence[Sequence[str]], options: SearchOptions = DEFAULTS) -> list[Hits]:
        """What users may want next.

        Args:
            histories: ids, oldest first; those that the index does not hold are not read.
            options: what an answer may hold.

        Raises:
            DataError: the index holds no item of a history.
            UsageError: a history is a string, or an option does not fit.
        """
        now = self.snapshot
        known = []
        for history in histories:
            if isinstance(history, str):
                raise UsageError(f"expected a history as a sequence of ids, found one string: {history!r}")
            known.append(rows_of_history(now, history))
        if not known:
            return []
        states = self.states_of(now, known)
        found = self.answer(now, states, known, options)
        unknown = [tuple(item_id for item_id in history if item_id not in now) for history in histories]
        return [self._hits(now, "history", *lists, missing) for lists, missing in zip(found, unknown, strict=True)]

    def by_item(self, item_id: str, options: SearchOptions = DEFAULTS) -> Hits:
        """The items closest to an item of the index.

        Raises:
            DataError: the index does not hold it.
        """
        now = self.snapshot
        row = np.array([now.row(item_id)])
        query = self._model_of(now).as_queries(now.vectors.take(row))
        (found,) = self.answer(now, query, [row], options)
        return self._hits(now, item_id, *found)

    def by_text(self, text: str, options: SearchOptions = DEFAULTS) -> Hits:
        """The items closest to a free text, pictures included.

        Raises:
            UsageError: the model reads no text, or knows nothing of this one.
        """
        now = self.snapshot
        (found,) = self.answer(now, self._model_of(now).text(text), [np.zeros(0, np.int64)], options)
        return self._hits(now, text, *found)

    def by_image(self, path: str | Path, options: SearchOptions = DEFAULTS) -> Hits:
        """The items closest to a picture, texts included.

        Raises:
            UsageError: the model reads no images.
            DataError: the file is not a picture that can be decoded.
        """
        now = self.snapshot
        (found,) = self.answer(now, self._model_of(now).image(Path(path)), [np.zeros(0, np.int64)], options)
        return self._hits(now, str(path), *found)

    def add(self, catalog: Catalog, *, whole: bool = False, wait: float = DEFAULT_WAIT) -> Change:
        """Add items; one whose id is there is replaced by what ``catalog`` says of it. Only these items are encoded.

        Args:
            catalog: the items, with text, images or both.
            whole: refuse all where one has no usable feature, instead of leaving that one out.
            wait: seconds to wait for another writer.

        Raises:
            DataError: no item has a usable feature.
            UsageError: another process is changing the index.
            OutputError: it cannot be written; nothing has changed then.
        """
        features = self.model.encode(catalog, self.progress)
        rows = usable_rows(features)
        report = items_report(catalog, features, rows)
        if whole and report.left_out:
            raise DataError(
                f"expected items with a usable feature, found {report.left_out[0]!r} with none",
                "Its text holds no word that the encoder knows, and it has no picture that the model reads.",
            )
        if not len(rows):
            raise DataError(
                f"expected at least one item with a usable feature, found none among {len(catalog)} items",
                "`adapt data check` shows what was found; --text-col and --image-col name the columns.",
            )

        def change(writer: Writer, now: Snapshot) -> Change:
            items, _ = embedded_items(self._model_of(now), catalog, features, rows, now.description.storage)
            added, replaced = put(writer, now, items)
            return Change("", 0, added, replaced, 0, report)

        return self._write(change, wait)

    def remove(self, ids: Iterable[str], *, wait: float = DEFAULT_WAIT) -> Change:
        """Remove items; all or none of them.

        Raises:
            DataError: the index does not hold one of them.
            UsageError: another process is changing the index.
            OutputError: it cannot be written; nothing has changed then.
        """
        distinct = list(dict.fromkeys(ids))

        def change(writer: Writer, now: Snapshot) -> Change:
            delete(writer, now, distinct)
            return Change("", 0, removed=len(distinct))

        return self._write(change, wait)

    def compact(self, *, refit: bool = False, wait: float = DEFAULT_WAIT) -> Change:
        """Rewrite the index without deleted items, and measure its recall again.

        Args:
            refit: estimate the normalisation anew on the items that are there, and embed all of them again from the
                features that the index keeps; nothing is encoded.
            wait: seconds to wait for another writer.

        Raises:
            UsageError: another process is changing the index, or ``refit`` does not fit its model.
            OutputError: it cannot be written; nothing has changed then.
        """

        def change(writer: Writer, now: Snapshot) -> Change:
            rewrite(writer, now, lambda: self._model_of(now), refit=refit, progress=self.progress)
            return Change("", 0, recalibrated=True)

        return self._write(change, wait)

    def move(self, to: Choice | RemoteSettings = "auto", *, wait: float = DEFAULT_WAIT) -> Change:
        """Have another engine search; ids, embeddings, columns, features and model stay bit for bit what they are.

        The engine of before is not asked for anything, so that an index can also leave one that was lost.

        Args:
            to: how this machine searches, or the settings of the engine elsewhere.
            wait: seconds to wait for another writer.

        Raises:
            EngineError: the new engine is away or refuses; nothing has changed then.
            UsageError: another process is changing the index.
            OutputError: it cannot be written; nothing has changed then.
        """

        def change(writer: Writer, now: Snapshot) -> Change:
            if isinstance(to, RemoteSettings):
                wanted = replace(now.description, remote=asked_of(to, self.folder.path))
            else:
                wanted = replace(now.description, choice=to, remote=None)
            rewrite(writer, now, lambda: self._model_of(now), search=wanted, progress=self.progress)
            return Change("", 0, recalibrated=True)

        return self._write(change, wait)

    def _write(self, change: Callable[[Writer, Snapshot], Change], wait: float) -> Change:
        """Make a change as the only writer, measure recall again where the index has grown enough, and reload."""
        if self.folder.pointer() is None:
            raise CheckpointError(f"expected an index in {self.folder.path}, found none")
        refuse_cached(self.folder.path)
        with self.folder.writing(wait) as writer:
            self.reload()
            graph, engine = self.snapshot.description.graph, self.snapshot.description.remote
            done = change(writer, self.snapshot)
            self.reload()
            if has_grown(self.snapshot.description):
                recalibrate(writer, self.snapshot, lambda: self._model_of(self.snapshot), self.progress)
                done = replace(done, recalibrated=True)
                self.reload()
            if self.snapshot.description.graph != graph and not done.recalibrated:
                self.snapshot.keep_graph(self.progress)
            settle(writer, self.snapshot, left=engine, progress=self.progress)
            return replace(done, generation=self.snapshot.generation, count=len(self.snapshot))

    def states_of(self, now: Snapshot, histories: Sequence[NDArray[np.int64]]) -> NDArray[np.float32]:
        """What the user tower predicts after each history, of rows of a snapshot, at least one: float32 (n, dim)."""
        rows, place = np.unique(np.concatenate(histories), return_inverse=True)
        local = np.split(place.astype(np.int64), np.cumsum([len(history) for history in histories])[:-1])
        model = self._model_of(now)
        features = now.features(rows) if model.reads_history_features else {}
        return model.states(local, features, now.vectors.take(rows))

    def as_queries(self, now: Snapshot, embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
        """Item embeddings as users would ask; see :meth:`IndexModel.as_queries`."""
        return self._model_of(now).as_queries(embeddings)

    def answer(
        self,
        now: Snapshot,
        queries: NDArray[np.float32],
        seen: Sequence[NDArray[np.int64]],
        options: SearchOptions,
    ) -> list[tuple[NDArray[np.int64], NDArray[np.float32]]]:
        """Rows and scores of what is closest to each query in a snapshot.

        Args:
            now: the snapshot.
            queries: float32 (n, dim).
            seen: rows of each query that are not returned, unless the options keep them.
            options: what an answer may hold.
        """
        length = options.k * POOL if options.diversity else options.k
        exclude = None if options.keep_seen else list(seen)
        found: SearchResult = now.find(queries, length, selected(now, options), exclude=exclude)
        answers = []
        for rows, scores in zip(found.rows, found.scores, strict=True):
            there = rows >= 0
            chosen, cosines = rows[there], scores[there]
            if options.diversity:
                order = diversify(cosines, now.vectors.take(chosen), options.k, options.diversity)
                chosen, cosines = chosen[order], cosines[order]
            answers.append((chosen, cosines))
        return answers

    def _hits(
        self,
        now: Snapshot,
        key: str,
        rows: NDArray[np.int64],
        scores: NDArray[np.float32],
        unknown: tuple[str, ...] = (),
    ) -> Hits:
        ids = tuple(now.id(row) for row in rows.tolist())
        titles = tuple(now.title(row) for row in rows.tolist())
        return Hits(key, ids, titles, tuple(float(score) for score in scores), now.generation, unknown)

    def _model_of(self, now: Snapshot) -> IndexModel:
        part = now.model_part
        if part is None:
            raise CheckpointError(
                f"expected an index that keeps its normalisation, found {self.folder.path} without",
                "Build it with `adapt index build`.",
            )
        known = self._model
        if known is not None and known[0] == part.sha256:
            return known[1]
        frozen = FrozenNormalisation.read(part)
        if known is not None and known[1].fingerprint == now.description.model.fingerprint:
            model = replace(known[1], frozen=frozen)
        else:
            entry = now.description.model
            if self.checkpoint or self.run:
                kind: Literal["run", "checkpoint"] = "run" if self.run else "checkpoint"
                entry = replace(entry, reference=self.run or self.checkpoint, kind=kind)
            model = load_model(entry, frozen, allow_download=self.allow_download, device=self.device)
        self._model = (part.sha256, model)
        return model

"""An index and a memory that answer while both change: what the service does, below HTTP."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from adapt.data import load_dataset
from adapt.errors import AdaptError, NotFoundError, UsageError
from adapt.memory.store import EventStore
from adapt.progress import SILENT, Progress
from adapt.workflows.index_types import Hits, SearchOptions
from adapt.workflows.live_answers import Member, by_content, by_memory
from adapt.workflows.live_items import catalog_of
from adapt.workflows.live_types import Answer, Ask, Event, ItemFacts, LiveOptions, NewItem, RankedItem, Written
from adapt.workflows.living_index import LivingIndex
from adapt.workflows.living_memory import LivingMemory, begin_with

FEW_SHOT, ZERO_SHOT, FINE_TUNED = "few-shot", "zero-shot", "fine-tuned"
KEYS_LAST = 7 * 24 * 3600.0
"""Seconds for which a repeated idempotency key is known at least; older ones are forgotten at the next start."""
_LONGEST = 1_000
"""Latest events of a user that are read."""


class LiveService:
    """Recommends, searches and takes in items and events; every method may be called from several threads.

    What a write has changed is on disk when it returns, and in every answer that begins after that. Other processes may
    read and write the same index and memory.

    Args:
        index: that is searched.
        store: of the events.
        memory: of other users.
        tuned: an index of a fine-tuned run over the same items.
        pictures: item id -> image file of the data set behind the index.
    """

    def __init__(
        self,
        index: LivingIndex,
        store: EventStore,
        memory: LivingMemory,
        tuned: LivingIndex | None = None,
        pictures: Mapping[str, Path] | None = None,
    ) -> None:
        self.index = index
        self.store = store
        self.memory = memory
        self.tuned = tuned
        self._pictures = pictures or {}
        self._kept = store.pictured()
        self._writing = threading.Lock()
        by_content = FINE_TUNED if index.snapshot.description.model.kind == "run" else ZERO_SHOT
        self._by_content = {by_content: index} if tuned is None else {by_content: index, FINE_TUNED: tuned}

    @classmethod
    def open(cls, options: LiveOptions, progress: Progress = SILENT) -> LiveService:
        """Open an index with its memory.

        Raises:
            CheckpointError: an index, its model or the memory cannot be used.
            DataError: the data set cannot be used.
            OutputError: the memory cannot be written.
        """
        index = LivingIndex.open(
            options.index,
            checkpoint=options.checkpoint,
            run=options.run,
            allow_download=options.allow_download,
            device=options.device,
            progress=progress,
        )
        _ = index.model
        index.snapshot.check_engine()
        tuned = None
        if options.tuned_index:
            tuned = LivingIndex.open(
                options.tuned_index, allow_download=options.allow_download, device=options.device, progress=progress
            )
            _ = tuned.model
            tuned.snapshot.check_engine()
            if tuned.snapshot.description.model.kind != "run" or index.snapshot.description.model.kind == "run":
                raise UsageError(
                    "expected an index of a checkpoint, and beside it one of a fine-tuned run, found two of a kind",
                    "Build the second one with `adapt index build --run RUN`.",
                )
        store = EventStore(options.memory or default_memory(options.index))
        store.forget_answers(before=time.time() - KEYS_LAST)
        pictures: dict[str, Path] = {}
        if options.dataset:
            dataset = load_dataset(options.dataset, columns=options.columns, progress=progress)
            begin_with(store, dataset, progress)
            catalog = dataset.catalog
            pictures = {item: files[0] for item, files in zip(catalog.ids, catalog.images, strict=True) if files}
        return cls(index, store, LivingMemory(store, index, progress), tuned, pictures)

    def close(self) -> None:
        """Let go of the memory's file."""
        self.store.close()

    def methods(self) -> tuple[str, ...]:
        """The ways to recommend; the first is the default."""
        return (FEW_SHOT, *self._by_content)

    def refresh(self) -> None:
        """Take in what other processes wrote; cheap where there is nothing."""
        for index in self._by_content.values():
            index.reload()
        if self.memory.follow():
            self._kept = self.store.pictured()

    def recommend(self, asks: Sequence[Ask]) -> list[Answer | AdaptError]:
        """Answer many requests at once; one that cannot be answered gets its own error in its place."""
        answers: list[Answer | AdaptError | None] = [None] * len(asks)
        groups: dict[str, list[tuple[int, Member]]] = {}
        for number, ask in enumerate(asks):
            try:
                method = ask.method or self.methods()[0]
                if method not in self.methods():
                    raise UsageError(
                        f"expected a method out of {', '.join(self.methods())}, found {method!r}",
                        "" if method != FINE_TUNED else "Start the service with --tuned-index.",
                    )
                groups.setdefault(method, []).append((number, (ask, self._history(ask))))
            except AdaptError as error:
                answers[number] = error
        for method, members in groups.items():
            requests = [member for _, member in members]
            if method == FEW_SHOT:
                found = by_memory(self.memory, method, requests, self._has_picture)
            else:
                found = by_content(self._by_content[method], method, requests, self._has_picture)
            for (number, _), answer in zip(members, found, strict=True):
                answers[number] = answer
        return [answer for answer in answers if answer is not None]

    def similar(self, item_id: str, options: SearchOptions) -> Answer:
        """The items closest to an item."""
        return self._of(self.index.by_item(item_id, options), "similar")

    def by_text(self, text: str, options: SearchOptions) -> Answer:
        """The items closest to a free text."""
        return self._of(self.index.by_text(text, options), "search")

    def by_image(self, picture: bytes, options: SearchOptions) -> Answer:
        """The items closest to a picture, given as the bytes of an image file."""
        with catalog_of([NewItem("picture", {}, picture)], ()) as catalog:
            return self._of(self.index.by_image(catalog.images[0][0], options), "search")

    def item(self, item_id: str) -> ItemFacts:
        """What is known of an item.

        Raises:
            NotFoundError: it is not there.
        """
        now = self.index.snapshot
        row = now.row(item_id)
        return ItemFacts(item_id, now.title(row), now.columns_of(row), self._has_picture(item_id))

    def picture(self, item_id: str) -> bytes | None:
        """The bytes of an item's image file; None = it has none.

        Raises:
            NotFoundError: the item is not there.
        """
        self.index.snapshot.row(item_id)
        kept = self.store.picture(item_id) if item_id in self._kept else None
        if kept is not None:
            return kept or None
        path = self._pictures.get(item_id)
        return path.read_bytes() if path is not None and path.is_file() else None

    def put_items(self, items: Sequence[NewItem], key: str = "") -> Written:
        """Add items, or replace those with the same ids; all or none of them.

        Args:
            items: distinct ids.
            key: a request with a key that was answered before gets that answer, and changes nothing.

        Raises:
            DataError: an item has neither a text nor a picture that the model can use.
            ConflictError: the key was used for another request.
            OutputError: it cannot be written.
        """
        request = ["put", [asdict(item) for item in items]]
        with self._writing, self.store.alone():
            if known := self.store.answer(key, request):
                return replace(Written(**known), replayed=True)
            with catalog_of(items, self.index.snapshot.description.text_template) as catalog:
                change = self.index.add(catalog, whole=True)
                if self.tuned is not None:
                    self.tuned.add(catalog, whole=True)
            written = Written(change.added, change.replaced, 0, 0, change.count, change.generation)
            with self.store.writing():
                for item in items:
                    if item.picture is not None or self._has_picture(item.item_id):
                        self.store.keep_picture(item.item_id, item.picture or b"")
                self.store.keep_answer(key, request, asdict(written))
            self._changed()
        return written

    def remove_items(self, ids: Sequence[str], key: str = "") -> Written:
        """Remove items; all or none of them.

        Raises:
            NotFoundError: one of them is not there.
            ConflictError: the key was used for another request.
            OutputError: it cannot be written.
        """
        request = ["remove", list(ids)]
        with self._writing, self.store.alone():
            known = self.store.answer(key, request)
            if known and not known["begun"]:
                return replace(Written(**known["written"]), replayed=True)
            there = list(dict.fromkeys(ids))
            if known:  # a process died over this request: what it had removed is not asked for again
                there = [item_id for item_id in there if item_id in self.index.snapshot]
            else:
                for item_id in there:
                    self.index.snapshot.row(item_id)
                self.store.keep_answer(key, request, {"begun": True})
            change = self.index.remove(there) if there else None
            for index in self._by_content.values():
                if index is not self.index and (left := [item_id for item_id in ids if item_id in index.snapshot]):
                    index.remove(left)
            now = self.index.snapshot
            written = Written(0, 0, len(set(ids)), 0, len(now), change.generation if change else now.generation)
            with self.store.writing():
                for item_id in ids:
                    self.store.keep_picture(item_id, None)
                self.store.keep_answer(key, request, {"begun": False, "written": asdict(written)})
            self._changed()
        return written

    def record(self, events: Sequence[Event], key: str = "") -> Written:
        """Store events; they count for the next answer. All or none of them.

        Raises:
            NotFoundError: an item is not in the index.
            ConflictError: the key was used for another request.
            OutputError: it cannot be written.
        """
        request = ["events", [asdict(event) for event in events]]
        now = self.index.snapshot
        with self.store.writing():
            if known := self.store.answer(key, request):
                return replace(Written(**known), replayed=True)
            for event in events:
                now.row(event.item_id)
            count = self.store.append((event.user_id, event.item_id, event.timestamp) for event in events)
            written = Written(recorded=count, items=len(now), generation=now.generation)
            self.store.keep_answer(key, request, asdict(written))
        self.memory.recorded()
        return written

    def info(self) -> dict[str, Any]:
        """What is served, ready for JSON."""
        now = self.index.snapshot
        described = now.description
        return {
            "methods": list(self.methods()),
            "index": {
                **{name: value for name, value in asdict(now.info()).items() if value is not None},
                "generation": now.generation,
                "storage": described.storage,
                "model": {"name": described.model.name, "fingerprint": described.model.fingerprint},
            },
            "memory": self.memory.facts(),
            "columns": list(now.column_names),
        }

    def _history(self, ask: Ask) -> tuple[str, ...]:
        if (ask.history is None) == (ask.user_id is None):
            found = "neither" if ask.history is None else "both"
            raise UsageError(f"expected either a history or a user_id, found {found}")
        if ask.history is not None:
            return tuple(ask.history)
        history = self.store.history(ask.user_id or "", latest=_LONGEST)
        if not history:
            raise NotFoundError(
                f"expected the id of a user with events, found {ask.user_id!r}",
                "Send a history instead, or record events of this user first.",
            )
        return tuple(history)

    def _of(self, hits: Hits, method: str) -> Answer:
        lists = zip(hits.item_ids, hits.titles, hits.scores, strict=True)
        items = tuple(RankedItem(item, title, score, self._has_picture(item)) for item, title, score in lists)
        return Answer(items, method, hits.generation)

    def _has_picture(self, item_id: str) -> bool:
        kept = self._kept.get(item_id)
        return item_id in self._pictures if kept is None else kept

    def _changed(self) -> None:
        self.memory.follow()
        self._kept = self.store.pictured()


def default_memory(index: str | Path) -> Path:
    """Where the memory of an index is kept unless another folder is named: beside it."""
    path = Path(index).resolve()
    return path.with_name(f"{path.name}-memory")

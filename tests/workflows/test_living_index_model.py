"""Whatever is done to an index, in whatever order, and wherever it dies: it holds what a dict would hold."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, event, settings
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, rule
from hypothesis.stateful import run_state_machine_as_test as run_machine

from adapt import Checkpoint
from adapt.data.catalog import Catalog
from adapt.errors import NotFoundError, OutputError
from adapt.index.filters import Condition
from adapt.workflows.index_facts import verify
from adapt.workflows.index_model import raw_features
from adapt.workflows.living_index import Hits, LivingIndex, SearchOptions
from tests.killing import forked

from .index_cases import WORDS, built, rows, saved, table

IDS = tuple(f"{number:03}" for number in range(12))
STEPS = ("fsync", "replace", "rename", "unlink", "rmdir", "mkdir")
"""Calls of ``os`` between which an index on disk changes."""


@dataclass(frozen=True)
class Item:
    """What the dict knows of an item."""

    words: str
    category: str
    price: int

    def catalog(self, item_id: str) -> Catalog:
        """It alone, as it is added."""
        return many({item_id: self})


def many(items: dict[str, Item]) -> Catalog:
    """Items as they are added."""
    texts = tuple(f"{item.words}. {item.category}" for item in items.values())
    return Catalog(
        ids=tuple(items),
        texts=texts,
        images=((),) * len(items),
        titles=tuple(item.words for item in items.values()),
        columns={
            "title": tuple(item.words for item in items.values()),
            "category": tuple(item.category for item in items.values()),
            "price": tuple(str(item.price) for item in items.values()),
        },
        text_template=("title", "category"),
    )


item_ids = st.sampled_from(IDS)
new_items = st.builds(
    Item, st.sampled_from(WORDS), st.sampled_from(("camp", "coffee", "garden")), st.integers(min_value=0, max_value=9)
)
changes = st.dictionaries(item_ids, new_items, min_size=1, max_size=5)
options = st.builds(
    SearchOptions,
    k=st.integers(min_value=1, max_value=14),
    where=st.sampled_from(
        [
            (),
            (Condition("price", "<", ("5",)),),
            (Condition("category", "=", ("camp",)), Condition("price", ">", ("1",))),
        ]
    ),
    allow=st.none() | st.lists(item_ids, max_size=4).map(tuple),
    deny=st.lists(item_ids, max_size=3).map(tuple),
    keep_seen=st.booleans(),
)


@contextlib.contextmanager
def at_step(number: int, accident: Callable[[], object]) -> Iterator[None]:
    """Have an accident at the ``number``-th change of the disk from now on."""
    done = 0
    originals = {name: getattr(os, name) for name in STEPS}

    def counted(name: str) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            nonlocal done
            done += 1
            if done == number:
                accident()
            return None if name == "fsync" else originals[name](*arguments, **named)

        return call

    try:
        for name in STEPS:
            setattr(os, name, counted(name))
        yield
    finally:
        for name, original in originals.items():
            setattr(os, name, original)


def full_disk() -> None:
    raise OSError(28, "No space left on device")


def killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def interrupted(work: Callable[[], object], step: int, how: Callable[[], None]) -> None:
    """Do ``work`` until the accident; a full disk is said as what it is."""
    with at_step(step, how), contextlib.suppress(OutputError):
        work()


def in_a_child(work: Callable[[], object]) -> None:
    """Do ``work`` in a process of its own, to its end or to its death."""
    _, status = os.waitpid(forked(work), 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0


class Machine(RuleBasedStateMachine):
    """Two handles on one index, each beside the dict of what it must hold, and the dict of what lies on disk."""

    template: Path

    readers = Bundle("readers")

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="living-"))
        self.disk: dict[str, Item] = {}
        self.vectors: dict[tuple[str, str, str], np.ndarray] = {}

    @initialize(kind=st.sampled_from(["exact", "hnsw", "int8"]))
    def begin(self, kind: str) -> None:
        shutil.copytree(self.template / kind, self.folder / "index")
        self.living = self.opened()
        self.disk = {
            item_id: Item(self.living.snapshot.title(row), *self.cells(row))
            for item_id, row in zip(self.living.snapshot.ids, self.living.snapshot.rows.tolist(), strict=True)
        }
        self.held = dict(self.disk)
        self.tolerance = 0.02 if kind == "int8" else 1e-4

    def cells(self, row: int) -> tuple[str, int]:
        columns = self.living.snapshot.columns_of(row)
        return columns["category"], int(float(columns["price"]))

    def opened(self) -> LivingIndex:
        living = LivingIndex.open(self.folder / "index", checkpoint=str(self.template / "model"))
        known = Machine.models.setdefault(str(self.template), living)
        if known is not living:  # the same checkpoint need not be read for every handle
            living._model = known._model
        assert living.model.text("tent").shape[0] == 1
        return living

    models: dict[str, LivingIndex] = {}  # noqa: RUF012 - shared on purpose

    def teardown(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    # Changes

    @rule(items=changes)
    def add(self, items: dict[str, Item]) -> None:
        change = self.living.add(many(items))
        assert change.added == len(items.keys() - self.disk.keys())
        assert change.replaced == len(items.keys() & self.disk.keys())
        self.disk |= items
        self.held = dict(self.disk)
        assert change.count == len(self.disk)

    @rule(ids=st.lists(item_ids, min_size=1, max_size=4))
    def remove(self, ids: list[str]) -> None:
        if set(ids) <= self.disk.keys():
            assert self.living.remove(ids).removed == len(set(ids))
            self.disk = {item_id: item for item_id, item in self.disk.items() if item_id not in ids}
        else:
            with pytest.raises(NotFoundError):
                self.living.remove(ids)
        self.held = dict(self.disk)

    @rule(refit=st.booleans())
    def compact(self, refit: bool) -> None:
        assert self.living.compact(refit=refit).count == len(self.disk)
        self.held = dict(self.disk)
        assert len(self.living.snapshot.alive) == len(self.disk)

    @rule()
    def reload(self) -> None:
        self.living.reload()
        self.held = dict(self.disk)

    @rule()
    def reopen(self) -> None:
        self.living = self.opened()
        self.held = dict(self.disk)

    @rule(target=readers)
    def read(self) -> tuple[LivingIndex, dict[str, Item]]:
        return self.opened(), dict(self.disk)

    @rule(reader=consumes(readers))
    def stop_reading(self, reader: tuple[LivingIndex, dict[str, Item]]) -> None:
        self.holds(*reader)

    # Accidents

    @rule(
        kind=st.sampled_from(["add", "remove", "compact"]),
        items=changes,
        step=st.integers(min_value=1, max_value=30),
        how=st.sampled_from([full_disk, killed]),
    )
    def crash(self, kind: str, items: dict[str, Item], step: int, how: Callable[[], None]) -> None:
        gone = sorted(items.keys() & self.disk.keys())
        work, after = {
            "add": (lambda: self.living.add(many(items)), self.disk | items),
            "remove": (lambda: self.living.remove(gone), {key: self.disk[key] for key in self.disk.keys() - gone}),
            "compact": (lambda: self.living.compact(refit=True), dict(self.disk)),
        }[kind]
        if how is killed:
            in_a_child(lambda: interrupted(work, step, how))
        else:
            interrupted(work, step, how)
        found = self.opened()
        done = self.same(found, after)
        event(f"{kind}, {how.__name__}: {'done' if done else 'as before'}")
        self.disk = after if done else self.disk
        self.holds(found, self.disk)
        self.living.reload()
        self.held = dict(self.disk)

    def same(self, living: LivingIndex, items: dict[str, Item]) -> bool:
        now = living.snapshot
        titles = {item_id: now.title(now.row(item_id)) for item_id in now.ids}
        prices = {item_id: int(float(now.columns_of(now.row(item_id))["price"])) for item_id in now.ids}
        expected = {item_id: item.words for item_id, item in items.items()}
        return titles == expected and prices == {item_id: item.price for item_id, item in items.items()}

    # Questions

    @rule(words=st.sampled_from(WORDS), asked=options)
    def by_text(self, words: str, asked: SearchOptions) -> None:
        self.ranked(self.living.by_text(words, asked), self.living.model.text(words), set(), asked)

    @rule(item_id=item_ids, asked=options)
    def by_item(self, item_id: str, asked: SearchOptions) -> None:
        if item_id not in self.held:
            with pytest.raises(NotFoundError):
                self.living.by_item(item_id, asked)
            return
        now = self.living.snapshot
        query = self.living.model.as_queries(now.vectors.take(np.array([now.row(item_id)])))
        self.ranked(self.living.by_item(item_id, asked), query, {item_id}, asked)

    @rule(history=st.lists(item_ids, min_size=1, max_size=5), asked=options)
    def by_history(self, history: list[str], asked: SearchOptions) -> None:
        if not self.held.keys() & set(history):
            with pytest.raises(NotFoundError):
                self.living.by_history(history, asked)
            return
        now = self.living.snapshot
        hits = self.living.by_history(history, asked)
        assert hits.unknown == tuple(item_id for item_id in history if item_id not in self.held)
        known = [now.row(item_id) for item_id in history if item_id in self.held]
        self.ranked(hits, self.living.states_of(now, [np.array(known)]), set(history), asked)

    def ranked(self, hits: Hits, query: np.ndarray, seen: set[str], asked: SearchOptions) -> None:
        """The list is what sorting the dict gives."""
        allowed = {
            item_id: float(query[0] @ self.vector(item_id, item))
            for item_id, item in self.held.items()
            if all(self.fits(item, condition) for condition in asked.where)
            and (asked.allow is None or item_id in asked.allow)
            and item_id not in asked.deny
            and (asked.keep_seen or item_id not in seen)
        }
        expected = sorted(allowed.values(), reverse=True)[: asked.k]
        assert len(set(hits.item_ids)) == len(hits.item_ids) == len(expected)
        np.testing.assert_allclose(hits.scores, expected, atol=self.tolerance)
        np.testing.assert_allclose(hits.scores, [allowed[item_id] for item_id in hits.item_ids], atol=self.tolerance)
        assert hits.titles == tuple(self.held[item_id].words for item_id in hits.item_ids)

    def fits(self, item: Item, condition: Condition) -> bool:
        if condition.operator == "=":
            return item.category == condition.values[0]
        wanted = float(condition.values[0])
        return item.price < wanted if condition.operator == "<" else item.price > wanted

    def vector(self, item_id: str, item: Item) -> np.ndarray:
        """Where an item lies, by the frozen maps of the moment."""
        part = self.living.snapshot.model_part
        assert part is not None
        key = (part.sha256, item.words, item.category)
        if key not in self.vectors:
            features = self.living.model.encode(item.catalog(item_id))
            (self.vectors[key],) = self.living.model.embed([item_id], raw_features(features))
        return self.vectors[key]

    @invariant()
    def agrees(self) -> None:
        if hasattr(self, "living"):
            self.holds(self.living, self.held)

    def holds(self, living: LivingIndex, items: dict[str, Item]) -> None:
        assert set(living.snapshot.ids) == items.keys()
        assert len(living.snapshot) == len(items)
        assert self.same(living, items)
        assert not [item_id for item_id in IDS if (item_id in living.snapshot) != (item_id in items)]


class Sound(Machine):
    """Ends by looking at every byte."""

    def teardown(self) -> None:
        try:
            if hasattr(self, "living"):
                reopened = self.opened()
                self.holds(reopened, self.disk)
                reopened.compact()
                assert all(check.passed is not False for check in verify(self.folder / "index", seed=0))
                assert [path.name for path in self.folder.rglob(".*")] == []
        finally:
            super().teardown()


@pytest.fixture(scope="module")
def template(tiny: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Indexes of every kind, to be copied."""
    folder = tmp_path_factory.mktemp("template")
    model = saved(tiny, folder / "model")
    lines = [line.replace(".50", "") for line in rows(6)]
    items = table(folder / "items.csv", lines)
    built(items, folder / "exact", model)
    built(items, folder / "hnsw", model, index="hnsw")
    built(items, folder / "int8", model, storage="int8")
    return folder


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_an_index_holds_what_a_dict_would(template: Path, one_thread: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: None)  # of no matter to a process that is killed, and slow
    Sound.template = template
    examples = int(os.environ.get("ADAPT_EXAMPLES", "6"))
    run_machine(
        Sound,
        settings=settings(
            max_examples=examples,
            phases=[Phase.generate],
            stateful_step_count=20,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )

"""Any sequence of additions, replacements, removals and searches, against a dict."""

from __future__ import annotations

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from adapt.index import ExactIndex, HnswIndex
from adapt.index.graph import HnswSettings

DIM = 3
ids = st.lists(st.sampled_from([f"item {number}" for number in range(40)]), unique=True, max_size=12)


class IndexMachine(RuleBasedStateMachine):
    """The dict knows what must be there; the index must agree after every step."""

    exact = True

    def __init__(self) -> None:
        super().__init__()
        self.known: dict[str, np.ndarray] = {}
        self.index = self.make()

    def make(self):
        return ExactIndex([], np.zeros((0, DIM), np.float32))

    @rule(chosen=ids, seed=st.integers(0, 99))
    def add_or_replace(self, chosen, seed):
        embeddings = np.random.default_rng(seed).integers(-4, 5, size=(len(chosen), DIM)).astype(np.float32)
        self.index.add(chosen, embeddings)
        self.known.update(zip(chosen, embeddings, strict=True))

    @rule(chosen=ids)
    def remove(self, chosen):
        present = [item_id for item_id in chosen if item_id in self.known]
        self.index.remove(present)
        for item_id in present:
            del self.known[item_id]

    @rule(seed=st.integers(0, 99), k=st.integers(1, 45), hidden=ids, forbidden=ids)
    def search(self, seed, k, hidden, forbidden):
        query = np.random.default_rng(seed).integers(-4, 5, size=DIM).astype(np.float32)
        seen = np.array([self.index.row(item_id) for item_id in hidden if item_id in self.known], np.int64)
        allow = np.array([item_id not in forbidden for item_id in self.index.ids], bool)
        found = self.index.search(query[None], k, exclude=[seen], allow=allow)
        rows = found.rows[0][found.rows[0] >= 0]
        names = [self.index.ids[row] for row in rows]
        possible = {item_id for item_id in self.known if item_id not in hidden and item_id not in forbidden}
        assert len(names) == len(set(names)) == min(k, len(possible))
        assert set(names) <= possible
        scores = [float(self.known[item_id] @ query) for item_id in names]
        assert found.scores[0][: len(names)].tolist() == scores
        assert list(zip([-score for score in scores], rows, strict=True)) == sorted(
            zip([-score for score in scores], rows, strict=True)
        )
        if self.exact:
            assert scores == sorted((float(self.known[item_id] @ query) for item_id in possible), reverse=True)[:k]

    @invariant()
    def agrees(self):
        assert len(self.index) == len(self.known)
        assert set(self.index.ids) == set(self.known)
        for row, item_id in enumerate(self.index.ids):
            assert self.index.row(item_id) == row
            np.testing.assert_array_equal(self.index.embeddings[row], self.known[item_id])


class HnswMachine(IndexMachine):
    """A graph with few links, so that it falls apart as often as it can."""

    exact = False

    def make(self):
        return HnswIndex([], np.zeros((0, DIM), np.float32), HnswSettings(m=2, ef=2, ef_construction=2, exact_below=0))


TestExactAgainstADict = IndexMachine.TestCase
TestExactAgainstADict.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
TestHnswAgainstADict = HnswMachine.TestCase
TestHnswAgainstADict.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)

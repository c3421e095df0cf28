"""Exact search keeps the contract, in blocks and tiles of any size, also where many scores are equal."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapt.index import ExactIndex, exact
from tests.index.contract import DIM, IndexContract, names, truth, vectors


class TestExact(IndexContract):
    def make(self, ids, embeddings):
        return ExactIndex(ids, embeddings)


@given(
    count=st.integers(1, 300),
    queries=st.integers(1, 9),
    k=st.integers(1, 40),
    block=st.integers(1, 5),
    seed=st.integers(0, 99),
)
@settings(deadline=None, max_examples=80)
def test_blocks_tiles_and_ties_change_nothing(count, queries, k, block, seed):
    rng = np.random.default_rng(seed)
    # Small whole numbers: sums are exact in float32 and most scores are tied.
    embeddings = rng.integers(-1, 2, size=(count, 3)).astype(np.float32)
    wanted = rng.integers(-1, 2, size=(queries, 3)).astype(np.float32)
    allow = rng.random(count) >= rng.random()
    seen = [rng.integers(count, size=rng.integers(0, 6)) for _ in range(queries)]
    index = ExactIndex(names(count), embeddings)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exact, "_TILE", 64)
        patch.setattr(exact, "BLOCK_BYTES", 4 * 64 * block)
        found = index.search(wanted, k, exclude=seen, allow=allow)
    for query, rows, own in zip(wanted, found.rows, seen, strict=True):
        expected = truth(embeddings, query, k, [*np.flatnonzero(~allow), *own])
        assert rows.tolist() == expected + [-1] * (k - len(expected))


def test_equal_embeddings_anywhere_have_one_score():
    embeddings = vectors(1_013, seed=1)
    places = np.random.default_rng(2).permutation(1_013)[:200]
    embeddings[places] = embeddings[places[0]]
    query = embeddings[places[0]] * 100
    for batch in (1, 3, 40):
        found = ExactIndex(names(1_013), embeddings).search(np.stack([query] * batch), 100)
        assert found.rows[0].tolist() == sorted(places)[:100]


def test_memory_stays_bounded_when_many_users_ask_at_once(monkeypatch):
    sizes = []
    empty = exact.torch.empty
    monkeypatch.setattr(exact.torch, "empty", lambda size, **options: sizes.append(size) or empty(size, **options))
    ExactIndex(names(2_000), vectors(2_000)).search(np.zeros((20_000, DIM), np.float32), 5)
    assert sizes
    assert max(sizes) * 4 <= exact.BLOCK_BYTES

"""Embeddings in fewer bytes, and vectors that are read from several files."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapt.errors import UsageError
from adapt.index.exact import search_vectors
from adapt.index.quantise import decode, encode
from adapt.index.vectors import DenseVectors, StoredVectors, padded
from tests.index.contract import DIM, vectors


@pytest.mark.parametrize(("storage", "error", "size"), [("float32", 0.0, 4), ("float16", 5e-4, 2), ("int8", 5e-3, 1)])
def test_each_type_keeps_its_share_of_the_digits(storage, error, size):
    points = vectors(100)
    points[3] = 0
    encoded = encode(points, storage)
    assert encoded.values.itemsize == size
    largest = np.abs(points).max(axis=1, keepdims=True)
    assert (np.abs(decode(encoded) - points) <= error * largest).all()
    np.testing.assert_array_equal(decode(encoded, np.array([5, 2])), decode(encoded)[[5, 2]])


def test_what_does_not_fit_is_refused():
    with pytest.raises(UsageError, match="float16"):
        encode(np.full((1, 2), 1e6, np.float32), "float16")
    with pytest.raises(UsageError, match="int4"):
        encode(vectors(1), "int4")  # type: ignore[arg-type]


@given(
    sizes=st.lists(st.integers(0, 150), min_size=1, max_size=5),
    storage=st.sampled_from(["float32", "float16", "int8"]),
    k=st.integers(1, 20),
    seed=st.integers(0, 99),
)
@settings(deadline=None, max_examples=15)
def test_rows_of_several_files_are_found_as_if_they_were_one(sizes, storage, k, seed):
    rng = np.random.default_rng(seed)
    parts = [encode(rng.normal(size=(size, DIM)).astype(np.float32), storage) for size in sizes]
    whole = np.concatenate([decode(part) for part in parts])
    stored, dense = StoredVectors(parts, DIM), DenseVectors(padded(whole, DIM), len(whole))
    assert len(stored) == len(whole)
    allow = rng.random(len(whole)) < rng.random()
    for allowed in (None, allow):
        found = search_vectors(stored, vectors(3, seed), k, allow=allowed)
        expected = search_vectors(dense, vectors(3, seed), k, allow=allowed)
        np.testing.assert_array_equal(found.rows, expected.rows)
        np.testing.assert_allclose(found.scores, expected.scores, rtol=1e-5)
    if len(whole):
        rows = rng.integers(len(whole), size=7)
        np.testing.assert_array_equal(stored.take(rows), whole[rows])

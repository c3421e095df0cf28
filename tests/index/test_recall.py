"""The breadth of search is the smallest that holds on queries that took no part in choosing it."""

from __future__ import annotations

import numpy as np
import pytest

from adapt.errors import UsageError
from adapt.index import ExactIndex
from adapt.index.base import SearchResult
from adapt.index.recall import choose_ef, measure_recall, sample_queries
from tests.index.contract import names, vectors

K = 10


def pretend(needed):
    """A search that finds the share ``ef / needed(query)`` of ten neighbours; the truth finds them all."""

    def search_at(queries, ef):
        found = np.minimum(K * ef // np.array([needed(query) for query in queries]), K)
        return SearchResult(
            np.where(np.arange(K) < found[:, None], np.arange(K), -1),
            np.where(np.arange(K) < found[:, None], np.float32(1), np.float32(-np.inf)),
        )

    return search_at, lambda queries: search_at(queries, 10**6)


@pytest.mark.parametrize("needed", [10, 11, 37, 100, 999, 4_000])
def test_the_smallest_ef_is_found_to_a_tenth(needed):
    search_at, truth = pretend(lambda _query: needed)
    found = choose_ef(search_at, truth, vectors(8), target=1.0, k=K)
    assert found.reached
    assert needed <= found.ef <= max(needed * 1.11, K)
    assert (found.queries, found.k) == (4, K)


def test_ef_grows_until_the_held_out_queries_reach_the_target_too():
    queries = np.arange(20, dtype=np.float32)[:, None]
    search_at, truth = pretend(lambda query: 300 if query[0] % 2 else 100)
    found = choose_ef(search_at, truth, queries, target=1.0, k=K)
    assert found.reached
    assert 300 <= found.ef <= 375


def test_a_target_out_of_reach_is_reported_as_it_is():
    search_at, truth = pretend(lambda _query: 40_960)
    found = choose_ef(search_at, truth, vectors(8), target=0.9, k=K)
    assert not found.reached
    assert found.recall == pytest.approx(0.1)


def test_one_of_several_equal_neighbours_is_as_good_as_another():
    embeddings = np.repeat(vectors(10), 5, axis=0)
    truth = ExactIndex(names(50), embeddings).search(vectors(3, seed=1), 3)
    other = SearchResult(truth.rows + 1, truth.scores.copy())
    assert measure_recall(other, truth) == 1.0
    wrong = SearchResult(truth.rows, truth.scores - np.float32([[0, 1, 1]]))
    assert measure_recall(wrong, truth) == pytest.approx(1 / 3)


def test_queries_drawn_from_the_items_repeat_with_the_seed():
    items = vectors(30)
    np.testing.assert_array_equal(sample_queries(items, 100, 1), sample_queries(items, 100, 1))
    assert sample_queries(items, 100, 1).shape == (100, items.shape[1])
    assert (sample_queries(items, 100, 1) != sample_queries(items, 100, 2)).any()


def test_calibration_needs_queries_and_a_target_that_can_be_met():
    search_at, truth = pretend(lambda _query: 10)
    with pytest.raises(UsageError, match="two queries"):
        choose_ef(search_at, truth, vectors(1), target=0.9, k=K)
    with pytest.raises(UsageError, match="target"):
        choose_ef(search_at, truth, vectors(4), target=0.0, k=K)

"""HNSW keeps the contract through its graph, and the defects of hnswlib stay behind their guards."""

from __future__ import annotations

import hnswlib
import numpy as np
import pytest

from adapt.errors import UsageError
from adapt.index import ExactIndex, HnswIndex, build_index
from adapt.index.graph import HnswSettings
from adapt.index.recall import measure_recall
from tests.index.contract import DIM, IndexContract, names, vectors

# Wide enough to be exact on a few hundred items, and never answered by exact search instead.
WIDE = HnswSettings(ef=400, exact_below=0)


def clustered(count: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(40, 16))
    points = centres[rng.integers(40, size=count)] + 0.4 * rng.normal(size=(count, 16))
    return (points / np.linalg.norm(points, axis=1, keepdims=True)).astype(np.float32)


class TestHnsw(IndexContract):
    def make(self, ids, embeddings):
        return HnswIndex(ids, embeddings, WIDE)


def test_the_graph_itself_answers_below_a_quarter_of_the_items(monkeypatch):
    index = HnswIndex(names(300), vectors(300), WIDE)
    monkeypatch.setattr("adapt.index.hnsw.search_vectors", lambda *_, **__: pytest.fail("answered exactly"))
    assert (index.search(vectors(5, seed=1), 10, exclude=[np.arange(9)] * 5).rows >= 9).all()


def test_deleted_items_never_make_a_list_short():
    points = clustered(2_000)
    index = HnswIndex(names(2_000), points, HnswSettings(ef=10, exact_below=0))
    # All near neighbours of the query go, which leaves the raw library with too few to return.
    near = np.argsort(-(points @ points[0]))[:900]
    index.remove([names(2_000)[row] for row in near])
    found = index.search(points[:1], 50)
    assert (found.rows >= 0).all()
    exact = ExactIndex(index.ids, index.embeddings).search(points[:1], 50)
    assert measure_recall(found, exact) > 0.5


def test_a_catalog_of_copies_is_searched_in_full():
    points = np.repeat(clustered(20), 100, axis=0)
    index = HnswIndex(names(2_000), points, HnswSettings(m=4, ef=10, exact_below=0))
    rows = index.search(points[::100], 30).rows
    assert (rows >= 0).all()
    assert all(len(set(line)) == 30 for line in rows)


def test_a_query_that_the_graph_cannot_answer_does_not_spoil_its_batch(monkeypatch):
    index = HnswIndex(names(300), vectors(300), WIDE)
    queries = vectors(9, seed=2)
    expected = index.search(queries, 10)
    native = index._graph._native

    class Failing:
        def __getattr__(self, name):
            return getattr(native, name)

        def knn_query(self, data, **options):
            if any(np.array_equal(line, queries[4]) for line in data):
                raise RuntimeError("Cannot return the results in a contiguous 2D array. Probably ef or M is too small")
            return native.knn_query(data, **options)

    monkeypatch.setattr(index._graph, "_native", Failing())
    found = index.search(queries, 10)
    np.testing.assert_array_equal(found.rows, expected.rows)
    np.testing.assert_allclose(found.scores, expected.scores, rtol=1e-5)


def test_one_thread_gives_one_graph(tmp_path):
    for number in (1, 2):
        HnswIndex(names(2_000), clustered(2_000), WIDE).write_graph(tmp_path / f"{number}")
    assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes()


def test_the_graph_is_rebuilt_when_most_of_it_is_deleted_and_not_before():
    index = HnswIndex(names(100), vectors(100), WIDE)
    for turn in range(1, 6):
        index.add(names(20), vectors(20, seed=turn))
    assert index._graph.labels == 200
    index.add(["000"], vectors(1, seed=9))
    assert index._graph.labels == 100
    assert index._graph.deleted == 0
    found = index.search(index.embeddings * 100, 100)
    assert all(sorted(rows) == list(range(100)) for rows in found.rows)


def test_ef_is_chosen_for_the_target_and_the_recall_is_measured_and_shown():
    points = clustered(6_000)
    index = build_index([str(row) for row in range(6_000)], points, kind="hnsw", recall_target=0.95)
    info = index.info()
    assert info.kind == "hnsw"
    assert info.recall_target == 0.95
    assert info.recall_measured is not None
    assert info.recall_measured >= 0.95
    assert info.recall_queries == 500
    assert info.changes == 0
    queries = clustered(300, seed=8)
    settings = HnswSettings(ef=info.ef or 0, exact_below=0)
    found = HnswIndex(index.ids, points, settings).search(queries, 50)
    assert measure_recall(found, ExactIndex(index.ids, points).search(queries, 50)) > 0.9
    index.add(["x"], points[:1])
    assert index.info().changes == 1


def test_a_harder_target_searches_wider():
    points = clustered(4_000)
    index = HnswIndex(names(4_000), points, HnswSettings(m=4, ef_construction=20, exact_below=0))
    easy = index.calibrate(0.7)
    hard = index.calibrate(0.99)
    assert hard.ef > easy.ef
    assert hard.recall > easy.recall
    assert index.settings.ef == hard.ef


def test_calibration_uses_the_queries_it_is_given():
    points = clustered(3_000)
    index = HnswIndex(names(3_000), points, HnswSettings(exact_below=0))
    assert index.calibrate(0.9, queries=points[:60]).queries == 30
    with pytest.raises(UsageError, match="shape"):
        index.calibrate(0.9, queries=points[:, :5])
    with pytest.raises(UsageError, match="target"):
        index.calibrate(1.5)


@pytest.mark.parametrize(("count", "kind"), [(99, "exact"), (100, "hnsw")])
def test_the_size_chooses_the_kind(count, kind):
    assert build_index(names(count), vectors(count), threshold=100).kind == kind


def test_a_target_that_the_graph_misses_is_said_and_auto_searches_exactly(monkeypatch):
    notes = []

    class Listener:
        def task(self, name, total, unit):
            from adapt.progress import SILENT

            return SILENT.task(name, total, unit)

        def note(self, message):
            notes.append(message)

    monkeypatch.setattr("adapt.index.recall.LARGEST_EF", 51)
    monkeypatch.setattr("adapt.index.recall.measure_recall", lambda *_: 0.4)
    options = {"recall_target": 0.99, "threshold": 10, "progress": Listener()}
    assert build_index(names(200), vectors(200), **options).kind == "exact"
    kept = build_index(names(200), vectors(200), kind="hnsw", **options)
    assert kept.info().recall_measured == 0.4
    assert len(notes) == 2
    assert "exactly instead" in notes[0]


def test_the_defects_that_the_guards_stand_against_are_still_there():
    """When one of these fails, hnswlib was repaired and its guard can go."""
    native = hnswlib.Index(space="ip", dim=DIM)
    native.init_index(max_elements=10)
    native.add_items(vectors(10), np.arange(10))
    with pytest.raises(RuntimeError):
        native.knn_query(vectors(1), k=11)
    with pytest.raises(RuntimeError):
        native.add_items(vectors(1), [10])
    native.mark_deleted(0)
    with pytest.raises(RuntimeError):
        native.knn_query(vectors(2), k=10)
    native.add_items(np.full((1, DIM), np.nan, np.float32), [1])

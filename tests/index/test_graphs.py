"""A graph that grows with an index, and how it is kept."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from adapt.index import graphs
from adapt.index.calibrate import SearchChoice, calibrate, recall_of
from adapt.index.graph import HnswSettings
from adapt.index.graphs import GrowingGraph, graph_cache, graph_key
from adapt.index.quantise import encode
from adapt.index.vectors import DenseVectors, StoredVectors, padded
from adapt.progress import SILENT
from tests.index.contract import DIM, vectors


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ADAPT_CACHE", str(tmp_path / "cache"))


def dense(points):
    return DenseVectors(padded(points, points.shape[1]), len(points))


def test_one_thread_gives_one_graph_whether_it_grew_or_not():
    points = vectors(900)
    for name, steps in (("at once", [900]), ("grown", [1, 2, 300, 300, 899, 900])):
        graph = GrowingGraph(DIM, HnswSettings())
        for rows in steps:
            graph.grow(dense(points), rows)
        graph.keep(name, SILENT)
    first, second = ((graph_cache() / name / "graph.hnsw").read_bytes() for name in ("at once", "grown"))
    assert first[16:] == second[16:]  # before that the file says how many items there is room for


def test_a_graph_is_known_by_its_embeddings_however_they_are_dealt():
    points, settings = vectors(100), HnswSettings()
    whole = graph_key([encode(points, "float32")], 90, settings)
    parts = [encode(points[:30], "float32"), encode(points[30:], "float32")]
    assert graph_key(parts, 90, settings) == whole
    assert graph_key(parts, 91, settings) != whole
    assert graph_key([encode(points, "float16")], 90, settings) != whole
    assert graph_key([encode(points[::-1].copy(), "float32")], 90, settings) != whole


def test_a_kept_graph_of_other_embeddings_is_not_used():
    points, settings = vectors(100), HnswSettings()
    graph = GrowingGraph(DIM, settings)
    graph.grow(dense(points), 100)
    graph.keep("key", SILENT)
    assert GrowingGraph.kept("key", dense(points), 100, settings) is not None
    assert GrowingGraph.kept("key", dense(vectors(100, seed=1)), 100, settings) is None
    assert GrowingGraph.kept("key", dense(points), 99, settings) is None
    assert GrowingGraph.kept("other", dense(points), 100, settings) is None


@pytest.mark.parametrize("storage", ["float32", "float16", "int8"])
@pytest.mark.parametrize("kind", ["exact", "hnsw"])
def test_what_is_stored_and_shown_is_what_a_fresh_sample_finds(storage, kind):
    points = np.random.default_rng(0).normal(size=(1_500, 24)).astype(np.float32)
    stored, truth = StoredVectors([encode(points, storage)], 24), dense(points)
    alive = np.random.default_rng(1).random(1_500) < 0.8
    measured = calibrate(stored, alive, None, SearchChoice(kind, target=0.95), truth=truth)
    assert measured.kind == kind
    assert measured.recall is not None
    assert measured.recall.count == alive.sum()
    if storage == "float32":
        assert measured.recall.storage == 1
    else:
        assert 0.9 < measured.recall.storage < 1
    assert measured.recall.recall >= (0.94 if kind == "hnsw" else 1) * measured.recall.storage
    if kind == "exact":
        from adapt.index.exact import search_vectors

        queries = np.random.default_rng(2).normal(size=(200, 24)).astype(np.float32)
        fresh = recall_of(search_vectors(stored, queries, 50, allow=alive), queries, truth, alive)
        assert fresh == pytest.approx(measured.recall.storage, abs=0.02)


def test_auto_is_exact_below_the_threshold_and_a_graph_from_there_on():
    points = vectors(200)
    alive = np.ones(200, bool)
    assert calibrate(dense(points), alive, None, SearchChoice("auto", threshold=201)).kind == "exact"
    assert calibrate(dense(points), alive, None, SearchChoice("auto", threshold=200)).kind == "hnsw"
    assert calibrate(dense(points), ~alive, None, SearchChoice("hnsw")).recall is None


def test_searches_go_on_while_a_graph_grows_and_find_no_row_of_the_future():
    points = vectors(3_000)
    graph = GrowingGraph(DIM, HnswSettings())
    graph.grow(dense(points), 1_000)
    growing = threading.Thread(target=graph.grow, args=(dense(points), 3_000))
    growing.start()
    answered = 0
    while growing.is_alive():
        found = graph.search(vectors(1, seed=answered), 10, 50, 1_000)
        assert found.rows.max() < 1_000
        answered += 1
    growing.join()
    assert answered >= 20  # of 125 pieces
    assert graph.search(points[2_999:] * 100, 1, 50, 3_000).rows[0, 0] == np.argmax(points @ points[2_999])


def test_a_build_that_was_broken_off_goes_on_with_what_was_kept(monkeypatch):
    monkeypatch.setattr(graphs, "_KEPT_EVERY", 200)
    monkeypatch.setattr(graphs, "_CHUNK", 100)
    points, settings = vectors(900), HnswSettings()

    class Breaking(DenseVectors):
        def take(self, rows):
            if rows[-1] >= 700:
                raise KeyboardInterrupt
            return super().take(rows)

    with pytest.raises(KeyboardInterrupt):
        GrowingGraph(DIM, settings).grow(Breaking(padded(points, DIM), 900), 900, kept_as="key")
    graph = GrowingGraph.begun("key", dense(points), settings)
    assert graph._graph.labels == 600
    graph.grow(dense(points), 900, kept_as="key")
    assert not list(graph_cache().iterdir())
    found = graph.search(points, 1, 300, 900)
    assert (found.scores[:, 0] >= (points @ points.T).max(axis=1) - 1e-4).mean() > 0.99


def test_a_graph_holds_only_the_dimensions_in_use_until_others_come():
    narrow = np.zeros((600, DIM), np.float32)
    narrow[:, 1:6] = vectors(600)[:, 1:6]
    graph = GrowingGraph(DIM, HnswSettings())
    graph.grow(dense(narrow), 600)
    assert graph._graph._columns.tolist() == list(range(1, 6))
    wide = np.concatenate([narrow, vectors(3)])
    graph.grow(dense(wide), 603)
    assert graph._graph._columns is None
    found = graph.search(wide, 5, 200, 603)
    best = (wide @ wide.T).max(axis=1)
    assert (found.scores[:, 0] >= best - 1e-5).mean() > 0.99

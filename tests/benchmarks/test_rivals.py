"""What the comparisons compare is the same on both sides."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

Find = Callable[[str], ModuleType]


def test_the_plain_search_finds_what_the_index_finds(benchmark_module: Find) -> None:
    from adapt.index import ExactIndex

    search = benchmark_module("search")
    points, queries = search.clustered(300, 5)
    assert np.allclose(np.linalg.norm(points, axis=1), 1, atol=1e-5)
    seen = search.seen_rows(300, 5, 4)
    found = ExactIndex([str(row) for row in range(300)], points).search(queries, search.K, exclude=seen)
    scores, rows = search.plain_search(torch.from_numpy(points), torch.from_numpy(queries), seen)
    np.testing.assert_allclose(found.scores, scores.numpy(), atol=1e-5)
    assert not any(set(own) & set(mine.tolist()) for own, mine in zip(seen, rows, strict=True))


@pytest.mark.parametrize("name", ["adapt", "hnswlib", "faiss", "usearch"])
def test_every_library_finds_the_neighbours_when_it_searches_widely(benchmark_module: Find, name: str) -> None:
    graphs = benchmark_module("graph_search")
    module, make = graphs.SIDES[name]
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"needs {module}")
    points, queries = graphs.clustered(500, 20)
    true = np.argsort(-(queries @ points.T), axis=1)[:, : graphs.K]
    graph = make(points)
    assert graphs.share_found(graph.search(queries, 400), true) > 0.99


def test_a_recall_that_no_breadth_reaches_is_an_error(benchmark_module: Find) -> None:
    with pytest.raises(ValueError, match="largest breadth"):
        benchmark_module("graph_search").breadth_for(lambda _: 0.5, 0.9)


def test_a_library_that_is_not_installed_is_named(benchmark_module: Find, monkeypatch: pytest.MonkeyPatch) -> None:
    graphs = benchmark_module("graph_search")
    sides = {name: graphs.SIDES[name] for name in ("adapt", "hnswlib")} | {"gone": ("no_such_module", graphs.Faiss)}
    monkeypatch.setattr(graphs, "SIDES", sides)
    built, seconds, missing = graphs.build(graphs.clustered(50, 1)[0], 2)
    assert set(built) == set(seconds) == {"adapt", "hnswlib"}
    assert len(seconds["adapt"]) == 2
    assert list(missing) == ["gone"]


def test_the_plain_loop_over_files_gives_our_features(benchmark_module: Find, tmp_path: Path) -> None:
    images = benchmark_module("encode_images")
    files = images.draw_pictures(tmp_path, 4)
    assert {file.suffix for file in images.draw_pictures(tmp_path, 8)} == {".jpg", ".png"}
    agreed = images.agreement(images.load_encoder(images.LITE0), images.plain_model(), files)
    assert agreed["mean_cosine"] > images.COSINE


def test_vectors_that_differ_are_not_compared(benchmark_module: Find) -> None:
    texts = benchmark_module("encode_texts")
    vectors = np.zeros((2, 3), np.float32)
    assert texts.largest_difference(vectors, vectors) == 0
    with pytest.raises(SystemExit, match="same vectors"):
        texts.largest_difference(vectors, vectors + 0.1)


def test_what_is_lost_is_counted_by_neighbours(benchmark_module: Find) -> None:
    lost = benchmark_module("encode_precision").lost
    random = np.random.default_rng(0)
    true = random.normal(size=(40, 8)).astype(np.float32)
    true /= np.linalg.norm(true, axis=1, keepdims=True)
    noisy = true + 0.3 * random.normal(size=true.shape).astype(np.float32)
    noisy /= np.linalg.norm(noisy, axis=1, keepdims=True)
    assert lost(true, true) == (pytest.approx(1.0), 1.0)
    cosine, kept = lost(noisy, true)
    assert 0.5 < cosine < 0.99
    assert 0.2 < kept < 0.95

"""A damaged, swapped or foreign index folder is refused, and no graph file from outside is ever opened."""

from __future__ import annotations

import json
import shutil

import hnswlib
import numpy as np
import pytest

from adapt.errors import CheckpointError
from adapt.index import ExactIndex, HnswIndex, load_index, save_index
from adapt.index.generations import Generations
from adapt.index.graph import HnswSettings
from adapt.index.graphs import graph_cache
from adapt.index.sealed import seal
from tests.index.contract import names, vectors

FILES = ["embeddings.safetensors", "ids.json", "index.json", "deleted.safetensors"]
NARROW = HnswSettings(ef=77, exact_below=0)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ADAPT_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def folder(tmp_path):
    save_index(ExactIndex(names(50), vectors(50)), tmp_path / "index", "model-1")
    return tmp_path / "index"


def place(folder, name):
    """The one file of that name in an index of one part."""
    (found,) = folder.rglob(name)
    return found


def sign(folder):
    """Write the hashes that fit what the folder holds now, as somebody who means harm would."""
    pointer = Generations(folder).pointer()
    generation = folder / "generations" / pointer.generation
    description = json.loads((generation / "index.json").read_text())
    for part in description["parts"]:
        part["sha256"] = seal(folder / "parts" / part["name"])
    (generation / "index.json").write_text(json.dumps(description))
    current = {"generation": pointer.generation, "sha256": seal(generation)}
    (folder / "CURRENT").write_text(json.dumps(current))


def change(folder, **values):
    path = place(folder, "index.json")
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))
    sign(folder)


def test_the_folder_holds_what_is_documented_and_nothing_native(tmp_path):
    save_index(HnswIndex(names(50), vectors(50), NARROW), tmp_path / "index", "model-1")
    files = sorted(path.name for path in (tmp_path / "index").rglob("*") if path.is_file())
    assert files == sorted(["CURRENT", "LOCK", "SHA256SUMS", "SHA256SUMS", *FILES])


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("where", [0, 20, -2])
def test_a_flipped_bit_is_noticed_and_the_file_is_named(folder, name, where):
    data = bytearray(place(folder, name).read_bytes())
    data[where] ^= 1
    place(folder, name).write_bytes(data)
    with pytest.raises(CheckpointError, match=name):
        load_index(folder, "model-1")


@pytest.mark.parametrize("name", [*FILES, "CURRENT", "parts/*/SHA256SUMS", "generations/*/SHA256SUMS"])
def test_a_truncated_or_missing_file_is_noticed(folder, name):
    path = place(folder, name)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(CheckpointError):
        load_index(folder, "model-1")
    path.unlink()
    with pytest.raises(CheckpointError, match=path.name):
        load_index(folder, "model-1")


def test_ids_in_another_order_are_noticed(folder):
    ids = json.loads(place(folder, "ids.json").read_text())
    ids[0], ids[1] = ids[1], ids[0]
    place(folder, "ids.json").write_text(json.dumps(ids))
    with pytest.raises(CheckpointError, match=r"ids\.json"):
        load_index(folder, "model-1")


def test_parts_of_two_indexes_are_refused_even_with_sums_that_fit(folder, tmp_path):
    save_index(ExactIndex(names(49), vectors(49)), tmp_path / "other", "model-1")
    for name in ("ids.json", "embeddings.safetensors"):
        mixed = tmp_path / f"mixed {name}"
        shutil.copytree(folder, mixed)
        shutil.copy(place(tmp_path / "other", name), place(mixed, name))
        sign(mixed)
        with pytest.raises(CheckpointError, match=name):
            load_index(mixed, "model-1")


@pytest.mark.parametrize(
    "values",
    [
        {"dim": 9},
        {"count": 51},
        {"space": "l2"},
        {"rows": 49},
        {"storage": "float16"},
        {"parts": []},
        {"kind": "hnsw"},
        {"format_version": 1},
        {"surprise": 1},
        {"dim": "eight"},
        {
            "graph": {"m": -5, "ef_construction": 1, "ef": 1, "seed": 0, "threads": 1, "exact_below": 0, "rows": 50},
            "kind": "hnsw",
        },
    ],
)
def test_a_description_that_does_not_fit_is_refused(folder, values):
    change(folder, **values)
    with pytest.raises(CheckpointError):
        load_index(folder, "model-1")


@pytest.mark.parametrize("ids", [["a"] * 50, [""] * 50, list(range(50)), "a" * 50, {}])
def test_ids_that_are_not_distinct_strings_are_refused(folder, ids):
    place(folder, "ids.json").write_text(json.dumps(ids))
    sign(folder)
    with pytest.raises(CheckpointError):
        load_index(folder, "model-1")


def test_embeddings_that_are_not_finite_are_refused(folder):
    from safetensors.numpy import save_file

    spoiled = vectors(50)
    spoiled[3, 1] = np.nan
    save_file({"embeddings": spoiled}, place(folder, "embeddings.safetensors"))
    sign(folder)
    with pytest.raises(CheckpointError, match="row 3"):
        load_index(folder, "model-1")


def test_a_folder_that_is_no_index_says_so(tmp_path):
    with pytest.raises(CheckpointError, match="no such folder"):
        load_index(tmp_path / "nowhere", "model-1")
    (tmp_path / "photos").mkdir()
    with pytest.raises(CheckpointError, match="CURRENT"):
        load_index(tmp_path / "photos", "model-1")


@pytest.fixture
def loads(monkeypatch):
    """The graph files that hnswlib was asked to open."""
    opened = []
    original = hnswlib.Index

    class Watched(original):
        def load_index(self, path, *rest, **options):
            opened.append(path)
            return super().load_index(path, *rest, **options)

    monkeypatch.setattr("adapt.index.graph.hnswlib.Index", Watched)
    return opened


def saved_graph(tmp_path):
    index = HnswIndex(names(400), vectors(400), NARROW)
    index.calibrate(0.9)
    save_index(index, tmp_path / "index", "model-1")
    return index


def test_the_graph_is_taken_from_the_cache_with_its_ef_and_recall(tmp_path, loads):
    index = saved_graph(tmp_path)
    again = load_index(tmp_path / "index", "model-1")
    assert len(loads) == 1
    assert again.info() == index.info()
    queries = vectors(20, seed=1)
    np.testing.assert_array_equal(again.search(queries, 10).rows, index.search(queries, 10).rows)


def test_a_graph_file_that_came_with_the_folder_is_never_opened(tmp_path, loads):
    index = saved_graph(tmp_path)
    shutil.move(graph_cache(), tmp_path / "elsewhere")
    for graph in (tmp_path / "elsewhere").rglob("graph.hnsw"):
        for name in ("graph.hnsw", "hnsw.bin", "index.bin"):
            shutil.copy(graph, place(tmp_path / "index", "ids.json").parent / name)
    sign(tmp_path / "index")
    again = load_index(tmp_path / "index", "model-1")
    assert loads == []
    queries = vectors(20, seed=1)
    np.testing.assert_array_equal(again.search(queries, 10).rows, index.search(queries, 10).rows)
    assert again.info() == index.info()


@pytest.mark.parametrize("name", ["graph.hnsw", "labels.safetensors", "SHA256SUMS"])
def test_a_changed_file_in_the_cache_is_not_opened_and_the_graph_is_rebuilt(tmp_path, loads, name):
    index = saved_graph(tmp_path)
    (path,) = graph_cache().rglob(name)
    data = bytearray(path.read_bytes())
    data[10] ^= 1
    path.write_bytes(data)
    again = load_index(tmp_path / "index", "model-1")
    assert loads == []
    np.testing.assert_array_equal(again.search(vectors(9), 5).rows, index.search(vectors(9), 5).rows)


def test_a_graph_of_other_embeddings_under_the_right_name_is_not_used(tmp_path):
    saved_graph(tmp_path)
    (ours,) = graph_cache().iterdir()
    save_index(HnswIndex(names(400), vectors(400, seed=7), NARROW), tmp_path / "other", "model-1")
    (theirs,) = set(graph_cache().iterdir()) - {ours}
    shutil.rmtree(ours)
    theirs.rename(ours)
    again = load_index(tmp_path / "index", "model-1")
    assert again.search(vectors(400)[:1] * 10, 1).rows[0, 0] == np.argmax(vectors(400) @ vectors(400)[0])


def test_a_cache_that_cannot_be_written_costs_a_rebuild_and_is_said(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("ADAPT_CACHE", str(tmp_path / "file"))
    notes = []

    class Listener:
        def task(self, name, total, unit):
            from adapt.progress import SILENT

            return SILENT.task(name, total, unit)

        def note(self, message):
            notes.append(message)

    index = HnswIndex(names(60), vectors(60), NARROW)
    save_index(index, tmp_path / "index", "model-1", progress=Listener())
    assert "rebuilt on loading" in notes[0]
    again = load_index(tmp_path / "index", "model-1", progress=Listener())
    assert "building it" in notes[1]
    np.testing.assert_array_equal(again.search(vectors(9), 5).rows, index.search(vectors(9), 5).rows)

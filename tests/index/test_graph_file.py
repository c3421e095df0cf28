"""No file in the cache, whatever stands in it and whatever hash stands beside it, makes hnswlib leave its memory."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from adapt.index.graph import Graph, HnswSettings
from adapt.index.graph_file import sound_graph_file
from adapt.index.graphs import GRAPH, LABELS, GrowingGraph, graph_cache
from adapt.index.sealed import SUMS, seal
from adapt.index.vectors import DenseVectors, padded
from adapt.progress import SILENT
from tests.index.contract import DIM, vectors

COUNT, SETTINGS = 300, HnswSettings(ef=50)
POINT = 4 + 8 * SETTINGS.m + 4 * DIM + 8
HEADER = 96
FIELDS = {
    "offset of the points": (0, "<Q"),
    "count": (16, "<Q"),
    "size of a point": (24, "<Q"),
    "offset of the label": (32, "<Q"),
    "offset of the vector": (40, "<Q"),
    "top level": (48, "<I"),
    "entry": (52, "<I"),
    "links": (56, "<Q"),
    "links on the lowest level": (64, "<Q"),
    "links again": (72, "<Q"),
    "scale of levels": (80, "<Q"),
    "breadth of building": (88, "<Q"),
}
EXTREMES = (11, 299, 301, 2**31 - 1, 2**31, 2**32 - 1, 2**61, 2**63, 2**64 - 1)
Changed = Callable[[bytearray], object]


@pytest.fixture
def cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A graph in the cache."""
    monkeypatch.setenv("ADAPT_CACHE", str(tmp_path / "cache"))
    graph = GrowingGraph(DIM, SETTINGS)
    graph.grow(points(), COUNT)
    graph.keep("key", SILENT)
    return graph_cache() / "key" / GRAPH


def points() -> DenseVectors:
    return DenseVectors(padded(vectors(COUNT), DIM), COUNT)


def opened_and_asked() -> npt.NDArray[np.int64] | None:
    """What a search over the kept graph finds; None where there is none that may be used."""
    graph = GrowingGraph.kept("key", points(), COUNT, SETTINGS)
    return None if graph is None else graph.search(vectors(20, seed=3), 10, 50, COUNT).rows


def in_a_child(work: Callable[[], bool]) -> bool:
    """Whether ``work`` is true; fails where it ends its process."""
    child = os.fork()
    if not child:
        code = 2
        try:
            code = 0 if work() else 1
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    assert os.WIFEXITED(status), f"ended by signal {os.WTERMSIG(status)}"
    assert os.WEXITSTATUS(status) < 2, "an error that is none of ours"
    return os.WEXITSTATUS(status) == 0


def putting(at: int, form: str, value: float) -> Changed:
    """Another number at a place of the file."""

    def change(data: bytearray) -> None:
        struct.pack_into(form, data, at, value)

    return change


def becoming(whole: Callable[[bytes], bytes]) -> Changed:
    """Another file."""

    def change(data: bytearray) -> None:
        data[:] = whole(bytes(data))

    return change


def crafted() -> Iterator[tuple[str, Changed]]:
    """Files that lie."""
    for name, (offset, form) in FIELDS.items():
        for value in EXTREMES:
            yield f"{name} {value}", putting(offset, form, value % 2 ** (8 * struct.calcsize(form)))
    first, upper = HEADER, HEADER + COUNT * POINT
    yield "a capacity below the count", putting(8, "<Q", COUNT - 1)
    yield "a level that is negative", putting(48, "<i", -1)
    yield "a link out of the graph", putting(first + 4, "<I", 2**31)
    yield "a link just out of the graph", putting(first + 4, "<I", COUNT)
    yield "more links than there is room for", putting(first, "<H", 60_000)
    yield "a label out of the graph", putting(first + POINT - 8, "<Q", 2**63)
    yield "a label twice", putting(first + 2 * POINT - 8, "<Q", 0)
    yield "no number in a vector", putting(first + POINT - 12, "<f", float("nan"))
    yield "another vector", putting(first + POINT - 12, "<f", 0.125)
    yield "a huge list of upper links", putting(upper, "<I", 4 * 17 * 2**24)
    yield "an odd list of upper links", putting(upper, "<I", 3)
    yield "cut in the middle", becoming(lambda data: data[: len(data) // 2])
    yield "cut by a byte", becoming(lambda data: data[:-1])
    yield "with more behind", becoming(lambda data: data + bytes(8))
    yield "empty", becoming(lambda _: b"")
    yield "only zeros", becoming(lambda data: bytes(len(data)))
    yield "random", becoming(lambda data: np.random.default_rng(0).bytes(len(data)))


def test_an_upper_link_to_a_point_that_is_not_there_on_that_level_is_noticed(cached: Path) -> None:
    data = bytearray(cached.read_bytes())
    place, lists, low = HEADER + COUNT * POINT, [], []
    for number in range(COUNT):
        (size,) = struct.unpack_from("<I", data, place)
        if not size:
            low.append(number)
        elif struct.unpack_from("<H", data, place + 4)[0]:
            lists.append(place + 4)
        place += 4 + size
    assert opened_and_asked() is not None
    struct.pack_into("<I", data, lists[0] + 4, low[0])
    cached.write_bytes(data)
    seal(cached.parent)
    assert in_a_child(lambda: opened_and_asked() is None)


def test_what_hnswlib_writes_is_sound_with_deletions_and_from_several_threads(tmp_path: Path) -> None:
    for threads in (1, 2):
        settings = HnswSettings(threads=threads)
        graph = Graph(DIM, settings, 0)
        graph.add(vectors(2_000))
        for label in range(0, 2_000, 3):
            graph.delete(label)
        graph.write(tmp_path / "graph")
        assert sound_graph_file(tmp_path / "graph", DIM, settings.m, settings.ef_construction)
        assert not sound_graph_file(tmp_path / "graph", DIM + 1, settings.m, settings.ef_construction)
        assert not sound_graph_file(tmp_path / "graph", DIM, settings.m, settings.ef_construction + 1)
    assert not sound_graph_file(tmp_path / "nothing", DIM, settings.m, settings.ef_construction)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("hashed", [True, False], ids=["hash that fits", "hash of before"])
def test_a_crafted_file_is_not_used_and_ends_no_process(cached: Path, hashed: bool) -> None:
    good, sums = cached.read_bytes(), (cached.parent / SUMS).read_bytes()
    labels = (cached.parent / LABELS).read_bytes()

    def none_is_used() -> bool:
        used = []
        for name, change in [*crafted(), ("a capacity beyond reason", putting(8, "<Q", 2**61))]:
            data = bytearray(good)
            change(data)
            cached.parent.mkdir(exist_ok=True)
            for file, content in ((GRAPH, bytes(data)), (LABELS, labels), (SUMS, sums)):
                (cached.parent / file).write_bytes(content)
            if hashed:
                seal(cached.parent)
            if opened_and_asked() is not None:
                used.append(name)
        print("used:", used)
        return not used

    assert in_a_child(none_is_used)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_flipped_bits_under_a_hash_that_fits_end_no_process(cached: Path) -> None:
    good, expected = cached.read_bytes(), opened_and_asked()
    assert expected is not None
    rng = np.random.default_rng(0)

    def none_ends_it() -> bool:
        used = 0
        for _ in range(200):
            data = bytearray(good)
            for _ in range(int(rng.integers(1, 4))):
                data[int(rng.integers(len(data)))] ^= 1 << int(rng.integers(8))
            cached.write_bytes(data)
            seal(cached.parent)
            found = opened_and_asked()
            used += found is not None
            if found is not None and not ((found >= -1) & (found < COUNT)).all():
                return False
        return used < 100  # most bits belong to numbers that are checked

    assert in_a_child(none_ends_it)

"""Whether hnswlib may be trusted with a file: every number that it would follow is looked at first.

hnswlib 0.8.0 believes its own files: a size, a link or a level that is wrong makes it write or read outside of its
memory. This is the layout of ``saveIndex`` in its ``hnswalg.h``; all numbers are little-endian.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import numpy.typing as npt

SMALLEST_CAPACITY = 64
_HEADER = np.dtype(
    [
        ("offset_level0", "<u8"),
        ("capacity", "<u8"),
        ("count", "<u8"),
        ("size", "<u8"),
        ("label_offset", "<u8"),
        ("data_offset", "<u8"),
        ("top_level", "<i4"),
        ("entry", "<u4"),
        ("m", "<u8"),
        ("m0", "<u8"),
        ("m_again", "<u8"),
        ("mult", "<f8"),
        ("ef_construction", "<u8"),
    ]
)
_CHUNK = 1 << 16


def sound_graph_file(path: Path, dim: int, m: int, ef_construction: int) -> bool:
    """Whether a file is a whole graph of points of a width, built in this way, in which every link leads to a
    point that is there on that level.

    Args:
        path: hnswlib's file.
        dim: length of an embedding.
        m, ef_construction: how it should have been built; see :class:`adapt.index.graph.HnswSettings`.
    """
    try:
        data = np.memmap(path, np.uint8, "r")
    except (OSError, ValueError):  # absent or empty
        return False
    if len(data) < _HEADER.itemsize:
        return False
    header, point = data[: _HEADER.itemsize].view(_HEADER)[0], _point(dim, m)
    count, start = int(header["count"]), _HEADER.itemsize
    stop = start + count * point.itemsize
    if not _header_sound(header, point, m, ef_construction) or stop > len(data) or (len(data) - stop) % 4:
        return False
    lists = _upper_lists(data[stop:].view("<u4"), count, m)
    if lists is None:
        return False
    levels, upper = lists
    top, entry = int(header["top_level"]), int(header["entry"])
    entered = entry < count and levels[entry] == top == levels.max()
    return bool(entered) and _points_sound(data[start:stop].view(point), count) and _upper_sound(upper, levels, m)


def _header_sound(header: np.void, point: np.dtype[np.void], m: int, ef_construction: int) -> bool:
    expected = {
        "offset_level0": 0,
        "size": point.itemsize,
        "label_offset": point.itemsize - 8,
        "data_offset": 4 + 8 * m,
        "m": m,
        "m0": 2 * m,
        "m_again": m,
        "ef_construction": max(ef_construction, m),
    }
    count = int(header["count"])
    return (
        all(int(header[name]) == value for name, value in expected.items())
        and math.isclose(float(header["mult"]), 1 / math.log(m), rel_tol=1e-6)
        and 0 < count <= int(header["capacity"]) <= max(SMALLEST_CAPACITY, 2 * count)
    )


def _point(dim: int, m: int) -> np.dtype[np.void]:
    """A point with its links on the lowest level."""
    return np.dtype([("links", "<u2"), ("mark", "<u2"), ("link", "<u4", 2 * m), ("data", "<f4", dim), ("label", "<u8")])


def _points_sound(points: npt.NDArray[np.void], count: int) -> bool:
    places = np.arange(points.dtype["link"].shape[0])
    seen = np.zeros(count, bool)
    for first in range(0, count, _CHUNK):
        some = points[first : first + _CHUNK]
        used = places < some["links"][:, None]
        labels = some["label"]
        if (
            some["links"].max() > len(places)
            or not (some["link"][used] < count).all()
            or not (labels < count).all()
            or not np.isfinite(some["data"]).all()
        ):
            return False
        seen[labels.astype(np.int64)] = True
    return bool(seen.all())


def _upper_lists(
    words: npt.NDArray[np.uint32], count: int, m: int
) -> tuple[npt.NDArray[np.int64], list[tuple[int, npt.NDArray[np.uint32]]]] | None:
    """The level of each point, and (point, its links on each level above the lowest, (level, 1 + m)) of those that
    have any; None where the lists do not fill what is left of the file.
    """
    levels = np.zeros(count, np.int64)
    upper = []
    place, width = 0, 1 + m
    for number in range(count):
        if place >= len(words):
            return None
        size = int(words[place]) // 4
        if int(words[place]) % (4 * width) or place + 1 + size > len(words):
            return None
        if size:
            levels[number] = size // width
            upper.append((number, words[place + 1 : place + 1 + size].reshape(-1, width)))
        place += 1 + size
    return (levels, upper) if place == len(words) else None


def _upper_sound(upper: list[tuple[int, npt.NDArray[np.uint32]]], levels: npt.NDArray[np.int64], m: int) -> bool:
    for _, lists in upper:
        for level, line in enumerate(lists, start=1):
            links = line[1 : 1 + (int(line[0]) & 0xFFFF)]
            if int(line[0]) & 0xFFFF > m or not (links < len(levels)).all() or not (levels[links] >= level).all():
                return False
    return True

"""What is too large for memory lies on disk: the same data set, and nothing left behind."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from adapt.data import check_dataset, load_dataset, spool
from adapt.data.catalog import Dataset
from adapt.data.spool import store
from adapt.files import cache_dir
from tests.data.conftest import MakeData

SCHEMA = pa.schema([("x", pa.string())])
ROWS = [
    {"item_id": "b", "title": "Tent & pole", "tags": "camp|dark", "image": "b.png"},
    {"item_id": "", "title": "Nothing", "tags": "", "image": ""},
    {"item_id": "a", "title": "", "tags": "", "image": ""},
    {"item_id": "b", "title": "Tent & pole", "tags": "camp|dark", "image": "b.png"},
    {"item_id": "ü", "title": "Mug\u00a0 blue", "tags": "", "image": "no.png"},
]
EVENTS = [("u", "b", "30"), ("v", "a", "10"), ("u", "ü", "20"), ("u", "x", "5")]


def written(make_data: MakeData, form: str, given: list[tuple[str, str, str]]) -> Path:
    events = [dict(zip(("user_id", "item_id", "timestamp"), event, strict=True)) for event in given]
    folder = make_data({"b.png": ""})
    for name, rows in (("items", ROWS), ("interactions", events)):
        path = folder / f"{name}.{form}"
        if form == "parquet":
            pq.write_table(pa.Table.from_pylist(rows), path)
        elif form == "jsonl":
            path.write_text("\n".join(map(json.dumps, rows)))
        else:
            cut, quote = ("\t" if form == "tsv" else ","), ('"' if form == "csv" else "")
            lines = [rows[0].keys(), *(row.values() for row in rows)]
            path.write_text("\n".join(cut.join(f"{quote}{cell}{quote}" for cell in line) for line in lines))
    return folder


def plain(data: Dataset) -> object:
    catalog, events = data.catalog, data.interactions
    assert events is not None
    assert events.timestamps is not None
    return (
        [tuple(part) for part in (catalog.ids, catalog.texts, catalog.titles, catalog.images)],
        {name: tuple(cells) for name, cells in catalog.columns.items()},
        (tuple(events.user_ids), events.offsets.tolist(), events.items.tolist(), events.timestamps.tolist()),
    )


@pytest.mark.parametrize("form", ["csv", "tsv", "jsonl", "parquet"])
def test_a_data_set_on_disk_is_the_one_in_memory(
    make_data: MakeData, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sound = load_dataset(written(make_data, form, EVENTS))
    report = check_dataset(folder := written(make_data, form, [*EVENTS, ("v", "b", "now")]))
    found = {entry.kind: entry.count for entry in report.problems}
    assert found["bad-timestamp"] == found["duplicate-item"] == found["unknown-item"] == found["empty-id"] == 1
    monkeypatch.setattr(spool, "MEMORY", 0)
    assert check_dataset(folder) == report
    assert plain(load_dataset(written(make_data, form, EVENTS))) == plain(sound)


def batches(count: int) -> Iterator[pa.RecordBatch]:
    for number in range(count):
        yield pa.record_batch([pa.array([f"text {number}"] * 1000)], schema=SCHEMA)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ADAPT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_only_what_is_large_goes_to_disk(cache: Path) -> None:
    assert store(SCHEMA, batches(3), 1 << 20).mapping is None
    assert not cache.exists()
    stored = store(SCHEMA, batches(3), 1 << 10)
    assert stored.mapping is not None
    assert len(stored.mapping) > 30_000
    assert stored.table == store(SCHEMA, batches(3)).table
    stored.release()
    assert stored.table.column("x")[2999].as_py() == "text 2"
    assert list(cache.iterdir()) == []  # the file has no name while it is used


def test_an_interrupt_leaves_nothing(cache: Path) -> None:
    def interrupted() -> Iterator[pa.RecordBatch]:
        yield from batches(3)
        assert list(cache.iterdir()) == []
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store(SCHEMA, interrupted(), 0)
    assert list(cache.iterdir()) == []


CHILD = """
import os, resource, signal, sys
import pyarrow as pa
from adapt.data.spool import store
from adapt.errors import OutputError
from adapt.files import cache_dir
schema = pa.schema([("x", pa.string())])
def batches():
    for number in range(10_000):
        if number == 50 and sys.argv[1] == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        yield pa.record_batch([pa.array(["a long text"] * 1000)], schema=schema)
if sys.argv[1] == "full":
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
try:
    store(schema, batches(), 0)
except OutputError as error:
    print(error)
"""


@pytest.mark.parametrize(("how", "code"), [("kill", -9), ("full", 0)])
def test_a_killed_process_and_a_full_disk_leave_nothing(cache: Path, how: str, code: int) -> None:
    found = subprocess.run([sys.executable, "-c", CHILD, how], capture_output=True, text=True, check=False)
    assert found.returncode == code, found.stderr
    assert list(cache.iterdir()) == []
    if how == "full":
        assert "expected to write temporary data in" in found.stdout
        assert "set ADAPT_CACHE" in found.stdout


def test_a_cache_that_is_a_file_is_told(cache: Path) -> None:
    cache.write_text("")
    with pytest.raises(Exception, match="expected to write temporary data in") as found:
        store(SCHEMA, batches(3), 0)
    assert "ADAPT_CACHE" in str(found.value)
    assert cache_dir() == cache


NAMES = ["item_id", "title", "description"]
LOAD = """
import pathlib, sys
import numpy, pyarrow, pyarrow.parquet
from adapt.data import load_dataset
def used(name):
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) * 1024
before = used("VmRSS")
data = load_dataset(sys.argv[1])
size = sum(map(len, data.catalog.texts))
print(used("VmHWM") - before, size, len(data.catalog), data.catalog.texts[77_777][-5:])
"""


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="memory is read from Linux's /proc")
def test_memory_does_not_hold_the_texts(tmp_path: Path) -> None:
    """100,000 items with 500 MB of text, which lie there twice: the columns as read, and the joined texts."""
    words = np.random.default_rng(0).integers(0, 10**9, size=1000).astype(str)
    bodies = pa.array([" ".join(words[place : place + 500]) for place in range(500)])
    with pq.ParquetWriter(tmp_path / "items.parquet", pa.schema([(n, pa.string()) for n in NAMES])) as writer:
        for start in range(0, 100_000, 10_000):
            numbers = np.arange(start, start + 10_000)
            ids = pa.array(numbers.astype(str))
            titles = pc.binary_join_element_wise("Title", ids, " ")
            texts = pc.binary_join_element_wise(bodies.take(pa.array(numbers % 500)), ids, " ")
            writer.write_table(pa.table([ids, titles, texts], names=NAMES))
    found = subprocess.run([sys.executable, "-c", LOAD, str(tmp_path)], capture_output=True, text=True, check=True)
    more, size, count, end = found.stdout.split()
    assert (int(count), end) == (100_000, "77777")
    assert int(size) > 450 << 20
    assert int(more) < 350 << 20

"""Every file of an index, damaged in every way, with hashes that show it and with hashes that hide it."""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from adapt import Checkpoint
from adapt.errors import AdaptError, CheckpointError
from adapt.index.filters import Condition
from adapt.index.generations import Generations
from adapt.index.sealed import seal
from adapt.workflows.index_facts import facts, verify
from adapt.workflows.living_index import LivingIndex, SearchOptions
from tests.killing import forked

from .index_cases import built, catalog, rows, saved, table


def damaged(data: bytes, rng: np.random.Generator) -> dict[str, bytes]:
    """What may become of the bytes of a file."""

    def flipped(among: int) -> bytes:
        changed = bytearray(data)
        changed[int(rng.integers(min(among, len(data))))] ^= 1 << int(rng.integers(8))
        return bytes(changed)

    return {
        "a bit": flipped(len(data)),
        "cut in the middle": data[: len(data) // 2],
        "empty": b"",
        "cut by two bytes": data[:-2],
        "more behind": data + b"\x00\xff{",
        "a bit of the head": flipped(64),
        "another bit of the head": flipped(200),
        "a byte of the head": bytes([255]) + data[1:],
        "zeros": bytes(len(data)),
        "random": rng.bytes(len(data)),
        "deeply nested": b"[" * 100_000,
        "other JSON": b'{"a": [null, 1e400, "\\ud800"]}',
    }


@pytest.fixture(scope="module")
def index(tiny: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index of two parts with deleted rows."""
    folder = tmp_path_factory.mktemp("index")
    model = saved(tiny, folder / "model")
    built(table(folder / "items.csv", rows(24)), folder / "index", model)
    living = LivingIndex.open(folder / "index")
    living.add(catalog(folder / "more.csv", rows(3, first=50)))
    living.remove(["001"])
    assert living.model.text("tent").shape[0] == 1
    MODELS[str(folder / "index")] = living
    return folder / "index"


MODELS: dict[str, LivingIndex] = {}
"""A loaded model for each index, so that it is not loaded for every damage."""


def everything(path: Path, known: LivingIndex) -> str:
    """Ask all that an index can be asked: ``"sound"``, or ``"refused"`` as what it is."""
    try:
        living = LivingIndex.open(path)
        part = living.snapshot.model_part
        assert known._model is not None
        if part is not None and part.sha256 == known._model[0]:
            living._model = known._model
        asked = SearchOptions(k=9, where=(Condition("price", "<", ("60",)), Condition("category", "!=", ("x",))))
        hits = [living.by_text("tent", asked), living.by_item("003", asked), living.by_history(["003", "051"])]
        for row in living.snapshot.rows.tolist():
            living.snapshot.columns_of(row)
        living.snapshot.scores(np.zeros((1, living.snapshot.description.dim), np.float32))
        assert all(np.isfinite(one.scores).all() for one in hits)
        facts(path)
        living.compact()
    except AdaptError as error:
        return "refused" if error.message else "refused without a word"
    return "sound"


def shown(path: Path) -> bool:
    """Whether `verify` says that something is wrong."""
    try:
        return any(check.passed is False for check in verify(path, seed=0))
    except CheckpointError:
        return True


def sign(folder: Path) -> None:
    """Write hashes that fit what the folder holds, as somebody who means harm would; stops where it cannot be read."""
    pointer = Generations(folder).pointer()
    assert pointer is not None
    generation = folder / "generations" / pointer.generation
    description = json.loads((generation / "index.json").read_text())
    for part in description["parts"]:
        part["sha256"] = seal(folder / "parts" / part["name"])
    (generation / "index.json").write_text(json.dumps(description))
    resign(folder)


def resign(folder: Path) -> None:
    """Have ``CURRENT`` name the files of the generation as they are."""
    pointer = Generations(folder).pointer()
    assert pointer is not None
    sealed = seal(folder / "generations" / pointer.generation)
    (folder / "CURRENT").write_text(json.dumps({"generation": pointer.generation, "sha256": sealed}))


def in_a_child(work: Callable[[], object]) -> None:
    """Do ``work`` in a process of its own, which may neither fail nor be ended by what it reads."""

    def unsynced() -> None:
        setattr(os, "fsync", lambda _: None)  # noqa: B010 - of no matter here, and slow
        work()

    _, status = os.waitpid(forked(unsynced), 0)
    assert os.WIFEXITED(status), f"ended by signal {os.WTERMSIG(status)}"
    assert os.WEXITSTATUS(status) == 0


def files(index: Path) -> list[Path]:
    return sorted(path.relative_to(index) for path in index.rglob("*") if path.is_file() and path.name != "LOCK")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("kind", ["a bit", "cut in the middle", "empty", "gone"])
def test_every_damage_that_hashes_show_is_shown_by_verify(index: Path, tmp_path: Path, kind: str) -> None:
    rng = np.random.default_rng(0)

    def all_files() -> None:
        path = shutil.copytree(index, tmp_path / "copy")
        for name in files(index):
            data = (path / name).read_bytes()
            if kind == "gone":
                (path / name).unlink()
            else:
                (path / name).write_bytes(damaged(data, rng)[kind])
            assert shown(path), str(name)
            (path / name).write_bytes(data)
        assert not shown(path)

    in_a_child(all_files)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_damage_under_hashes_that_fit_ends_no_process_and_gives_no_other_error(index: Path, tmp_path: Path) -> None:
    known, rng = MODELS[str(index)], np.random.default_rng(1)
    inside = [name for name in files(index) if name.name not in ("SHA256SUMS", "CURRENT")]

    def all_of_them() -> None:
        outcomes = Counter[str]()
        for name in inside:
            for kind, data in damaged((index / name).read_bytes(), rng).items():
                path = shutil.copytree(index, tmp_path / "copy")
                (path / name).write_bytes(data)
                (resign if name.parts[0] == "generations" else sign)(path)
                try:
                    outcomes[everything(path, known)] += 1
                except Exception as error:
                    raise AssertionError(f"{name}: {kind}") from error
                shutil.rmtree(path)
        assert set(outcomes) == {"refused", "sound"}
        assert outcomes["refused"] > outcomes["sound"]

    in_a_child(all_of_them)


@pytest.mark.parametrize(
    "cells",
    [
        pa.StringArray.from_buffers(3, pa.py_buffer(np.array([0, 1, 2, 3], np.int32)), pa.py_buffer(b"a\xb5c")),
        pa.array([1, 2, 3]),
        pa.array(["a", None, "c"]),
    ],
    ids=["no UTF-8", "numbers", "a gap"],
)
def test_cells_that_are_no_text_are_refused_under_hashes_that_fit(index: Path, tmp_path: Path, cells: pa.Array) -> None:
    path = shutil.copytree(index, tmp_path / "copy")
    segment = LivingIndex.open(path).snapshot.segments[0]
    count, columns = len(segment), segment.folder.path / "items.parquet"
    parquet.write_table(pa.table({"category": pa.chunked_array([cells] * (count // 3 + 1)).slice(0, count)}), columns)
    sign(path)
    with pytest.raises(CheckpointError, match=r"items\.parquet"):
        LivingIndex.open(path).snapshot.columns_of(0)


def lies(description: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Descriptions that fit neither the parts nor each other."""
    for name, value in [
        ("dim", 7),
        ("dim", 2**40),
        ("count", description["count"] + 1),
        ("count", -1),
        ("rows", description["rows"] - 1),
        ("storage", "int8"),
        ("kind", "hnsw"),
        ("parts", []),
        ("format_version", 99),
    ]:
        yield {**description, name: value}
    for number, key, value in [
        (0, "rows", 2**40),
        (0, "role", "model"),
        (-1, "name", "../../x"),
        (-1, "role", "items"),
    ]:
        parts = [dict(part) for part in description["parts"]]
        parts[number][key] = value
        yield {**description, "parts": parts}


def test_a_description_that_lies_is_refused(index: Path, tmp_path: Path) -> None:
    path = shutil.copytree(index, tmp_path / "copy")
    (place,) = path.glob("generations/*/index.json")
    honest = json.loads(place.read_text())
    for lie in lies(honest):
        place.write_text(json.dumps(lie))
        resign(path)
        assert everything(path, MODELS[str(index)]) == "refused", lie
    place.write_text(json.dumps(honest))
    resign(path)
    assert everything(path, MODELS[str(index)]) == "sound"


def test_a_pointer_to_another_generation_or_hash_is_refused(index: Path, tmp_path: Path) -> None:
    path = shutil.copytree(index, tmp_path / "copy")
    honest = json.loads((path / "CURRENT").read_text())
    wrong: list[object] = [
        {**honest, "generation": "000001"},
        {**honest, "generation": "99999999999999999999999"},
        {**honest, "generation": "../000001"},
        {**honest, "sha256": "0" * 64},
        {**honest, "sha256": None},
        {**honest, "format_version": 3},
        [],
        None,
    ]
    for lie in wrong:
        (path / "CURRENT").write_text(json.dumps(lie))
        with pytest.raises(CheckpointError):
            LivingIndex.open(path)


def test_ids_that_changed_places_are_found_by_verify(index: Path, tmp_path: Path) -> None:
    path = shutil.copytree(index, tmp_path / "copy")
    place = max(path.glob("parts/*/ids.json"), key=lambda file: file.stat().st_size)
    ids = json.loads(place.read_text())
    place.write_text(json.dumps(ids[::-1]))
    assert everything(path, MODELS[str(index)]) == "refused"

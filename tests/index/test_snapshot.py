"""One generation of an index, asked for scores and columns."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from adapt.errors import CheckpointError, DataError, NotFoundError, UsageError
from adapt.index.changes import commit, delete, put
from adapt.index.description import Description, ModelEntry, new_lineage
from adapt.index.filters import parse_condition
from adapt.index.generations import FORMAT_VERSION, Generations
from adapt.index.quantise import STORAGES, Storage, decode, encode
from adapt.index.segments import Items, write_items
from adapt.index.snapshot import Snapshot
from adapt.index.storage import write_deleted
from tests.index.contract import DIM, names, vectors


def begun(folder: Path, points: npt.NDArray[np.float32], storage: Storage = "float32") -> Generations:
    """An exact index of points on disk, with a column."""
    where = Generations(folder)
    with where.writing() as writer:
        ids = names(len(points))
        part = write_items(writer, Items(ids, encode(points, storage), ids, {"colour": [f"c{row}" for row in ids]}))
        description = Description(
            format_version=FORMAT_VERSION,
            kind="exact",
            count=len(points),
            rows=len(points),
            dim=DIM,
            lineage=new_lineage(),
            storage=storage,
            model=ModelEntry(fingerprint="f"),
            parts=(part,),
        )
        writer.commit(description.to_dict(), lambda path: write_deleted(path, np.zeros(0, np.int64)))
    return where


def added(where: Generations, ids: Sequence[str], points: npt.NDArray[np.float32], storage: Storage) -> None:
    with where.writing() as writer:
        put(writer, Snapshot.open(where), Items(ids, encode(points, storage), ids, {"size": ["9"] * len(ids)}))


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("dense_bytes", [0, 4 * DIM * 130, 1 << 20])
def test_scores_are_the_products_with_every_row_however_it_is_stored(
    tmp_path: Path, storage: Storage, dense_bytes: int
) -> None:
    points, more, queries = vectors(130), vectors(70, seed=1), vectors(5, seed=2)
    where = begun(tmp_path / "index", points, storage)
    added(where, [f"new {row}" for row in range(70)], more, storage)
    with where.writing() as writer:
        delete(writer, Snapshot.open(where), names(3))
    now = Snapshot.open(where, dense_bytes=dense_bytes)
    stored = np.concatenate([decode(encode(part, storage)) for part in (points, more)])
    found = now.scores(queries)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, queries @ stored.T, rtol=1e-5, atol=1e-5)
    ranked = now.search(queries, 7)
    np.testing.assert_allclose(np.take_along_axis(found, ranked.rows, axis=1), ranked.scores, rtol=1e-6)
    assert now.scores(np.zeros((0, DIM), np.float32)).shape == (0, 200)


def test_no_more_memory_than_allowed_goes_into_copies(tmp_path: Path) -> None:
    where = begun(tmp_path / "index", vectors(130), "int8")
    added(where, ["new"], vectors(1, seed=1), "int8")
    copied = [
        ["dense" in vars(segment) for segment in Snapshot.open(where, dense_bytes=size).segments]
        for size in (0, 4 * DIM, 4 * DIM * 130, 4 * DIM * 131)
    ]
    assert copied == [[False, False], [False, True], [True, False], [True, True]]


def test_scores_of_queries_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    now = Snapshot.open(begun(tmp_path / "index", vectors(3)))
    with pytest.raises(UsageError):
        now.scores(np.zeros((1, DIM + 1), np.float32))
    with pytest.raises(DataError):
        now.scores(np.full((1, DIM), np.nan, np.float32))


def test_every_column_of_an_item_is_told_as_text(tmp_path: Path) -> None:
    where = begun(tmp_path / "index", vectors(3))
    added(where, ["new"], vectors(1, seed=1), "float32")
    now = Snapshot.open(where)
    assert now.columns_of(1) == {"colour": f"c{names(3)[1]}", "size": ""}
    assert now.columns_of(now.row("new")) == {"colour": "", "size": "9"}


def test_several_conditions_must_all_hold_in_every_part(tmp_path: Path) -> None:
    where = begun(tmp_path / "index", vectors(8))
    added(where, ["new", "newer"], vectors(2, seed=1), "float32")
    now = Snapshot.open(where)
    conditions = [parse_condition("colour!=c003"), parse_condition("size!=9")]
    for _ in range(2):  # the second time from memory
        assert np.flatnonzero(now.satisfying(conditions)).tolist() == [0, 1, 2, 4, 5, 6, 7]
        assert np.flatnonzero(now.satisfying([parse_condition("size>=9")])).tolist() == [8, 9]
        assert now.satisfying([]).all()
    with pytest.raises(UsageError, match="shape"):
        now.satisfying([parse_condition("shape=round")])


def test_conditions_that_are_remembered_are_few(tmp_path: Path) -> None:
    now = Snapshot.open(begun(tmp_path / "index", vectors(3)))
    for number in range(100):
        assert now.satisfying([parse_condition(f"colour=c{number:03}")]).sum() == (number < 3)
    assert len(now.segments[0]._satisfying) <= 32


def test_an_id_with_several_rows_is_found_in_the_one_that_is_alive(tmp_path: Path) -> None:
    points = vectors(6, seed=1)
    where = begun(tmp_path / "index", vectors(2))
    for row in range(5):  # small parts are folded into one, so that a part holds an id several times
        added(where, ["again", f"other {row}"], points[row : row + 2], "float32")
    now = Snapshot.open(where)
    np.testing.assert_array_equal(now.vectors.take(np.array([now.row("again")]))[0], points[4])
    with where.writing() as writer:
        delete(writer, now, ["again"])
    gone = Snapshot.open(where, now)
    assert "again" not in gone
    with pytest.raises(NotFoundError, match="again"):
        gone.row("again")
    assert gone.ids == (*names(2), *(f"other {row}" for row in range(5)))


def test_an_id_that_came_alive_twice_is_noticed_when_going_on(tmp_path: Path) -> None:
    where = begun(tmp_path / "index", vectors(3))
    added(where, [names(3)[0]], vectors(1, seed=1), "float32")
    now = Snapshot.open(where)
    with where.writing() as writer:
        commit(writer, now.description, now.description.parts, np.zeros(0, np.int64))
    for known in (None, now):
        with pytest.raises(CheckpointError, match="twice"):
            Snapshot.open(where, known)

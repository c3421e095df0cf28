"""Exact search for many queries: the coarse look never loses an item of the answer."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from adapt.index import ExactIndex, batch
from adapt.index.base import check_search
from adapt.index.exact import _search
from adapt.index.vectors import DenseVectors, NarrowVectors, padded

ITEMS, QUERIES, DIM = 5_003, 80, 24


def points(seed: int = 0, count: int = ITEMS) -> np.ndarray:
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(50, DIM))
    found = centres[rng.integers(50, size=count)] + 0.7 * rng.normal(size=(count, DIM))
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)


def dense(items: np.ndarray) -> DenseVectors:
    return DenseVectors(padded(items, items.shape[1]), len(items))


@pytest.fixture(params=["bfloat16", "float32"])
def coarse(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(batch, "fast_bfloat16", lambda: request.param == "bfloat16")
    return str(request.param)


def same(found, truth, left) -> None:
    """Equal scores, and rows that differ only where scores do not."""
    closed = np.setdiff1d(np.arange(len(truth.rows)), left)
    np.testing.assert_allclose(found.scores[closed], truth.scores[closed], atol=2e-6)
    differ = (found.rows != truth.rows)[closed]
    assert differ.mean() < 0.01


@pytest.mark.parametrize("k", [1, 10, 50])
@pytest.mark.parametrize("group", [4, 16])
def test_it_finds_what_the_plain_search_finds(coarse: str, k: int, group: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch, "group_size", lambda _items: group)
    items, asked = points(), points(1, QUERIES)
    rng = np.random.default_rng(2)
    seen = check_search(QUERIES, ITEMS, k, [rng.integers(ITEMS, size=7) for _ in range(QUERIES)], None)
    hidden = np.sort(rng.choice(ITEMS, 500, replace=False))
    found, left = batch.search_many(dense(items), asked, k, exclude=seen, hidden=hidden)
    truth = _search(dense(items), asked, k, seen, hidden)
    assert len(left) < QUERIES / 4
    same(found, truth, left)
    assert not np.isin(found.rows, hidden).any()


def test_equal_items_come_in_the_order_of_rows(coarse: str) -> None:
    items = points()
    items[[10, 700, 2_000, 4_999]] = items[3]
    found, left = batch.search_many(dense(items), np.repeat(items[3:4], 64, axis=0), 5)
    assert not len(left)
    assert found.rows.tolist() == [[3, 10, 700, 2_000, 4_999]] * 64


def test_what_it_cannot_be_sure_of_is_left_open_and_answered_by_the_index(
    coarse: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    items = points()
    items[:2_000] = items[0]  # more items of one score than are looked at again
    asked = np.concatenate([points(1, QUERIES), np.repeat(items[:1], 3, axis=0)])
    _, left = batch.search_many(dense(items), asked, 10)
    assert set(range(QUERIES, QUERIES + 3)) <= set(left.tolist())
    monkeypatch.setattr(batch, "FEWEST_ITEMS", 100)
    index = ExactIndex([str(row) for row in range(ITEMS)], items)
    assert index.search(asked, 10).rows[QUERIES:].tolist() == [list(range(10))] * 3


def test_fewer_items_than_asked_for_leave_the_end_empty(coarse: str) -> None:
    items = points(count=70)
    hidden = np.arange(5, 70)
    found, left = batch.search_many(dense(items), points(1, 64), 8, hidden=hidden)
    rest = np.setdiff1d(np.arange(64), left)
    assert (np.sort(found.rows[rest, :5], axis=1) == np.arange(5)).all()
    assert (found.rows[rest, 5:] == -1).all()
    assert np.isneginf(found.scores[rest, 5:]).all()


def test_dimensions_that_no_item_has_do_not_matter() -> None:
    items = points()
    wide = np.zeros((ITEMS, DIM + 6), np.float32)
    columns = np.r_[0:10, 14 : DIM + 4]
    wide[:, columns] = items
    narrow = NarrowVectors(dense(wide), columns)
    assert np.array_equal(narrow.take(np.array([5, 9])), items[[5, 9]])
    tiles = np.concatenate([tile.values[: tile.rows] for tile in narrow.tiles(1024)])
    assert np.array_equal(tiles, items)


def test_the_bound_holds_for_what_bfloat16_makes_of_the_scores() -> None:
    items, asked = torch.from_numpy(points()), torch.from_numpy(points(1, QUERIES))
    rounded, near = asked.bfloat16(), items.bfloat16()
    bound = batch._bound(asked, rounded, batch._Items().and_(items, near))
    error = ((rounded @ near.T).float() - asked @ items.T).abs().max(dim=1, keepdim=True).values.numpy()
    assert (error <= bound).all()
    assert bound.max() < 0.02

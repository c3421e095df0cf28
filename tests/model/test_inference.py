"""Towers over whole catalogs and many users: the blocks are an arrangement, not a result."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from adapt.model import inference
from adapt.model.content import ContentTowers
from adapt.model.inference import embed_items, embed_users
from adapt.model.items import ItemFeatures
from adapt.model.mmsrec import MMSRec
from adapt.model.towers import DualTower

ITEMS, WIDTH = 30, 6
RANDOM = np.random.default_rng(0)
HISTORIES = [RANDOM.integers(ITEMS, size=length) for length in (7, 1, 3, 12, 1, 5, 2, 9, 4, 4, 11)]


@pytest.fixture
def catalog() -> ItemFeatures:
    torch.manual_seed(1)
    return ItemFeatures(
        {name: torch.randn(ITEMS, WIDTH) for name in ("text", "image")},
        {"text": torch.arange(ITEMS) % 3 != 1, "image": torch.arange(ITEMS) % 3 != 2},
    )


@pytest.fixture(params=["content", "paper"])
def towers(request: pytest.FixtureRequest) -> DualTower:
    torch.manual_seed(0)
    widths = {"text": WIDTH, "image": WIDTH}
    if request.param == "paper":
        return MMSRec(widths, dim=8, depth=1, heads=2, hidden=8, max_length=6).eval()
    made = ContentTowers(widths, shared=WIDTH, private={"image": 2}, width=8, heads=2, hidden=8, max_length=5)
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return made.eval()


def embed(towers: DualTower, catalog: ItemFeatures, histories: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    items = embed_items(towers, catalog, np.ones(ITEMS, dtype=bool))
    return items, embed_users(towers, histories, catalog, items)


def test_blocks_change_nothing(towers: DualTower, catalog: ItemFeatures, monkeypatch: pytest.MonkeyPatch) -> None:
    items, users = embed(towers, catalog, HISTORIES)
    monkeypatch.setattr(inference, "_ITEMS", 7)
    monkeypatch.setattr(inference, "_USERS", 3)
    in_blocks = embed(towers, catalog, HISTORIES)
    np.testing.assert_allclose(in_blocks[0], items, atol=1e-6)
    np.testing.assert_allclose(in_blocks[1], users, atol=1e-5)


def test_every_user_is_embedded_as_if_alone(towers: DualTower, catalog: ItemFeatures) -> None:
    _, together = embed(towers, catalog, HISTORIES)
    alone = [embed(towers, catalog, [history])[1][0] for history in HISTORIES]
    np.testing.assert_allclose(together, np.stack(alone), atol=1e-5)
    assert len(np.unique(together.round(4), axis=0)) > 8  # and they differ


def test_only_the_last_items_are_read(towers: DualTower, catalog: ItemFeatures) -> None:
    longer = [np.concatenate([RANDOM.integers(ITEMS, size=40), history]) for history in HISTORIES if len(history) > 5]
    shorter = [history for history in HISTORIES if len(history) > 5]
    np.testing.assert_allclose(embed(towers, catalog, longer)[1], embed(towers, catalog, shorter)[1], atol=1e-5)


def test_rows_are_unit_and_zero_where_not_usable(towers: DualTower, catalog: ItemFeatures) -> None:
    usable = np.arange(ITEMS) != 4
    items = embed_items(towers, catalog, usable)
    np.testing.assert_allclose(np.linalg.norm(items, axis=1), usable.astype(float), atol=1e-6)
    _, users = embed(towers, catalog, HISTORIES)
    np.testing.assert_allclose(np.linalg.norm(users, axis=1), 1, atol=1e-6)
    assert items.dtype == users.dtype == np.float32


def test_nobody_gives_no_rows(towers: DualTower, catalog: ItemFeatures) -> None:
    items, users = embed(towers, catalog, [])
    assert users.shape == (0, towers.dim)
    assert items.shape == (ITEMS, towers.dim)

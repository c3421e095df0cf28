"""The paper's towers without its numbers: what masks, positions and missing modalities may and may not change."""

from __future__ import annotations

import re

import pytest
import torch
from torch import nn

from adapt.model.content import ContentTowers
from adapt.model.items import ItemFeatures
from adapt.model.mmsrec import MMSRec
from adapt.model.towers import DualTower

ITEMS, WIDTH, LENGTH = 9, 5, 6
WIDTHS = {"text": WIDTH, "image": WIDTH}


@pytest.fixture
def towers() -> MMSRec:
    torch.manual_seed(0)
    made = MMSRec(WIDTHS, dim=8, depth=2, heads=2, hidden=8, max_length=LENGTH).eval()
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.5) if parameter.ndim > 1 else None
    return made


@pytest.fixture
def catalog() -> ItemFeatures:
    torch.manual_seed(1)
    present = {"text": torch.arange(ITEMS) % 3 != 1, "image": torch.arange(ITEMS) % 3 != 2}
    return ItemFeatures({name: torch.randn(ITEMS, WIDTH) for name in WIDTHS}, present)


def spoiled(catalog: ItemFeatures) -> ItemFeatures:
    """The same items with other values where nothing is present."""
    values = {name: value.clone() for name, value in catalog.values.items()}
    for name, value in values.items():
        value[~catalog.present[name]] = 1e3
    return ItemFeatures(values, catalog.present)


def test_a_missing_modality_is_not_read(towers: MMSRec, catalog: ItemFeatures) -> None:
    torch.testing.assert_close(towers.embed_items(spoiled(catalog)), towers.embed_items(catalog))
    histories = torch.tensor([[0, 1, 2], [-1, 4, 5]])
    users = [towers.embed_users(histories, items, torch.empty(0)) for items in (catalog, spoiled(catalog))]
    torch.testing.assert_close(*users)


def test_items_of_one_modality_are_those_of_a_catalog_without_the_other(towers: MMSRec, catalog: ItemFeatures) -> None:
    only = towers.embed_items(catalog.only(["text"]).take(torch.tensor([2])))
    torch.testing.assert_close(only, towers.embed_items(catalog.take(torch.tensor([2]))))  # item 2 has no image


def test_padding_changes_nothing(towers: MMSRec, catalog: ItemFeatures) -> None:
    short = towers.embed_users(torch.tensor([[4, 6]]), catalog, torch.empty(0))
    padded = towers.embed_users(torch.tensor([[-1, -1, -1, 4, 6]]), catalog, torch.empty(0))
    torch.testing.assert_close(padded, short, rtol=1e-4, atol=1e-5)


def test_the_order_of_a_history_matters(towers: MMSRec, catalog: ItemFeatures) -> None:
    users = towers.embed_users(torch.tensor([[4, 6, 3], [3, 6, 4]]), catalog, torch.empty(0))
    assert not torch.allclose(users[0], users[1], atol=1e-4)


def test_the_hidden_item_is_hidden_and_both_sides_are_read(towers: MMSRec, catalog: ItemFeatures) -> None:
    masked = torch.tensor([[False, True, False]])
    before, hidden, after = (
        towers.embed_masked(torch.tensor([row]), masked, catalog) for row in ([0, 1, 2], [0, 5, 2], [0, 1, 8])
    )
    torch.testing.assert_close(hidden, before)
    assert not torch.allclose(after, before, atol=1e-4)


def test_predicting_the_last_place_is_what_a_user_embedding_is(towers: MMSRec, catalog: ItemFeatures) -> None:
    user = towers.embed_users(torch.tensor([[3, 4]]), catalog, torch.empty(0))
    masked = torch.tensor([[False, False, True]])
    torch.testing.assert_close(towers.embed_masked(torch.tensor([[3, 4, 7]]), masked, catalog), user)


@pytest.mark.parametrize("kind", ["content", "paper"])
def test_the_names_that_an_adapter_may_take_are_linear_layers(towers: MMSRec, kind: str) -> None:
    content = ContentTowers(WIDTHS, shared=5, width=8, heads=2, hidden=8)
    for layer in (content.refine.down_proj, content.up):
        nn.init.ones_(layer.weight)  # a branch that says nothing takes none
    made: DualTower = towers if kind == "paper" else content
    pattern = re.compile(made.lora_targets())
    matched = {name: module for name, module in made.named_modules() if pattern.fullmatch(name)}
    assert all(isinstance(module, nn.Linear) for module in matched.values())
    for part in ("q_proj", "k_proj", "v_proj", "o_proj", "up_proj", "down_proj"):
        assert any(name.endswith(part) for name in matched), part

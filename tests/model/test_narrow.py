"""Towers in the dimensions that a catalog uses say, and learn, what they do in all of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from adapt import adapters
from adapt.model.content import ContentTowers
from adapt.model.inference import embed_items
from adapt.model.items import ItemFeatures
from adapt.model.narrow import narrowed, widen
from adapt.model.residual import used_columns

ITEMS = 12
HISTORIES = torch.tensor([[-1, 0, 3, 5], [7, 8, 9, 1]])


@pytest.fixture(params=[False, True])
def towers(request: pytest.FixtureRequest) -> ContentTowers:
    """Every branch says something, but not of texts in the block of pictures."""
    torch.manual_seed(0)
    made = ContentTowers(
        {"image": 5, "text": 7},
        shared=4,
        private={"image": 5, "text": 3},
        width=8,
        heads=2,
        hidden=8,
        landmarks={"image": 6},
        slack=request.param,
        dropout=0.0,
    )
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            if not name.startswith("alone"):
                parameter.add_(0.3 * torch.randn_like(parameter))
        pictures = slice(4, 9)
        for part in (made.modality_type["text"], made.refine.down_proj.weight, made.refine.down_proj.bias):
            part[pictures] = 0
        made.get_parameter("projection.text.linear.weight")[pictures] = 0
    return made.eval()


def texts() -> ItemFeatures:
    torch.manual_seed(1)
    return ItemFeatures({"text": torch.randn(ITEMS, 7)}, {"text": torch.ones(ITEMS, dtype=torch.bool)})


def columns_of(towers: ContentTowers) -> Tensor:
    content = embed_items(towers, texts(), np.ones(ITEMS, bool))
    return used_columns(torch.from_numpy(content), towers.dim)


def scores(towers: ContentTowers) -> Tensor:
    """Of every place with every item: what a loss is made of."""
    embedded = towers.embed_items(texts())
    return towers.embed_places(HISTORIES, embedded) @ embedded.T


def test_only_the_dimensions_that_are_used_are_computed_and_they_hold_the_same(towers: ContentTowers) -> None:
    columns = columns_of(towers)
    assert columns.tolist() == [0, 1, 2, 3, 9, 10, 11]  # an item with a text is of unit length: slack is not used
    narrow = narrowed(towers, columns)
    assert narrow.dim == narrow.inner == 7
    embedded, small = towers.embed_items(texts()), narrow.embed_items(texts())
    torch.testing.assert_close(small, embedded[:, columns])
    places, few = (made.embed_places(HISTORIES, items) for made, items in ((towers, embedded), (narrow, small)))
    torch.testing.assert_close(few, places[..., columns])
    assert towers.user_map.weight.shape == (12, 12)  # the original is left as it was


def test_gradients_are_the_same_too(towers: ContentTowers) -> None:
    columns = columns_of(towers)
    narrow = narrowed(towers, columns)
    for made in (towers, narrow):
        scores(made).sin().sum().backward()  # type: ignore[no-untyped-call]
    checked = 0
    for (name, wide), small in zip(towers.named_parameters(), narrow.parameters(), strict=True):
        if small.grad is None:
            assert wide.grad is None, name
            continue
        assert wide.grad is not None, name
        kept = wide.grad
        for axis, (full, part) in enumerate(zip(wide.shape, small.shape, strict=True)):
            kept = kept if full == part else kept.index_select(axis, columns)
        torch.testing.assert_close(small.grad, kept, msg=name)
        checked += bool(small.grad.any())
    assert checked > 15


def test_what_narrow_towers_learn_is_said_by_the_wide_ones_and_nothing_is_said_beside_it(towers: ContentTowers) -> None:
    columns = columns_of(towers)
    wide, narrow = (narrowed(towers, kept) for kept in (torch.arange(towers.dim), columns))
    for made in (wide, narrow):
        adapters.attach(made, rank=2, beside=r"user_map\.weight|log_recency")
    optimizer = torch.optim.SGD([value for value in narrow.parameters() if value.requires_grad], lr=0.01)
    for _ in range(3):
        optimizer.zero_grad()
        scores(narrow).sin().sum().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    before = wide.user_map.weight.clone()
    widen(wide, narrow, columns)
    torch.testing.assert_close(scores(wide), scores(narrow), rtol=1e-4, atol=1e-4)
    assert not torch.allclose(scores(wide), scores(towers), atol=1e-2)
    embedded = wide.embed_items(texts()).detach()
    assert not embedded[:, 4:9].any()
    assert torch.equal(wide.user_map.weight[4:9], before[4:9])
    adapters.merge(wide)  # pictures are what they were where texts have nothing
    images = ItemFeatures({"image": torch.randn(3, 5)}, {"image": torch.ones(3, dtype=torch.bool)})
    before, after = (made.projection["image"](images.values["image"])[:, 4:9] for made in (towers, wide))
    torch.testing.assert_close(after, before)


def test_all_dimensions_are_a_copy(towers: ContentTowers) -> None:
    same = narrowed(towers, torch.arange(towers.dim))
    assert same.has_slack == towers.has_slack
    torch.testing.assert_close(scores(same), scores(towers))

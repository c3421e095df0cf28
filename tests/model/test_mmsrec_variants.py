"""The paper's towers with one thing changed: what items are compared by, and which way attention looks."""

from __future__ import annotations

import pytest
import torch

from adapt.errors import CheckpointError
from adapt.hub.format import build_towers
from adapt.model.items import ItemFeatures
from adapt.model.mmsrec import AttentionKind, ItemTower, MMSRec
from adapt.train.objectives.base import TrainingBatch
from adapt.train.objectives.cloze import Cloze
from adapt.train.objectives.next_item import NextItem

WIDTHS = {"text": 5, "image": 4}
TEMPERATURE = torch.tensor(0.2, requires_grad=True)


@pytest.fixture
def catalog() -> ItemFeatures:
    torch.manual_seed(1)
    present = {"text": torch.tensor([True, True, False, True]), "image": torch.tensor([True, False, True, True])}
    return ItemFeatures({name: torch.randn(4, width) for name, width in WIDTHS.items()}, present)


def towers(item_tower: ItemTower = "shared", attention: AttentionKind = "bidirectional") -> MMSRec:
    torch.manual_seed(0)
    return MMSRec(WIDTHS, dim=8, heads=2, hidden=8, max_length=5, item_tower=item_tower, attention=attention).eval()


def test_features_are_compared_as_they_are(catalog: ItemFeatures) -> None:
    made = towers("features")
    assert made.dim == 9
    expected = torch.cat(
        [
            torch.where(catalog.present[name][:, None], catalog.values[name], torch.zeros(()))
            for name in ("text", "image")
        ],
        dim=1,
    )
    torch.testing.assert_close(made.embed_items(catalog), expected)
    torch.testing.assert_close(made.embed_items(catalog.only(["image"]))[:, 5:], expected[:, 5:])
    assert not made.embed_items(catalog.only(["image"]))[:, :5].any()
    assert made.embed_users(torch.tensor([[0, 1]]), catalog, torch.empty(0)).shape == (1, 9)


def test_projected_features_pass_by_the_encoder(catalog: ItemFeatures) -> None:
    made = towers("projection")
    found = made.embed_items(catalog)
    torch.testing.assert_close(found[1], made.input["text"](catalog.values["text"][1]))
    both = torch.stack([made.input[name](catalog.values[name][0]) for name in WIDTHS])
    torch.testing.assert_close(found[0], both.amax(dim=0))


def test_separate_towers_share_no_weight(catalog: ItemFeatures) -> None:
    made, shared = towers("separate"), towers()
    made.embed_items(catalog).sum().backward()
    touched = {name for name, value in made.named_parameters() if value.grad is not None and value.grad.any()}
    assert touched
    assert all(name.startswith("items.") for name in touched)
    shared.embed_items(catalog).sum().backward()
    assert any(value.grad is not None for name, value in shared.named_parameters() if name.startswith("encoder."))


def test_causal_towers_see_no_later_item(catalog: ItemFeatures) -> None:
    made = towers(attention="causal")
    first, second = (made.embed_places(torch.tensor([row]), catalog) for row in ([-1, 0, 1, 3], [-1, 0, 1, 2]))
    torch.testing.assert_close(first[:, 1:3], second[:, 1:3])
    assert not torch.allclose(first[:, 3], second[:, 3], atol=1e-4)
    user = made.embed_users(torch.tensor([[0, 1, 3]]), catalog, torch.empty(0))
    torch.testing.assert_close(user, first[:, 3], rtol=1e-4, atol=1e-5)


def test_the_modalities_of_a_place_see_each_other(catalog: ItemFeatures) -> None:
    made = towers(attention="causal")
    torch.testing.assert_close(made.embed_items(catalog), towers().embed_items(catalog))


def test_each_kind_of_attention_has_its_objective(catalog: ItemFeatures) -> None:
    batch = TrainingBatch(
        items=catalog,
        histories=torch.tensor([[0, 1]]),
        targets=torch.tensor([[0, 1]]),
        candidates=torch.tensor([1, 3]),
        log_q=torch.zeros(2),
        places=2.0,
        catalog=catalog,
    )
    loss = NextItem()(towers(attention="causal"), batch, TEMPERATURE)
    loss.backward()
    assert float(loss.detach()) > 0
    with pytest.raises(TypeError, match="mask token"):
        Cloze()(towers(attention="causal"), batch, TEMPERATURE)
    with pytest.raises(TypeError, match="causal"):
        NextItem()(towers(), batch, TEMPERATURE)


def test_a_configuration_names_its_variant() -> None:
    arguments = {"features": WIDTHS, "dim": 8, "heads": 2, "hidden": 8}
    made = build_towers("mmsrec", {**arguments, "item_tower": "features", "attention": "causal"}, "test")
    assert isinstance(made, MMSRec)
    assert (made.dim, made.causal) == (9, True)
    with pytest.raises(CheckpointError, match="item_tower"):
        build_towers("mmsrec", {**arguments, "item_tower": "none"}, "test")

"""The learned second view: bounded, random, and against the towers."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from adapt.model.items import ItemFeatures
from adapt.model.losses import info_nce
from adapt.model.mmsrec import MMSRec
from adapt.seeds import generator
from adapt.train.objectives.alignment import Alignment
from adapt.train.objectives.base import TrainingBatch, WeightedSum
from adapt.train.objectives.second_view import LearnedView
from adapt.train.pretraining import TowersWithLoss

ITEMS, WIDTH, RADIUS = 12, 6, 0.25


@pytest.fixture
def items() -> ItemFeatures:
    torch.manual_seed(0)
    return ItemFeatures({"text": torch.randn(ITEMS, WIDTH)}, {"text": torch.ones(ITEMS, dtype=torch.bool)})


@pytest.fixture
def view() -> LearnedView:
    torch.manual_seed(1)
    return LearnedView({"text": WIDTH, "image": 3}, RADIUS, hidden=8)


def batch(items: ItemFeatures) -> TrainingBatch:
    nothing = torch.zeros((0, 1), dtype=torch.long)
    return TrainingBatch(items, nothing, nothing, nothing[:, 0], torch.zeros(0), 1.0, items)


def towers() -> MMSRec:
    torch.manual_seed(2)
    return MMSRec({"text": WIDTH}, dim=8, depth=1, heads=2, hidden=8, max_length=4, dropout=0.0)


def test_a_feature_moves_by_the_radius_and_never_twice_alike(view: LearnedView, items: ItemFeatures) -> None:
    moved = [view(items).values["text"] for _ in range(2)]
    original = items.values["text"]
    torch.testing.assert_close((moved[0] - original).norm(dim=1), RADIUS * original.norm(dim=1))
    assert not torch.allclose(moved[0], moved[1], atol=1e-4)


def test_an_empty_feature_stays_where_it_is(view: LearnedView) -> None:
    empty = ItemFeatures({"text": torch.zeros(2, WIDTH)}, {"text": torch.tensor([True, False])})
    assert not view(empty).values["text"].any()


def test_the_generator_climbs_what_the_towers_descend(view: LearnedView, items: ItemFeatures) -> None:
    made, temperature = towers(), torch.tensor(0.2)
    torch.manual_seed(3)
    moved = view(items)
    plain = info_nce(made.embed_items(items), made.embed_items(moved), temperature)
    weight = view.write["text"].weight
    assert isinstance(weight, torch.Tensor)
    (found,) = torch.autograd.grad(plain, weight)
    with torch.no_grad():  # a small step along the gradient that the optimiser would take downwards
        weight -= 0.05 * found / found.norm()
        torch.manual_seed(3)
        after = info_nce(made.embed_items(items), made.embed_items(view(items)), temperature)
    assert float(after) > float(plain.detach())


def test_trained_together_the_generator_makes_a_harder_view_than_chance(items: ItemFeatures) -> None:
    torch.manual_seed(4)
    rows = torch.from_numpy(generator(0, 5).normal(size=(64, WIDTH)).astype("float32"))
    catalog = ItemFeatures({"text": rows}, {"text": torch.ones(len(rows), dtype=torch.bool)})
    view = LearnedView({"text": WIDTH}, radius=0.5, hidden=16)
    module = TowersWithLoss(towers(), WeightedSum([(1.0, Alignment(["T-T'"], view))]), 0.2)
    optimizer = torch.optim.Adam(module.parameters(), lr=3e-3)
    for _ in range(150):
        optimizer.zero_grad()
        module(batch(catalog))["total"].backward()
        optimizer.step()
    with torch.no_grad():
        clean = module.towers.embed_items(catalog)
        drawn = ItemFeatures(
            {"text": rows + 0.5 * rows.norm(dim=1, keepdim=True) * F.normalize(torch.randn_like(rows), dim=1)},
            catalog.present,
        )
        hard, chance = (
            float(info_nce(clean, module.towers.embed_items(other), 0.2)) for other in (view(catalog), drawn)
        )
    assert hard > chance


def test_its_weights_are_trained_and_saved_with_the_towers(view: LearnedView, items: ItemFeatures) -> None:
    module = TowersWithLoss(towers(), WeightedSum([(1.0, Alignment(["T-T'"], view))]), 0.2)
    assert any("learned_view.write.text" in name for name in module.state_dict())
    module(batch(items))["total"].backward()
    assert view.write["text"].weight.grad is not None
    plain = TowersWithLoss(towers(), WeightedSum([(1.0, Alignment(["T-T'"]))]), 0.2)
    assert {name.split(".")[0] for name in plain.state_dict()} == {"towers", "log_temperature"}


def test_only_a_second_view_of_the_same_modalities_is_perturbed(view: LearnedView, items: ItemFeatures) -> None:
    made = MMSRec({"text": WIDTH, "image": 3}, dim=8, depth=1, heads=2, hidden=8, max_length=4, dropout=0.0)
    both = ItemFeatures(
        {**items.values, "image": torch.randn(ITEMS, 3)}, {**items.present, "image": items.present["text"]}
    )
    for pair, same in (("V-T", True), ("T-VT", True), ("T-T'", False), ("VT-VT'", False)):
        learned, plain = (Alignment([pair], made_by) for made_by in (view, None))
        losses = [float(objective(made, batch(both), torch.tensor(0.2)).detach()) for objective in (learned, plain)]
        assert (abs(losses[0] - losses[1]) < 1e-6) == same, pair
    learned.eval()
    assert float(learned(made, batch(both), torch.tensor(0.2)).detach()) == pytest.approx(losses[1])

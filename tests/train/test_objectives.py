"""The objectives: what each supervises, checked by hand, and that each has finite gradients."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from adapt.errors import UsageError
from adapt.model.content import ContentTowers
from adapt.model.items import ItemFeatures
from adapt.model.losses import info_nce
from adapt.model.mmsrec import MMSRec
from adapt.train.objectives.alignment import ALL_PAIRS, Alignment
from adapt.train.objectives.base import TrainingBatch, WeightedSum
from adapt.train.objectives.cloze import Cloze
from adapt.train.objectives.next_item import NextItem

ITEMS, WIDTH = 8, 6
TEMPERATURE = torch.tensor(0.2, requires_grad=True)


@pytest.fixture
def items() -> ItemFeatures:
    torch.manual_seed(1)
    values = {name: torch.randn(ITEMS, WIDTH) for name in ("text", "image")}
    return ItemFeatures(values, {"text": torch.arange(ITEMS) != 7, "image": torch.arange(ITEMS) % 4 != 2})


@pytest.fixture
def batch(items: ItemFeatures) -> TrainingBatch:
    """Two histories; of the second one, the batch does not say what followed."""
    return TrainingBatch(
        items=items,
        histories=torch.tensor([[-1, 0, 1], [2, 3, 4]]),
        targets=torch.tensor([[-1, 0, 1], [-1, 2, -1]]),
        candidates=torch.tensor([1, 5, 4, 7]),
        log_q=torch.tensor([-0.5, -1.0, -0.1, -2.0]),
        places=3.0,
        catalog=items,
    )


@pytest.fixture
def hidden(items: ItemFeatures) -> TrainingBatch:
    """Two histories, whose places without an item but with a target are hidden."""
    return TrainingBatch(
        items=items,
        histories=torch.tensor([[-1, 0, 1, -1], [2, -1, 4, -1]]),
        targets=torch.tensor([[-1, -1, -1, 1], [-1, 3, -1, 0]]),
        candidates=torch.tensor([1, 5, 4, 7]),
        log_q=torch.tensor([-0.5, -1.0, -0.1, -2.0]),
        places=3.0,
        catalog=items,
    )


@pytest.fixture
def content() -> ContentTowers:
    torch.manual_seed(0)
    towers = ContentTowers(
        {"text": WIDTH, "image": WIDTH}, shared=WIDTH, private={"image": 4}, width=8, heads=2, hidden=8, max_length=5
    )
    for parameter in towers.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return towers.eval()


@pytest.fixture
def paper() -> MMSRec:
    torch.manual_seed(0)
    return MMSRec({"text": WIDTH, "image": WIDTH}, dim=8, depth=1, heads=2, hidden=8, max_length=4).eval()


def cosine(a: torch.Tensor, b: torch.Tensor) -> float:
    return float(F.cosine_similarity(a.detach(), b.detach(), dim=0))


def test_next_item_supervises_every_place_that_has_a_target(content: ContentTowers, batch: TrainingBatch) -> None:
    embedded = content.embed_items(batch.items)
    places = content.embed_places(batch.histories, embedded)
    total = 0.0
    for user, place, target in ((0, 1, 0), (0, 2, 1), (1, 1, 2)):
        logits = [
            cosine(places[user, place], embedded[candidate]) / 0.2 - float(log_q)
            for candidate, log_q in zip(batch.candidates, batch.log_q, strict=True)
        ]
        total -= logits[target] - math.log(sum(map(math.exp, logits)))
    assert float(NextItem()(content, batch, TEMPERATURE).detach()) == pytest.approx(total / 3, rel=1e-4)


def test_processes_that_share_a_batch_out_agree_with_one(content: ContentTowers, batch: TrainingBatch) -> None:
    whole = NextItem()(content, batch, TEMPERATURE)
    shares = [
        TrainingBatch(
            batch.items,
            batch.histories[rank::2],
            batch.targets[rank::2],
            batch.candidates,
            batch.log_q,
            batch.places / 2,
            batch.catalog,
        )
        for rank in range(2)
    ]
    mean = torch.stack([NextItem()(content, share, TEMPERATURE) for share in shares]).mean()
    torch.testing.assert_close(mean, whole)


def test_a_process_without_a_history_adds_nothing(content: ContentTowers, batch: TrainingBatch) -> None:
    empty = TrainingBatch(
        batch.items, batch.histories[:0], batch.targets[:0], batch.candidates, batch.log_q, 1.5, batch.catalog
    )
    loss = NextItem()(content, empty, TEMPERATURE)
    loss.backward()
    assert float(loss.detach()) == 0.0


def test_cloze_predicts_the_hidden_items(paper: MMSRec, hidden: TrainingBatch) -> None:
    states = paper.embed_masked(hidden.histories, hidden.targets >= 0, hidden.items)
    candidates = paper.embed_items(hidden.items.take(hidden.candidates))
    total = 0.0
    for state, target in zip(states, (1, 3, 0), strict=True):
        pairs = zip(candidates, hidden.log_q, strict=True)
        logits = [cosine(state, candidate) / 0.2 - float(log_q) for candidate, log_q in pairs]
        total -= logits[target] - math.log(sum(map(math.exp, logits)))
    assert float(Cloze()(paper, hidden, TEMPERATURE).detach()) == pytest.approx(total / 3, rel=1e-4)


def test_cloze_refuses_a_batch_that_shows_what_it_predicts(paper: MMSRec, batch: TrainingBatch) -> None:
    with pytest.raises(ValueError, match="mask_ratio"):
        Cloze()(paper, batch, TEMPERATURE)


def test_a_batch_that_hides_nothing_adds_nothing_to_the_cloze(paper: MMSRec, hidden: TrainingBatch) -> None:
    loss = Cloze()(paper, replace(hidden, targets=torch.full_like(hidden.targets, -1)), TEMPERATURE)
    loss.backward()
    assert float(loss.detach()) == 0.0


def test_alignment_compares_items_that_have_both_views(content: ContentTowers, batch: TrainingBatch) -> None:
    both = [row for row in range(ITEMS) if row != 7 and row % 4 != 2]
    complete = batch.catalog.take(torch.tensor(both))
    text, image = (content.embed_items(complete.only([name])) for name in ("text", "image"))
    whole = content.embed_items(complete)
    expected = (info_nce(image, text, 0.2) + info_nce(text, whole, 0.2)) / 2
    torch.testing.assert_close(Alignment(["V-T", "T-VT"])(content, batch, TEMPERATURE), expected)


def test_unknown_pairs_are_refused() -> None:
    for pairs in (["V-A"], []):
        with pytest.raises(UsageError, match="V-T"):
            Alignment(pairs)


def test_alignment_alone_trains_through_a_source_without_images(content: ContentTowers, batch: TrainingBatch) -> None:
    text = batch.catalog.only(["text"])
    batch = TrainingBatch(text, batch.histories, batch.targets, batch.candidates, batch.log_q, 3.0, text)
    losses = WeightedSum([(1.0, Alignment(["V-T"]))]).losses(content, batch, TEMPERATURE)
    losses["total"].backward()
    assert float(losses["total"].detach()) == 0.0


def test_the_sum_is_weighted_and_its_parts_are_not(content: ContentTowers, batch: TrainingBatch) -> None:
    losses = WeightedSum([(2.0, NextItem()), (0.5, Alignment(["V-T"]))]).losses(content, batch, TEMPERATURE)
    torch.testing.assert_close(losses["total"], 2 * losses["next_item"] + 0.5 * losses["alignment"])
    assert set(losses) == {"next_item", "alignment", "total"}


def test_objectives_refuse_towers_that_they_cannot_train(
    content: ContentTowers, paper: MMSRec, batch: TrainingBatch
) -> None:
    with pytest.raises(TypeError, match="causal"):
        NextItem()(paper, batch, TEMPERATURE)
    with pytest.raises(TypeError, match="mask token"):
        Cloze()(content, batch, TEMPERATURE)


@pytest.mark.parametrize("name", ["content", "paper"])
def test_gradients_are_finite(name: str, request: pytest.FixtureRequest) -> None:
    towers = request.getfixturevalue(name).train()
    batch = request.getfixturevalue("batch" if name == "content" else "hidden")
    first = NextItem() if name == "content" else Cloze()
    losses = WeightedSum([(1.0, first), (1.0, Alignment(ALL_PAIRS))]).losses(towers, batch, TEMPERATURE)
    losses["total"].backward()
    reached = [parameter.grad for parameter in towers.parameters() if parameter.grad is not None]
    assert len(reached) > 10
    assert all(torch.isfinite(gradient).all() for gradient in reached)

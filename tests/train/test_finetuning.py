"""Fine-tuning as a task: what is a negative, what is trained, and that towers learn what follows what."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from adapt.data.batches import SequenceSource
from adapt.evaluate.histories import from_lists
from adapt.model.content import ContentTowers
from adapt.model.items import ItemFeatures
from adapt.model.mmsrec import MMSRec
from adapt.model.residual import ItemResidual
from adapt.model.towers import DualTower
from adapt.seeds import generator
from adapt.train.finetuning import (
    FineTunedTowers,
    FineTuning,
    HeldBackEvents,
    embed_with_residual,
    make_sampler,
    met_before,
    train_only,
    trains_items,
)
from adapt.train.loop import LoopOptions, ParameterGroup, run_loop

ITEMS, USERS, WIDTH = 30, 80, 16


def catalog() -> ItemFeatures:
    torch.manual_seed(0)
    values = F.normalize(torch.randn(ITEMS, WIDTH), dim=-1)
    present = torch.ones(ITEMS, dtype=torch.bool)
    present[ITEMS - 1] = False
    return ItemFeatures({"text": values}, {"text": present})


def circle() -> SequenceSource:
    """Every user walks on a circle of items: what follows is certain, and content says nothing about it."""
    random = generator(0)
    firsts = random.integers(ITEMS - 1, size=USERS)
    items = np.concatenate([(first + np.arange(5)) % (ITEMS - 1) for first in firsts]).astype(np.int32)
    return SequenceSource("circle", ITEMS, np.arange(USERS + 1) * 5, items, catalog().any_present.numpy())


def content_towers() -> ContentTowers:
    torch.manual_seed(0)
    return ContentTowers({"text": WIDTH}, shared=WIDTH, depth=1, width=8, heads=2, hidden=8, max_length=10)


def task(towers: DualTower, *, residual: bool = True, targets: int = 64, sparse: bool = False) -> FineTuning:
    items = catalog()
    warm = items.any_present.clone()
    part = ItemResidual(warm, torch.arange(WIDTH), sparse=sparse) if residual else None
    module = FineTunedTowers(towers, part, 0.1, penalty=0.1)
    events = HeldBackEvents(from_lists([[n, n + 1] for n in range(20)]), np.arange(2, 22))
    groups = [ParameterGroup([p for p in module.parameters() if p.requires_grad])]
    return FineTuning(module, make_sampler(circle(), towers, targets, 16, 0), items, groups, events)


def test_what_was_met_before_is_no_negative() -> None:
    histories = torch.tensor([[-1, 0, 1], [2, 3, 0]])
    candidates = torch.tensor([0, 3, 1])
    known = torch.tensor([1, 2, 4, 5])  # flattened places
    expected = [[1, 0, 0], [1, 0, 1], [0, 1, 0], [1, 1, 0]]
    assert met_before(histories, candidates, known, 4).int().tolist() == expected


def test_masking_changes_the_loss_by_what_is_masked() -> None:
    towers = content_towers().eval()
    made = task(towers, residual=False)
    batch = made.batch(0, 0, 1, torch.device("cpu"))
    part = batch.items
    embedded = towers.embed_items(part.items)
    targets = part.targets.flatten()
    known = (targets >= 0).nonzero().flatten()
    places = F.normalize(towers.embed_places(part.histories, embedded).flatten(0, 1)[known], dim=-1)
    logits = places @ embedded[part.candidates].T / 0.1 - part.log_q
    total = 0.0
    for row, place in enumerate(known.tolist()):
        seen = set(part.histories[place // part.histories.shape[1]][: place % part.histories.shape[1] + 1].tolist())
        goal = int(targets[place])
        kept = [c for c, item in enumerate(part.candidates.tolist()) if item not in seen or c == goal]
        total -= float(F.log_softmax(logits[row, kept], dim=0)[kept.index(goal)].detach())
    assert float(made.module(batch)["total"].detach()) == pytest.approx(total / len(known), rel=1e-5)


def test_towers_and_residuals_learn_what_follows_what(tmp_path: Path) -> None:
    made = task(content_towers())
    before = float(made.gains(made.held_back, None).mean()) if made.held_back else 0.0
    run_loop(made, LoopOptions(steps=100, learning_rate=0.01, clip=0.0, evaluate_every=50), tmp_path, device="cpu")
    assert made.validate() > before + 0.3  # type: ignore[operator]
    residual = made.module.residual
    assert residual is not None
    assert 0.01 < float(residual.norms().mean()) < 2
    embeddings = embed_with_residual(made.module.towers, made.items, residual)
    assert not embeddings[ITEMS - 1].any()  # what has no feature has no embedding either


@pytest.mark.parametrize("accumulate", [1, 2])
def test_gradients_of_a_few_residuals_train_all_of_them_alike(tmp_path: Path, accumulate: int) -> None:
    """Momentum goes on moving an item that a batch does not read, whatever form the gradient has."""
    trained = []
    for sparse in (False, True):
        made = task(content_towers(), sparse=sparse, targets=16)
        options = LoopOptions(steps=10, learning_rate=0.01, accumulate=accumulate)
        run_loop(made, options, tmp_path / str(sparse), device="cpu")
        trained.append(made.module.state_dict())
    assert trained[0]["residual.delta"].abs().sum() > 0
    torch.testing.assert_close(trained[1], trained[0], rtol=1e-5, atol=1e-6)


def test_a_share_of_the_batch_for_each_process_adds_up_to_the_batch() -> None:
    made = task(content_towers().eval())
    whole = made.module(made.batch(3, 0, 1, torch.device("cpu")))["total"]
    parts = [made.module(made.batch(3, rank, 2, torch.device("cpu")))["total"] for rank in range(2)]
    torch.testing.assert_close(sum(parts) / 2, whole)


def test_batches_hold_about_as_many_places_each() -> None:
    random = generator(1)
    lengths = random.integers(2, 40, size=200)
    source = SequenceSource(
        "mixed",
        ITEMS,
        np.concatenate([[0], np.cumsum(lengths)]),
        random.integers(ITEMS - 1, size=int(lengths.sum())).astype(np.int32),
        catalog().any_present.numpy(),
    )
    towers = content_towers()
    sampler = make_sampler(source, towers, 100, 16, 0)
    sizes = [int((sampler.batch(step).targets >= 0).sum()) for step in range(sampler.batches())]
    assert sum(sizes) == int((lengths - 1).sum())  # every event once an epoch, of long histories too
    assert min(sizes) > 70
    assert max(sizes) < 130


@pytest.mark.parametrize("attention", ["causal", "bidirectional"])
def test_towers_of_the_paper_are_trained_without_a_residual(attention: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    towers = MMSRec({"text": WIDTH}, dim=16, depth=1, heads=2, hidden=16, max_length=8, attention=attention)  # type: ignore[arg-type]
    made = task(towers, residual=False)
    result = run_loop(made, LoopOptions(steps=40, learning_rate=0.01), tmp_path, device="cpu")
    assert result.curve[-1][1] < result.curve[0][1] - 0.3


def test_only_what_the_pattern_names_is_trained() -> None:
    towers = ContentTowers({"text": WIDTH, "image": 8}, shared=WIDTH, private={"image": 8}, slack=True)
    assert train_only(towers, r"user_map\.weight|log_recency") == towers.inner**2 + 1
    assert not trains_items(towers)
    train_only(towers, r".*")
    assert trains_items(towers)
    assert not any(parameter.requires_grad for parameter in towers.alone.values())

"""Losses against their formulas written out."""

from __future__ import annotations

import math

import pytest
import torch

from adapt.model.losses import info_nce, sampled_softmax

TEMPERATURE = 0.2


def cosine(a: torch.Tensor, b: torch.Tensor) -> float:
    return float(a @ b / (a.norm() * b.norm()))


@pytest.fixture
def vectors() -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    return torch.randn(4, 5), torch.randn(6, 5)


def test_info_nce_is_the_sum_of_both_directions(vectors: tuple[torch.Tensor, torch.Tensor]) -> None:
    first, second = vectors[0], vectors[1][:4]
    total = 0.0
    for a, b in ((first, second), (second, first)):
        for i in range(4):
            weights = [math.exp(cosine(a[i], b[j]) / TEMPERATURE) for j in range(4)]
            total -= math.log(weights[i] / sum(weights)) / 4
    assert float(info_nce(first, second, TEMPERATURE)) == pytest.approx(total, rel=1e-5)
    assert float(info_nce(first[:0], second[:0], TEMPERATURE)) == 0.0


def test_all_items_without_a_correction_give_the_full_softmax(vectors: tuple[torch.Tensor, torch.Tensor]) -> None:
    users, items = vectors
    targets = torch.tensor([5, 0, 0, 3])
    total = 0.0
    for i in range(4):
        weights = [math.exp(cosine(users[i], items[j]) / TEMPERATURE) for j in range(6)]
        total -= math.log(weights[targets[i]] / sum(weights)) / 4
    for ids in (None, torch.arange(6)):
        loss = sampled_softmax(users, items, targets, torch.zeros(6), ids, TEMPERATURE)
        assert float(loss) == pytest.approx(total, rel=1e-5)


def test_a_batch_without_a_target_adds_nothing(vectors: tuple[torch.Tensor, torch.Tensor]) -> None:
    users = vectors[0][:0].requires_grad_()
    none = torch.zeros(0, dtype=torch.long)
    for ids in (None, torch.arange(6)):
        loss = sampled_softmax(users, vectors[1], none, torch.zeros(6), ids, TEMPERATURE, count=2.0)
        loss.backward()
        assert float(loss.detach()) == 0.0


def test_gradients_are_finite_where_a_vector_is_zero(vectors: tuple[torch.Tensor, torch.Tensor]) -> None:
    users, items = (value.clone() for value in vectors)
    users[0], items[2] = 0, 0
    users.requires_grad_()
    temperature = torch.tensor(TEMPERATURE, requires_grad=True)
    targets = torch.tensor([2, 0, 0, 3])
    loss = info_nce(users, items[:4], temperature) + sampled_softmax(
        users, items, targets, torch.zeros(6), None, temperature
    )
    (loss + sampled_softmax(users, items, targets, torch.zeros(6), torch.arange(6), temperature)).backward()
    assert users.grad is not None
    assert torch.isfinite(users.grad).all()
    assert temperature.grad is not None
    assert torch.isfinite(temperature.grad)


def test_sampled_softmax_corrects_and_masks_the_target_item_again(vectors: tuple[torch.Tensor, torch.Tensor]) -> None:
    users, candidates = vectors
    targets = torch.tensor([0, 1, 2, 3])
    ids = torch.tensor([10, 11, 12, 13, 10, 14])  # candidate 4 is the item of candidate 0 again
    log_q = torch.linspace(-3, 0, 6)
    total = 0.0
    for i in range(4):
        weights = [math.exp(cosine(users[i], candidates[j]) / TEMPERATURE - log_q[j]) for j in range(6)]
        kept = [w for j, w in enumerate(weights) if j == targets[i] or ids[j] != ids[targets[i]]]
        total -= math.log(weights[targets[i]] / sum(kept)) / 4
    loss = sampled_softmax(users, candidates, targets, log_q, ids, TEMPERATURE)
    assert float(loss) == pytest.approx(total, rel=1e-5)
    halved = sampled_softmax(users, candidates, targets, log_q, ids, TEMPERATURE, count=8)
    assert float(halved) == pytest.approx(total / 2, rel=1e-5)

"""The item residual: nothing at the start, bounded, and no concern of items that nobody has met."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from adapt.model.residual import ItemResidual, used_columns

WARM = torch.tensor([True, False, True, True, False])


def content() -> Tensor:
    torch.manual_seed(0)
    rows = F.normalize(torch.randn(5, 6), dim=-1)
    rows[:, 4] = 0.0
    return F.normalize(rows, dim=-1)


def moved(max_norm: float = 0.0, length: float = 2.0) -> ItemResidual:
    residual = ItemResidual(WARM, used_columns(content(), inner=5), max_norm)
    with torch.no_grad():
        residual.delta.copy_(length * F.normalize(torch.randn_like(residual.delta), dim=-1))
    return residual


def test_at_the_start_items_are_their_content() -> None:
    residual = ItemResidual(WARM, used_columns(content(), inner=5))
    torch.testing.assert_close(residual(content(), torch.arange(5)), content())
    assert residual.delta.shape == (3, 4)  # neither the empty dimension nor the one that users lack


def test_warm_items_move_and_cold_ones_stay_to_the_bit() -> None:
    rows = torch.tensor([4, 0, 1, 2])
    out = moved()(content()[rows], rows)
    assert torch.equal(out[[0, 2]], content()[[4, 1]])
    assert ((out - content()[rows])[[1, 3]].norm(dim=1) > 0.1).all()
    torch.testing.assert_close(out.norm(dim=1), torch.ones(4))
    torch.testing.assert_close(out[1], moved_alone(0), atol=1e-6, rtol=0)


def moved_alone(row: int) -> Tensor:
    """By the formula: normalise(content + d)."""
    torch.manual_seed(0)
    base = content()
    residual = moved()
    d = torch.zeros(5, 6)
    d[WARM.nonzero().flatten()[:, None], residual.columns[None]] = residual.delta.detach()
    return F.normalize(base + d, dim=-1)[row]


def test_neither_momentum_nor_decay_reaches_a_cold_item() -> None:
    residual = moved()
    optimizer = torch.optim.AdamW(residual.parameters(), lr=0.1, weight_decay=0.5)
    for rows in (torch.tensor([0, 1, 4]), torch.tensor([2, 1])):
        optimizer.zero_grad()
        residual(content()[rows], rows).sin().sum().backward()
        optimizer.step()
    assert torch.equal(residual(content(), torch.arange(5))[~WARM], content()[~WARM])


@pytest.mark.parametrize("bound", [0.5, 3.0])
def test_a_residual_is_no_longer_than_its_bound(bound: float) -> None:
    residual = moved(bound)
    torch.testing.assert_close(residual.norms(), torch.full((3,), min(2.0, bound)))
    _, length = residual.moved(content()[[1, 2, 2]], torch.tensor([1, 2, 2]))
    assert float(length.detach()) == pytest.approx(2 * min(2.0, bound) ** 2)


def test_a_bounded_residual_still_turns() -> None:
    residual = moved(0.5)
    residual(content(), torch.arange(5))[:, 0].sum().backward()
    assert residual.delta.grad is not None
    assert residual.delta.grad.norm() > 0


def test_a_catalog_without_warm_items_is_its_content() -> None:
    residual = ItemResidual(torch.zeros(5, dtype=torch.bool), torch.arange(4), 1.0)
    assert torch.equal(residual(content(), torch.arange(5)), content())
    assert residual.norms().shape == (0,)

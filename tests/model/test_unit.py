"""Unit vectors and their gradient, against torch's own."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from adapt.model.unit import unit


def test_values_and_gradients_are_those_of_normalize() -> None:
    torch.manual_seed(0)
    x = torch.randn(3, 4, 5, dtype=torch.float64)
    x[1, 2] = 0
    weights = torch.randn_like(x)
    found = []
    for scaled in (unit, lambda rows: F.normalize(rows, dim=-1)):
        leaf = x.clone().requires_grad_()
        out = scaled(leaf)
        (out * weights).sum().backward()  # type: ignore[no-untyped-call]
        found.append((out.detach(), leaf.grad))
    torch.testing.assert_close(found[0], found[1])
    assert torch.autograd.gradcheck(unit, (torch.randn(4, 3, dtype=torch.float64, requires_grad=True),))


def test_gradients_keep_the_type_of_their_input() -> None:
    leaf = torch.randn(2, 8, dtype=torch.bfloat16, requires_grad=True)
    unit(leaf).float().sum().backward()  # type: ignore[no-untyped-call]
    assert leaf.grad is not None
    assert leaf.grad.dtype == torch.bfloat16

"""Tokens without padding give what padded ones give, and so do the tokens that are asked for alone."""

from __future__ import annotations

from typing import Literal

import pytest
import torch

from adapt.model.attention import causal_mask, padding_mask
from adapt.model.blocks import Stack
from adapt.model.packing import Asked, Packing

DIM, BATCH, LENGTH = 8, 4, 5
PRESENT = torch.tensor([[0, 0, 1, 1, 1], [1, 1, 1, 1, 1], [0, 0, 0, 0, 1], [0, 1, 0, 1, 1]]).bool()
WANTED = torch.tensor([[0, 0, 0, 1, 1], [1, 0, 0, 0, 1], [0, 0, 0, 0, 0], [0, 1, 0, 0, 1]]).bool()


@pytest.fixture
def x() -> torch.Tensor:
    torch.manual_seed(0)
    return torch.randn(BATCH, LENGTH, DIM, requires_grad=True)


def test_packing_and_padding_are_inverse(x: torch.Tensor) -> None:
    packing = Packing.of(PRESENT)
    packed = packing.pack(x)
    torch.testing.assert_close(packed, x[PRESENT])
    torch.testing.assert_close(packing.pad(packed), x * PRESENT[..., None])
    assert not packing.full
    whole = Packing.of(torch.ones_like(PRESENT))
    assert whole.full
    torch.testing.assert_close(whole.pad(whole.pack(x)), x)


def test_asked_tokens_move_together_and_remember_their_places() -> None:
    asked = Asked.of(Packing.of(PRESENT), WANTED)
    assert asked.places.tolist() == WANTED.flatten().nonzero().flatten().tolist()
    padded = asked.packing.pad(asked.places[:, None].float() + 1)[..., 0]
    assert padded.tolist() == [[4, 5], [6, 10], [0, 0], [17, 20]]


def test_places_that_hold_nothing_are_never_asked() -> None:
    asked = Asked.of(Packing.of(PRESENT), torch.ones_like(PRESENT))
    assert asked.rows.tolist() == list(range(int(PRESENT.sum())))
    nobody = Asked.of(Packing.of(PRESENT), torch.zeros_like(PRESENT))
    assert len(nobody.rows) == 0
    assert Stack(1, DIM, 2, 8)(torch.randn(int(PRESENT.sum()), DIM), None, Packing.of(PRESENT), nobody).shape == (
        0,
        DIM,
    )


@pytest.mark.parametrize("norm", ["pre", "post"])
@pytest.mark.parametrize("kind", ["bidirectional", "causal"])
@pytest.mark.parametrize("depth", [0, 1, 2])
def test_values_and_gradients_are_those_of_padded_sequences(
    x: torch.Tensor, norm: Literal["pre", "post"], kind: str, depth: int
) -> None:
    stack = Stack(depth, DIM, 2, 16, norm=norm, final_norm=True)
    allowed = padding_mask(PRESENT) if kind == "bidirectional" else causal_mask(PRESENT)
    inputs = [x, *stack.parameters()]

    def gradients(found: torch.Tensor, weights: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return torch.autograd.grad((found * weights).sum(), inputs, retain_graph=True)

    padded = stack(x, allowed)
    packing = Packing.of(PRESENT)
    for where, asked in ((PRESENT, None), (WANTED, Asked.of(packing, WANTED))):
        expected = padded[where]
        found = stack(packing.pack(x), allowed, packing, asked)
        torch.testing.assert_close(found, expected)
        weights = torch.randn_like(expected)
        for ours, theirs in zip(gradients(found, weights), gradients(expected, weights), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)

"""Attention and blocks against torch's own, and what masks keep apart."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from adapt.model.attention import Attention, causal_mask, padding_mask
from adapt.model.blocks import Block, Stack

DIM, HEADS, LENGTH = 12, 3, 6


def copy_attention(ours: Attention, theirs: nn.MultiheadAttention) -> None:
    with torch.no_grad():
        layers = (ours.q_proj, ours.k_proj, ours.v_proj)
        theirs.in_proj_weight.copy_(torch.cat([layer.weight for layer in layers]))
        theirs.in_proj_bias.copy_(torch.cat([layer.bias for layer in layers]))
        theirs.out_proj.load_state_dict(ours.o_proj.state_dict())


@pytest.fixture
def x() -> torch.Tensor:
    torch.manual_seed(0)
    return torch.randn(2, LENGTH, DIM)


def test_attention_equals_torchs_own(x: torch.Tensor) -> None:
    ours, theirs = Attention(DIM, HEADS), nn.MultiheadAttention(DIM, HEADS, batch_first=True)
    copy_attention(ours, theirs)
    present = torch.tensor([[False, True, True, True, True, True], [True] * LENGTH])
    expected, _ = theirs(x, x, x, key_padding_mask=~present, need_weights=False)
    torch.testing.assert_close(ours(x, padding_mask(present)), expected)


def test_a_width_that_heads_do_not_divide_is_refused() -> None:
    with pytest.raises(ValueError, match="multiple"):
        Attention(10, 3)


def test_a_causal_place_knows_nothing_of_later_ones(x: torch.Tensor) -> None:
    attention = Attention(DIM, HEADS)
    mask = causal_mask(torch.ones(2, LENGTH, dtype=torch.bool))
    before = attention(x, mask)
    changed = x.clone()
    changed[:, 4:] += 5
    after = attention(changed, mask)
    torch.testing.assert_close(after[:, :4], before[:, :4])
    assert not torch.allclose(after[:, 4:], before[:, 4:])


def test_what_padding_holds_changes_nothing(x: torch.Tensor) -> None:
    stack = Stack(2, DIM, HEADS, 16).eval()
    present = torch.tensor([[False, False, True, True, True, True]] * 2)
    for mask in (causal_mask(present), padding_mask(present)):
        before = stack(x, mask)[:, 2:]
        changed = x.clone()
        changed[:, :2] = 99
        torch.testing.assert_close(stack(changed, mask)[:, 2:], before)


def test_a_post_norm_block_equals_torchs_encoder_layer(x: torch.Tensor) -> None:
    ours = Block(DIM, HEADS, 20, norm="post").eval()
    theirs = nn.TransformerEncoderLayer(DIM, HEADS, 20, 0.0, activation="gelu", batch_first=True).eval()
    copy_attention(ours.attention, theirs.self_attn)
    theirs.linear1.load_state_dict(ours.feed_forward.up_proj.state_dict())
    theirs.linear2.load_state_dict(ours.feed_forward.down_proj.state_dict())
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-4, atol=1e-5)


def test_a_zero_initialised_block_is_the_identity_and_can_learn(x: torch.Tensor) -> None:
    block = Block(DIM, HEADS, 20, zero_init=True)
    torch.testing.assert_close(block(x), x, rtol=0, atol=0)
    block(x).pow(3).sum().backward()
    assert block.attention.o_proj.weight.grad is not None
    assert block.attention.o_proj.weight.grad.abs().sum() > 0

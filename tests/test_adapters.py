"""Adapters reach the towers in both modes, change only what they should, and refuse another base."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from adapt import adapters
from adapt.errors import CheckpointError, UsageError
from adapt.model.content import ContentTowers
from adapt.model.items import ItemFeatures
from adapt.model.mmsrec import MMSRec
from adapt.model.towers import DualTower

BASE = adapters.BaseIdentity("tiny", "", "a" * 64)
WIDTHS = {"image": 6, "text": 8}


def towers(kind: str) -> DualTower:
    torch.manual_seed(0)
    if kind == "mmsrec":
        return MMSRec(WIDTHS, dim=16, depth=1, heads=2, hidden=32, max_length=8, dropout=0.0)
    made = ContentTowers(
        WIDTHS, shared=8, private={"image": 6}, depth=1, width=8, heads=2, hidden=16, max_length=8, dropout=0.0
    )
    for parameter in made.parameters():  # off the zero start, so that every layer has a say
        torch.nn.init.normal_(parameter, std=0.3) if parameter.ndim > 1 else None
    return made


def outputs(model: DualTower) -> Tensor:
    torch.manual_seed(1)
    catalog = ItemFeatures(
        {name: torch.randn(10, width) for name, width in WIDTHS.items()},
        {"image": torch.arange(10) % 3 != 0, "text": torch.arange(10) % 3 != 1},
    )
    items = model.embed_items(catalog)
    histories = torch.tensor([[-1, 2, 3], [4, 5, 6]])
    return torch.cat([items, model.embed_users(histories, catalog, items)])


def train_a_little(model: DualTower) -> None:
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    for _ in range(5):
        optimizer.zero_grad()
        outputs(model).sin().sum().backward()
        optimizer.step()


@pytest.mark.parametrize("kind", ["content", "mmsrec"])
@torch.no_grad()  # kernels of some processors round differently where a gradient is wanted
def test_a_fresh_adapter_changes_nothing(kind: str) -> None:
    model = towers(kind)
    before = outputs(model).detach()
    adapters.attach(model, rank=2)
    torch.testing.assert_close(outputs(model).detach(), before, rtol=0, atol=0)


@pytest.mark.parametrize("kind", ["content", "mmsrec"])
@pytest.mark.parametrize("training", [True, False])
def test_a_trained_adapter_changes_outputs_in_both_modes(kind: str, training: bool) -> None:
    model = towers(kind)
    before = outputs(model).detach()
    adapters.attach(model, rank=2)
    train_a_little(model)
    model.train(training)
    assert (outputs(model) - before).abs().max() > 1e-3


def test_only_the_adapter_moves() -> None:
    model = towers("content")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    trainable = adapters.attach(model, rank=2)
    train_a_little(model)
    after = {name.replace(".base_layer", ""): value for name, value in model.state_dict().items()}
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert trainable == sum(value.numel() for name, value in after.items() if "lora_" in name) > 0


@pytest.mark.parametrize("kind", ["content", "mmsrec"])
def test_every_target_of_the_regex_is_adapted(kind: str) -> None:
    model = towers(kind)
    adapters.attach(model, rank=2)
    adapted = {name.rpartition(".lora_A")[0] for name, _ in model.named_parameters() if ".lora_A" in name}
    for layer in ("q_proj", "k_proj", "v_proj", "o_proj", "up_proj", "down_proj"):
        assert any(name.endswith(layer) for name in adapted), layer


@pytest.mark.parametrize("kind", ["content", "mmsrec"])
def test_merging_equals_not_merging(kind: str) -> None:
    model = towers(kind)
    adapters.attach(model, rank=2)
    train_a_little(model)
    before = outputs(model).detach()
    adapters.merge(model)
    torch.testing.assert_close(outputs(model).detach(), before, rtol=1e-5, atol=1e-5)
    assert model.state_dict().keys() == towers(kind).state_dict().keys()


def test_a_saved_adapter_comes_back(tmp_path: Path) -> None:
    model = towers("content")
    adapters.attach(model, rank=2)
    train_a_little(model)
    adapters.save(model, tmp_path / "adapter", BASE)
    fresh = towers("content")
    adapters.load(fresh, tmp_path / "adapter", BASE)
    torch.testing.assert_close(outputs(fresh), outputs(model), rtol=0, atol=1e-6)


def test_a_wrong_base_is_refused_with_both_hashes(tmp_path: Path) -> None:
    model = towers("content")
    adapters.attach(model, rank=2)
    adapters.save(model, tmp_path / "adapter", BASE)
    other = adapters.BaseIdentity("other", "", "b" * 64)
    with pytest.raises(CheckpointError) as failure:
        adapters.load(towers("content"), tmp_path / "adapter", other)
    assert BASE.sha256 in str(failure.value)
    assert other.sha256 in str(failure.value)


def test_rank_zero_and_a_second_adapter_are_refused() -> None:
    model = towers("content")
    with pytest.raises(UsageError, match="rank"):
        adapters.attach(model, rank=0)
    adapters.attach(model, rank=2)
    with pytest.raises(UsageError, match="without an adapter"):
        adapters.attach(model, rank=2)


def test_saving_or_merging_without_an_adapter_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="with an adapter"):
        adapters.save(towers("content"), tmp_path / "adapter", BASE)
    with pytest.raises(UsageError, match="with an adapter"):
        adapters.merge(towers("content"))
    assert not (tmp_path / "adapter").exists()


def test_adapters_lie_side_by_side_over_one_base(tmp_path: Path) -> None:
    base = towers("content")
    before = outputs(base).detach()
    found = []
    for seed in range(2):
        model = adapters.twin(base)
        torch.manual_seed(seed)
        adapters.attach(model, rank=2, beside="log_recency")
        train_a_little(model)
        adapters.save(model, tmp_path / str(seed), BASE, beside="log_recency")
        found.append(outputs(model).detach())
    loaded = [adapters.twin(base) for _ in range(2)]
    for seed, model in enumerate(loaded):
        adapters.load(model, tmp_path / str(seed), BASE)
    for model, expected in zip(loaded, found, strict=True):  # both are there at once
        torch.testing.assert_close(outputs(model).detach(), expected, rtol=0, atol=1e-6)
        assert (expected - before).abs().max() > 1e-3
    assert (found[0] - found[1]).abs().max() > 1e-3
    adapters.merge(loaded[0])
    for model, expected in zip([base, *loaded], [before, *found], strict=True):
        torch.testing.assert_close(outputs(model).detach(), expected, rtol=1e-5, atol=1e-5)
    shared = {id(value) for value in base.parameters()}
    own = [value for value in loaded[1].parameters() if id(value) not in shared]
    assert sum(value.numel() for value in own) == adapters.attach(towers("content"), rank=2, beside="log_recency")


def test_what_is_trained_beside_the_adapter_moves_and_comes_back(tmp_path: Path) -> None:
    model = towers("content")
    plain = adapters.attach(towers("content"), rank=2)
    assert adapters.attach(model, rank=2, beside="log_recency") == plain + 1
    train_a_little(model)
    assert isinstance(model, ContentTowers)
    assert float(model.recency.detach()) != pytest.approx(0.4, abs=1e-6)
    adapters.save(
        model, tmp_path / "adapter", BASE, beside="log_recency", card=lambda made: f"# {len(list(made.iterdir()))}\n"
    )
    fresh = towers("content")
    adapters.load(fresh, tmp_path / "adapter", BASE)
    torch.testing.assert_close(outputs(fresh), outputs(model), rtol=0, atol=1e-6)
    assert (tmp_path / "adapter" / "README.md").read_text() == "# 4\n"


def test_parameters_that_do_not_fit_are_refused() -> None:
    with pytest.raises(CheckpointError, match="log_recency"):
        adapters.put(towers("content"), {"log_recency": torch.zeros(2)}, "somewhere")
    with pytest.raises(CheckpointError, match="no such parameter"):
        adapters.put(towers("content"), {"nothing": torch.zeros(2)}, "somewhere")


def test_a_projection_that_is_trained_whole_gets_no_low_rank_update() -> None:
    model = towers("content")
    adapters.attach(model, rank=2, beside=r"user_map\.weight|log_recency")
    moved = {name for name, value in model.named_parameters() if value.requires_grad}
    assert {"user_map.weight", "log_recency"} <= moved
    assert not any(name.startswith("user_map.lora") for name in moved)
    assert any(name.startswith("up.lora") for name in moved)


def test_a_branch_that_is_zero_gets_no_adapter() -> None:
    """Its inner layers are random: there is nothing in them to adapt."""
    made = ContentTowers(WIDTHS, shared=8, private={"image": 6}, depth=1, width=8, heads=2, hidden=16, max_length=8)
    adapters.attach(made, rank=2)
    adapted = {name.partition(".lora_")[0] for name, _ in made.named_parameters() if "lora_" in name}
    assert adapted == {"projection.image.linear", "projection.text.linear", "user_map"}
    with torch.no_grad():
        said = ContentTowers(WIDTHS, shared=8, depth=1, width=8, heads=2, hidden=16, max_length=8)
        said.up.bias[0] = 0.1
    adapters.attach(said, rank=2)
    adapted = {name.partition(".")[0] for name, _ in said.named_parameters() if "lora_" in name}
    assert adapted == {"projection", "user_map", "down", "up", "transformer"}

"""Golden outputs: what they hold, when they are kept, and what they notice."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from adapt.errors import CheckpointError
from adapt.features.normalise import Normalisation, SourceStatistics
from adapt.files import write_sums
from adapt.hub.bundled import bundled_entries
from adapt.hub.format import Checkpoint, build_towers
from adapt.hub.golden import TOLERANCE, make_golden
from adapt.hub.sums import GOLDEN


def two_modalities(seed: int = 0) -> Checkpoint:
    """Towers of texts and images, with their statistics; nothing else of it is used."""
    widths = {"image": 6, "text": 8}
    torch.manual_seed(seed)
    arguments = {"features": widths, "shared": 8, "private": {"image": 4}, "width": 8, "heads": 2, "hidden": 8}
    towers = build_towers("content", {**arguments, "max_length": 4}, "test").eval()
    for parameter in towers.parameters():
        torch.nn.init.normal_(parameter)
    statistics = {name: SourceStatistics.isotropic(width) for name, width in widths.items()}
    return Checkpoint(None, None, towers, statistics, {})  # type: ignore[arg-type]


SETTINGS = {"image": Normalisation(), "text": Normalisation()}


def change(folder: Path, edit: Callable[[dict[str, torch.Tensor]], object]) -> None:
    tensors = load_file(folder / GOLDEN)
    edit(tensors)
    save_file(tensors, folder / GOLDEN)
    write_sums(folder)


def test_every_combination_of_modalities_and_a_history_that_is_cut_are_in() -> None:
    made = two_modalities()
    golden = make_golden(made.towers, made.statistics, SETTINGS)
    seen = {tuple(row) for row in torch.stack([golden.items.present[name] for name in ("image", "text")], 1).tolist()}
    assert seen == {(True, False), (False, True), (True, True)}
    lengths = (golden.histories >= 0).sum(axis=1)
    assert lengths.min() == 1
    assert lengths.max() == made.towers.max_length + 1
    for name, present in golden.items.present.items():
        norms = golden.items.values[name].norm(dim=1)
        torch.testing.assert_close(norms, present.float())
    np.testing.assert_allclose(np.linalg.norm(golden.item_embeddings, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(golden.user_embeddings, axis=1), 1, atol=1e-5)


def test_they_are_the_same_each_time_and_hold_for_their_towers_only() -> None:
    made = two_modalities()
    golden, again = (make_golden(made.towers, made.statistics, SETTINGS) for _ in range(2))
    np.testing.assert_array_equal(golden.histories, again.histories)
    np.testing.assert_array_equal(golden.user_embeddings, again.user_embeddings)
    widths = {"image": 6, "text": 8}
    assert golden.holds(made.towers, widths)
    assert golden.error(made.towers) == 0
    assert not golden.holds(two_modalities(seed=1).towers, widths)
    assert not golden.holds(made.towers, {"text": 8})


def test_a_parameter_of_the_user_tower_that_moves_is_noticed() -> None:
    made = two_modalities()
    golden = make_golden(made.towers, made.statistics, SETTINGS)
    with torch.no_grad():
        made.towers.get_parameter("log_recency").add_(0.5)
    assert golden.error(made.towers) > TOLERANCE


def test_towers_that_are_not_finite_get_none_and_fail_those_that_are_there() -> None:
    made = two_modalities()
    golden = make_golden(made.towers, made.statistics, SETTINGS)
    with torch.no_grad():
        made.towers.get_parameter("user_map.weight").fill_(float("nan"))
    assert golden.error(made.towers) == float("inf")
    with pytest.raises(CheckpointError, match="finite"):
        make_golden(made.towers, made.statistics, SETTINGS)


def test_dropout_is_off_while_they_are_made_and_the_mode_stays() -> None:
    made = two_modalities()
    quiet = make_golden(made.towers, made.statistics, SETTINGS)
    made.towers.train()
    loud = make_golden(made.towers, made.statistics, SETTINGS)
    np.testing.assert_array_equal(quiet.user_embeddings, loud.user_embeddings)
    assert made.towers.training


def test_they_are_kept_while_they_hold_and_made_anew_for_other_weights(folder: Path, tmp_path: Path) -> None:
    read = Checkpoint.from_pretrained(str(folder))
    assert read.golden is not None
    elsewhere = replace(read.golden, item_embeddings=read.golden.item_embeddings + np.float32(TOLERANCE / 10))
    replace(read, golden=elsewhere).save_pretrained(tmp_path / "kept")
    kept = Checkpoint.from_pretrained(str(tmp_path / "kept")).golden
    assert kept is not None
    np.testing.assert_array_equal(kept.item_embeddings, elsewhere.item_embeddings)

    with torch.no_grad():
        read.towers.get_parameter("user_map.weight").add_(0.5)
    read.save_pretrained(tmp_path / "new")
    new = Checkpoint.from_pretrained(str(tmp_path / "new"))
    assert new.golden is not None
    assert new.golden.error(new.towers) == 0
    assert np.abs(new.golden.user_embeddings - read.golden.user_embeddings).max() > TOLERANCE


def test_a_checkpoint_without_them_can_be_read(folder: Path) -> None:
    (folder / GOLDEN).unlink()
    write_sums(folder)
    assert Checkpoint.from_pretrained(str(folder)).golden is None


@pytest.mark.parametrize(
    "edit",
    [
        lambda tensors: tensors.pop("histories"),
        lambda tensors: tensors.pop("items.text.present"),
        lambda tensors: tensors.update(more=torch.zeros(1)),
        lambda tensors: tensors.update(histories=tensors["histories"] + 100),
        lambda tensors: tensors.update(histories=tensors["histories"] * 0 - 1),
        lambda tensors: tensors.update(item_embeddings=tensors["item_embeddings"][:, :3].contiguous()),
        lambda tensors: tensors.update({name: value[:0] for name, value in tensors.items()}),
    ],
    ids=["no histories", "no presence", "more", "other rows", "empty histories", "narrow", "nothing"],
)
def test_golden_outputs_of_another_form_are_refused(
    folder: Path, edit: Callable[[dict[str, torch.Tensor]], object]
) -> None:
    change(folder, edit)
    with pytest.raises(CheckpointError, match=r"golden"):
        Checkpoint.from_pretrained(str(folder))


def test_golden_outputs_that_are_no_safetensors_are_refused(folder: Path) -> None:
    (folder / GOLDEN).write_bytes(b"no tensors")
    write_sums(folder)
    with pytest.raises(CheckpointError, match="safetensors"):
        Checkpoint.from_pretrained(str(folder))


def test_the_bundled_checkpoints_reproduce_theirs() -> None:
    for entry in bundled_entries():
        if entry.kind == "checkpoint":
            read = Checkpoint.from_pretrained(entry.path)
            assert read.golden is not None
            assert read.golden.error(read.towers) <= TOLERANCE, entry.name

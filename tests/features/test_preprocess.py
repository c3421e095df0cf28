"""Resizing and cropping."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from adapt.errors import CheckpointError
from adapt.features.preprocess import ImagePreprocess, from_crop_fraction

HALF = (0.5, 0.5, 0.5)


@given(
    width=st.integers(1, 400),
    height=st.integers(1, 400),
    resize=st.sampled_from(["shortest", "squash", "longest"]),
)
def test_any_shape_becomes_the_square(width: int, height: int, resize: str) -> None:
    preprocess = ImagePreprocess(32, 36, "bicubic", HALF, HALF, resize)  # type: ignore[arg-type]
    assert preprocess(Image.new("RGB", (width, height), (7, 8, 9))).shape == (32, 32, 3)


def test_the_middle_is_kept() -> None:
    image = Image.new("RGB", (300, 100), (0, 0, 0))
    image.paste((255, 255, 255), (100, 0, 200, 100))
    assert from_crop_fraction(50, 1.0, "nearest", HALF, HALF)(image).min() == 255


def test_a_square_crop_is_that_of_torchvision() -> None:
    transforms = pytest.importorskip("torchvision.transforms")
    pixels = np.random.default_rng(0).integers(0, 256, (60, 60, 3), dtype=np.uint8)
    image = Image.fromarray(pixels).resize((320, 320), Image.Resampling.BICUBIC)
    usual = transforms.Compose(
        [transforms.Resize(256, transforms.InterpolationMode.BICUBIC), transforms.CenterCrop(224)]
    )
    ours = from_crop_fraction(224, 0.875, "bicubic", HALF, HALF)(image).astype(int)
    assert np.abs(ours - np.asarray(usual(image)).astype(int)).max() <= 2


def test_longest_fills_the_rest() -> None:
    pixels = ImagePreprocess(20, 20, "nearest", HALF, HALF, "longest", 99)(Image.new("RGB", (40, 20)))
    assert (pixels[0] == 99).all()
    assert (pixels[10] == 0).all()


def test_values_are_scaled_by_mean_and_std() -> None:
    preprocess = ImagePreprocess(2, 2, "nearest", (0.0, 0.5, 1.0), (1.0, 0.5, 0.25))
    scaled = preprocess.scale(np.full((1, 2, 2, 3), 255, np.uint8))
    assert scaled.shape == (1, 3, 2, 2)
    assert scaled[0, :, 0, 0].tolist() == [1.0, 1.0, 0.0]


@pytest.mark.parametrize(
    "change", [{"interpolation": "magic"}, {"size": 0}, {"resize_to": 3}, {"std": (1.0, 0.0, 1.0)}]
)
def test_impossible_settings_are_refused(change: dict[str, object]) -> None:
    usual: dict[str, object] = {"size": 8, "resize_to": 8, "interpolation": "bicubic", "mean": HALF, "std": HALF}
    with pytest.raises(CheckpointError):
        ImagePreprocess(**{**usual, **change})  # type: ignore[arg-type]

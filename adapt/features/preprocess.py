"""From a picture to the square of pixels that an image encoder reads."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from adapt.errors import CheckpointError

if TYPE_CHECKING:
    from PIL import Image

_FILTERS = ("nearest", "bilinear", "bicubic", "lanczos")


@dataclass(frozen=True)
class ImagePreprocess:
    """Resize, crop and scale, as the weights were trained.

    Attributes:
        size: side of the square, in pixels.
        resize: ``shortest``: the shorter side becomes ``resize_to`` and the middle is cropped; ``squash``: both sides
            become ``size``; ``longest``: the longer side becomes ``size`` and the rest is filled.
        resize_to: the shorter side before the crop, in pixels.
        interpolation: ``nearest``, ``bilinear``, ``bicubic`` or ``lanczos``.
        mean, std: per channel, of pixels scaled to [0, 1].
        fill: grey level (0-255) around the picture under ``longest``.
    """

    size: int
    resize_to: int
    interpolation: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    resize: Literal["shortest", "squash", "longest"] = "shortest"
    fill: int = 0

    def __post_init__(self) -> None:
        if self.interpolation not in _FILTERS:
            raise CheckpointError(
                f"expected interpolation to be one of {', '.join(_FILTERS)}, found {self.interpolation!r}"
            )
        if not 0 < self.size <= 4096 or self.resize_to < self.size:
            raise CheckpointError(
                f"expected an image size in 1..4096 and a resize of at least that, found {self.size}, {self.resize_to}"
            )
        if min(self.std) <= 0:
            raise CheckpointError(f"expected a positive std for every channel, found {self.std}")

    def __call__(self, image: Image.Image) -> npt.NDArray[np.uint8]:
        """Pixels of one RGB image: uint8 (size, size, 3)."""
        from PIL import Image

        sampling = Image.Resampling[self.interpolation.upper()]
        width, height = image.size
        if self.resize == "squash":
            return np.asarray(image.resize((self.size, self.size), sampling))
        if self.resize == "longest":
            scale = self.size / max(width, height)
            inner = image.resize((max(1, round(width * scale)), max(1, round(height * scale))), sampling)
            canvas = Image.new("RGB", (self.size, self.size), (self.fill,) * 3)
            canvas.paste(inner, ((self.size - inner.width) // 2, (self.size - inner.height) // 2))
            return np.asarray(canvas)
        # The crop is chosen before resizing: a 10 x 5000 banner never becomes a huge picture in between.
        scale = min(width, height) / self.resize_to
        side = self.size * scale
        left, top = (width - side) / 2, (height - side) / 2
        return np.asarray(image.resize((self.size, self.size), sampling, box=(left, top, left + side, top + side)))

    def scale(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Normalised channels-first values, float32 (n, 3, size, size), of uint8 (n, size, size, 3)."""
        mean = np.asarray(self.mean, dtype=np.float32) * 255
        std = np.asarray(self.std, dtype=np.float32) * 255
        return ((pixels.astype(np.float32) - mean) / std).transpose(0, 3, 1, 2)

    def describe(self) -> dict[str, Any]:
        """JSON-ready values for the identity of an encoder."""
        return asdict(self)


def from_crop_fraction(
    size: int,
    fraction: float,
    interpolation: str,
    mean: tuple[float, float, float],
    std: tuple[float, float, float],
) -> ImagePreprocess:
    """The usual evaluation transform: the middle ``fraction`` of the shorter side becomes ``size`` pixels.

    >>> from_crop_fraction(224, 0.875, "bicubic", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)).resize_to
    256
    """
    if not 0 < fraction <= 1:
        raise CheckpointError(f"expected a crop fraction in (0, 1], found {fraction}")
    return ImagePreprocess(size, math.floor(size / fraction), interpolation, mean, std)

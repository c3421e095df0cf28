"""Image files: found inside the data set's folder, and opened the same way everywhere."""

from __future__ import annotations

import contextlib
import os
import struct
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Literal

from adapt.errors import DataError

if TYPE_CHECKING:
    from PIL import Image

MAX_PIXELS = 64_000_000
# Readers that only decode pixels. Pillow's others start programs (EPS) or fetch nothing useful for a catalog.
FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "AVIF", "MPO", "PPM", "ICO")
SUFFIXES = (".jpg", ".jpeg", ".png", ".gif", ".webp", ".bmp", ".tif", ".tiff", ".avif")
FAILURES = (OSError, ValueError, SyntaxError, TypeError, IndexError, KeyError, EOFError, struct.error, OverflowError)

Fault = Literal["image-missing", "image-outside", "image-url"]


class HugeImageError(DataError):
    """An image has more pixels than are decoded."""


def open_image(path: Path | BinaryIO, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """The picture in a file as RGB: first frame, upright by its EXIF orientation, transparency over white.

    CMYK, palette, grey and 16-bit pictures are converted. The number of pixels is checked before any is decoded.

    Args:
        path: the file, or its open bytes.
        max_pixels: the most pixels that are decoded.

    Raises:
        HugeImageError: there are more pixels.
        DataError: the file is absent, broken, cut short, or of a format that is not read.
    """
    from PIL import ImageOps

    with _opened(path, max_pixels) as image:
        image.load()
        with contextlib.suppress(*FAILURES):  # a damaged EXIF block does not make the picture unreadable
            image = ImageOps.exif_transpose(image)  # noqa: PLW2901
        return _to_rgb(image)


def check_image(path: Path, max_pixels: int = MAX_PIXELS) -> None:
    """Decode a picture as coarsely as its format allows; finds what :func:`open_image` would find, but quicker.

    Raises:
        HugeImageError: there are too many pixels.
        DataError: it cannot be decoded.
    """
    with _opened(path, max_pixels) as image:
        image.draft(None, (1, 1))  # JPEG: one eighth of the size, the whole file is still read
        image.load()


class ImageFinder:
    """Finds the files that image cells name, relative to the data set's folder or else to ``images/`` in it.

    Args:
        root: the data set's folder.
    """

    def __init__(self, root: Path) -> None:
        self._root = root.resolve()
        self._real: dict[str, Path] = {}  # folders after following links: many images share one

    def find(self, value: str) -> Path | Fault:
        """The absolute path of an existing file inside the root, links followed, or what is wrong with ``value``."""
        if "://" in value or value.startswith(("//", "data:")):
            return "image-url"
        outside = False
        for written in dict.fromkeys((value, value.replace("\\", "/"))):
            for folder in (self._root, self._root / "images"):
                try:
                    real = self._follow(folder / written)
                    if not real.is_relative_to(self._root):
                        outside = True
                    elif real.is_file():
                        return real
                except (OSError, ValueError, RuntimeError):  # too long a name, a NUL, a circle of links
                    continue
        return "image-outside" if outside else "image-missing"

    def _follow(self, path: Path) -> Path:
        parent = str(path.parent)
        if parent not in self._real:
            self._real[parent] = path.parent.resolve()
        real = self._real[parent] / path.name
        return real.resolve() if path.name in {"..", "."} or real.is_symlink() else real


def images_by_name(root: Path) -> dict[str, str]:
    """File name without suffix -> path relative to ``root``, for the pictures of its folder ``images``."""
    folder = root / "images"
    if not folder.is_dir():
        return {}
    names = sorted(entry.name for entry in os.scandir(folder) if entry.name.lower().endswith(SUFFIXES))
    return {Path(name).stem: f"images/{name}" for name in reversed(names)}


@contextlib.contextmanager
def _opened(path: Path | BinaryIO, max_pixels: int) -> Iterator[Image.Image]:
    from PIL import Image

    name = path if isinstance(path, Path) else "a file that was sent"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's own warning about size; ours is an error
            Image.init()
            # an older Pillow does not know all of them, and fails on a name it does not know
            formats = [name for name in FORMATS if name in Image.OPEN]
            with Image.open(path, formats=formats) as image:
                width, height = image.size
                if width * height > max_pixels:
                    raise HugeImageError(
                        f"expected at most {max_pixels:,} pixels, found {width:,} x {height:,} in {name}",
                        "Scale the picture down.",
                    )
                yield image
    except Image.DecompressionBombError as error:
        raise HugeImageError(f"expected at most {max_pixels:,} pixels in {name}: {error}", "Scale it down.") from error
    except MemoryError as error:
        raise HugeImageError(f"expected a picture that fits the memory, found {name}", "Scale it down.") from error
    except FAILURES as error:
        raise DataError(
            f"expected a picture, found {_reason(error)}: {name}",
            f"Replace it by a whole file in one of these formats: {', '.join(FORMATS)}.",
        ) from error


def _reason(error: BaseException) -> str:
    from PIL import UnidentifiedImageError

    if isinstance(error, UnidentifiedImageError):
        return "data of no known format"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__


def _to_rgb(image: Image.Image) -> Image.Image:
    from PIL import Image as Images

    if image.mode.startswith("I") or image.mode == "F":
        # 16 bits a pixel: Pillow's own conversion clips everything above 255 to white.
        import numpy as np

        values = np.asarray(image, dtype=np.float64)
        scale = 255 / 65535 if image.mode.startswith("I;16") or values.max(initial=0.0) > 255 else 1.0
        image = Images.fromarray(np.clip(values * scale, 0, 255).astype(np.uint8))
    if "A" in image.mode or "a" in image.mode or "transparency" in image.info:
        layer = image.convert("RGBA")
        white = Images.new("RGBA", layer.size, (255, 255, 255, 255))
        return Images.alpha_composite(white, layer).convert("RGB")
    return image.convert("RGB")

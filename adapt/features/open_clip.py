"""Text and image encoders of a CLIP model read by open_clip; both have the same embedding space."""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import numpy.typing as npt

from adapt.errors import CheckpointError
from adapt.features.base import FloatArray, Modality
from adapt.features.identity import content_id, weights_of_file
from adapt.features.preprocess import ImagePreprocess

if TYPE_CHECKING:
    from PIL import Image

_WEIGHTS = "open_clip_model.safetensors"
_SETTINGS = "open_clip_config.json"
_WANTED = ["*.json", "*.txt", _WEIGHTS]
_PROBE = "Crème BRÛLÉE, the café's 42-piece set: unbelievably good! 日本 naïve"
_LOCAL, _HUB = "local-dir:", "hf-hub:"


@dataclass(frozen=True, eq=False)
class OpenClipText:
    """The text side of a CLIP model; vectors have length 1."""

    id: str
    dim: int
    model: Any
    tokenizer: Any
    device: str = "cpu"
    modality: Modality = "text"
    chunk: int = 64

    def encode(self, batch: Sequence[str]) -> FloatArray:
        """Text embeddings: float32 (n, dim)."""
        import torch

        if not batch:
            return np.zeros((0, self.dim), np.float32)
        with torch.inference_mode():
            values = self.model.encode_text(self.tokenizer(list(batch)).to(self.device), normalize=True)
        return np.ascontiguousarray(values.float().cpu().numpy())


@dataclass(frozen=True, eq=False)
class OpenClipImage:
    """The image side of a CLIP model; vectors have length 1."""

    id: str
    dim: int
    model: Any
    preprocess: ImagePreprocess
    device: str = "cpu"
    modality: Modality = "image"
    chunk: int = 32

    def encode(self, batch: Sequence[Image.Image]) -> FloatArray:
        """Image embeddings of RGB images: float32 (n, dim)."""
        if not batch:
            return np.zeros((0, self.dim), np.float32)
        return self.encode_pixels(np.stack([self.preprocess(image) for image in batch]))

    def encode_pixels(self, pixels: npt.NDArray[np.uint8]) -> FloatArray:
        """Image embeddings of prepared images, uint8 (n, height, width, 3)."""
        import torch

        with torch.inference_mode():
            scaled = torch.from_numpy(np.ascontiguousarray(self.preprocess.scale(pixels))).to(self.device)
            values = self.model.encode_image(scaled, normalize=True)
        return np.ascontiguousarray(values.float().cpu().numpy())


def load_open_clip(
    name: str, modality: Modality, *, base: Path | None = None, allow_download: bool = False, device: str = "cpu"
) -> OpenClipText | OpenClipImage:
    """Read one side of a CLIP model, from safetensors only.

    Args:
        name: ``local-dir:PATH``, ``hf-hub:ORG/NAME``, or ``NAME/TAG`` of open_clip's list, for example
            ``ViT-B-32/laion2b_s34b_b79k``.
        modality: which side.
        base: folder that a relative path starts from.
        allow_download: whether weights may be fetched; without it a copy in the Hub's cache is used.
        device: where the model runs.

    Raises:
        CheckpointError: there are no such weights, they are no safetensors, or they would be random.
    """
    folder = _locate(name, base or Path(), allow_download)
    source = f"{_LOCAL}{folder}"
    with _quiet() as said, _offline(not allow_download):
        try:
            import open_clip

            model = open_clip.create_model(source, require_pretrained=True, pretrained_text=False)
            tokenizer = open_clip.get_tokenizer(source)
        except (OSError, RuntimeError, ValueError, KeyError, TypeError) as failure:
            raise CheckpointError(f"expected a CLIP model at {name}, found: {failure or said.getvalue()}") from failure
    model.eval().requires_grad_(False).to(device)
    weights = list(weights_of_file(folder / _WEIGHTS))
    if modality == "text":
        text_id = content_id("open_clip", weights, {"side": "text", "probe": tokenizer([_PROBE]).tolist()})
        return _measured(OpenClipText(text_id, 0, model, tokenizer, device), ["a"])
    preprocess = _preprocess(model.visual.preprocess_cfg)
    image_id = content_id("open_clip", weights, {"side": "image", "image": preprocess.describe()})
    from PIL import Image

    blank = Image.new("RGB", (preprocess.size, preprocess.size))
    return _measured(OpenClipImage(image_id, 0, model, preprocess, device), [blank])


Side = TypeVar("Side", OpenClipText, OpenClipImage)


def _measured(encoder: Side, sample: Sequence[Any]) -> Side:
    """The encoder with the width that it gives a sample: open_clip states it in no one place."""
    return replace(encoder, dim=int(encoder.encode(sample).shape[1]))


def _locate(name: str, base: Path, allow_download: bool) -> Path:
    """The folder with the model's settings and weights."""
    if name.startswith(_LOCAL):
        folder = base / Path(name.removeprefix(_LOCAL)).expanduser()
    elif name.startswith(_HUB):
        folder = _snapshot(name.removeprefix(_HUB), allow_download)
    else:
        folder = _snapshot(_repository(name), allow_download)
    if not (folder / _WEIGHTS).is_file() or not (folder / _SETTINGS).is_file():
        raise CheckpointError(
            f"expected {_SETTINGS} and {_WEIGHTS} in {folder}, found "
            f"{sorted(path.name for path in folder.glob('*')) or 'nothing'}",
            "Only safetensors are read, never a pickle, and random weights are never used.",
        )
    return folder


def _repository(name: str) -> str:
    """The Hub repository of ``NAME/TAG`` in open_clip's own list."""
    import open_clip

    architecture, _, tag = name.partition("/")
    known = open_clip.get_pretrained_cfg(architecture, tag)
    if not known:
        raise CheckpointError(
            f"expected NAME/TAG out of open_clip's list, found {name!r}",
            "`python -c 'import open_clip; print(open_clip.list_pretrained())'` shows it.",
        )
    owner, _, rest = str(known.get("hf_hub", "")).partition("/")
    repository, _, file = rest.partition("/")
    if not repository or file not in {"", _WEIGHTS, "open_clip_pytorch_model.bin"}:
        raise CheckpointError(
            f"expected {name} as safetensors on the Hub, found only a pickle: it is not read",
            "Choose another tag, or give a folder as local-dir:PATH.",
        )
    return f"{owner}/{repository}"


def _snapshot(repository: str, allow_download: bool) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError

    try:
        return Path(snapshot_download(repository, allow_patterns=_WANTED, local_files_only=not allow_download))
    except (OSError, HFValidationError) as failure:
        raise CheckpointError(
            f"expected the CLIP weights {repository} in the Hub's cache, found none",
            str(failure).splitlines()[0] if allow_download else "Allow fetching them with --allow-download.",
        ) from failure


def _preprocess(settings: Any) -> ImagePreprocess:
    """open_clip's own description of a model's preprocessing in our words."""
    size = settings["size"]
    side = int(size if isinstance(size, int) else size[0])
    if not isinstance(size, int) and len(set(size)) > 1:
        raise CheckpointError(f"expected a model that reads square images, found {size}")
    return ImagePreprocess(
        size=side,
        resize_to=side,
        interpolation=str(settings["interpolation"]),
        mean=tuple(settings["mean"]),
        std=tuple(settings["std"]),
        resize=settings["resize_mode"],
        fill=int(settings["fill_color"]),
    )


@contextlib.contextmanager
def _quiet() -> Iterator[io.StringIO]:
    """Keep open_clip's log off the root logger's stream; what it says explains a failure."""
    said = io.StringIO()
    handler = logging.StreamHandler(said)
    root = logging.getLogger()
    before = list(root.handlers)
    root.handlers = [handler]
    try:
        yield said
    finally:
        root.handlers = before


@contextlib.contextmanager
def _offline(wanted: bool) -> Iterator[None]:
    """Models with a text side of transformers look for its settings on the Hub, unless that is switched off."""
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = before or wanted
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before

"""What an encoder is: a frozen, pretrained model that turns texts or images into feature vectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Protocol, TypeAlias, runtime_checkable

import numpy as np
import numpy.typing as npt

from adapt.config import config
from adapt.features.preprocess import ImagePreprocess

Modality: TypeAlias = Literal["text", "image"]
Kind: TypeAlias = Literal["static", "transformers", "open_clip", "timm", "precomputed"]
Precision: TypeAlias = Literal["float32", "bfloat16"]
FloatArray: TypeAlias = npt.NDArray[np.float32]


@config
class EncoderSpec:
    """Which encoder, and where its weights are; part of a checkpoint's feature spec.

    Attributes:
        kind: the family of encoders.
        modality: what it reads.
        name: where to find the weights. ``bundled:NAME`` (static), ``package:NAME`` (transformers, timm), a folder,
            a Hub id (transformers), ``NAME/TAG``, ``hf-hub:ID`` or ``local-dir:PATH`` (open_clip), ``text`` or
            ``image`` (precomputed).
        id: the identity the found weights must have; empty accepts any.
        dim: length of a feature vector; 0 accepts any.
        max_length: tokens of a text that are read; ignored for images.
        adapter: folder of a LoRA adapter on top of the weights, relative to the checkpoint (transformers); see
            :mod:`adapt.features.adapted`.
        view, pooling: what of a picture is seen, and what of the network is read (timm); see
            :func:`adapt.features.timm.load_lite0`.
        precision: of the products of linear layers (transformers); see
            :func:`adapt.features.transformers.load_transformers`.
    """

    kind: Kind
    modality: Modality
    name: str
    id: str = ""
    dim: int = 0
    max_length: int = 256
    adapter: str = ""
    sketch: int = 0
    view: Literal["centre", "whole"] = "centre"
    pooling: Literal["last", "stages"] = "last"
    precision: Precision = "float32"


class Encoder(Protocol):
    """A frozen encoder. The same ``id`` gives the same features, wherever the weights came from."""

    @property
    def id(self) -> str:
        """``kind:`` and a hash of the weights and the preprocessing."""
        ...

    @property
    def modality(self) -> Modality:
        """What :meth:`encode` reads."""
        ...

    @property
    def dim(self) -> int:
        """Length of a feature vector."""
        ...

    def encode(self, batch: Sequence[Any]) -> FloatArray:
        """Features of a batch.

        Args:
            batch: texts (``str``) or RGB images (``PIL.Image.Image``).

        Returns:
            float32 (len(batch), dim), C-contiguous and finite. A text in which nothing is known gives zeros.
        """
        ...


@runtime_checkable
class Batched(Protocol):
    """An encoder that says how many items one call should get; others get 64 texts or 32 images."""

    chunk: int


@runtime_checkable
class PixelEncoder(Protocol):
    """An image encoder whose resizing and cropping can run in another process."""

    preprocess: ImagePreprocess

    def encode_pixels(self, pixels: npt.NDArray[np.uint8]) -> FloatArray:
        """Features of prepared images, uint8 (n, height, width, 3)."""
        ...

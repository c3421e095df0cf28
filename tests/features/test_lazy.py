"""With a warm cache no weights are read."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from adapt.data.catalog import Catalog
from adapt.errors import CheckpointError
from adapt.features import load as loading
from adapt.features.base import EncoderSpec
from adapt.features.load import load_encoder
from adapt.features.store import FeatureStore

PLAIN = EncoderSpec(kind="static", modality="text", name="bundled:static-minilm-256")


@pytest.fixture
def pinned() -> EncoderSpec:
    encoder = load_encoder(PLAIN)
    return replace(PLAIN, id=encoder.id, dim=encoder.dim)


@pytest.fixture
def catalog() -> Catalog:
    texts = ("red shoe", "blue shoe")
    return Catalog(ids=("a", "b"), texts=texts, images=((), ()), titles=texts, columns={}, text_template=("title",))


def broken(*_: object) -> None:
    raise CheckpointError("loaded")


def test_a_warm_cache_needs_no_weights(
    tmp_path: Path, pinned: EncoderSpec, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = FeatureStore(tmp_path)
    cold = store.features(load_encoder(pinned), catalog)
    monkeypatch.setattr(loading, "_load", broken)
    warm = store.features(load_encoder(pinned), catalog)
    assert (cold.encoded, warm.encoded) == (2, 0)
    np.testing.assert_array_equal(warm.values, cold.values)
    with pytest.raises(CheckpointError, match="loaded"):
        load_encoder(pinned).encode(["a new text"])


def test_other_weights_are_refused_when_there_is_something_to_encode(pinned: EncoderSpec) -> None:
    other = load_encoder(replace(pinned, id="static:0"))
    with pytest.raises(CheckpointError, match="static:0"):
        other.encode(["red shoe"])


def test_an_encoder_without_an_identity_is_loaded_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "_load", broken)
    with pytest.raises(CheckpointError, match="loaded"):
        load_encoder(PLAIN)

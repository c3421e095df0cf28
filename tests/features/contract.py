"""What every encoder must do; a kind's tests subclass it and give the encoder."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from adapt.features.base import Encoder
from tests.features.conftest import picture

TEXTS = ["red dress", "steel kettle", "blue shoes " * 40, "", "a\nb\tc", "crème brûlée 日本 🙂"]
PICTURES = [picture((0, 200, 10)), picture((9, 9, 9), (1, 300)), picture((250, 0, 0), (300, 7)), picture((1, 2, 250))]


class EncoderContract:
    """Subclass it and override :meth:`encoder`."""

    @pytest.fixture
    def encoder(self) -> Encoder:
        raise NotImplementedError

    @pytest.fixture
    def batch(self, encoder: Encoder) -> list[Any]:
        return list(TEXTS if encoder.modality == "text" else PICTURES)

    def test_features_are_finite_float32_of_the_stated_width(self, encoder: Encoder, batch: list[Any]) -> None:
        features = encoder.encode(batch)
        assert features.dtype == np.float32
        assert features.shape == (len(batch), encoder.dim)
        assert features.flags["C_CONTIGUOUS"]
        assert np.isfinite(features).all()

    def test_an_empty_batch_gives_no_rows(self, encoder: Encoder) -> None:
        assert encoder.encode([]).shape == (0, encoder.dim)

    def test_an_item_has_the_same_features_whatever_is_beside_it(self, encoder: Encoder, batch: list[Any]) -> None:
        together = encoder.encode(batch)
        alone = np.concatenate([encoder.encode([item]) for item in batch])
        assert np.allclose(together, alone, atol=2e-5 * max(1.0, float(np.abs(together).max())))

    def test_the_order_of_the_batch_is_the_order_of_the_rows(self, encoder: Encoder, batch: list[Any]) -> None:
        features = encoder.encode(batch)
        assert np.allclose(encoder.encode(batch[::-1])[::-1], features, atol=2e-5 * max(1.0, float(features.max())))
        assert not np.allclose(features[0], features[1], atol=1e-3)

    def test_the_identity_is_the_kind_and_a_hash(self, encoder: Encoder) -> None:
        assert re.fullmatch(r"(static|transformers|open_clip|timm):[0-9a-f]{32}", encoder.id)

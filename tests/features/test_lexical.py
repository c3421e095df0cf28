"""The lexical sketch: what two texts share, the same on every machine, in one catalog-independent space."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapt.errors import CheckpointError, DataError
from adapt.features.base import EncoderSpec
from adapt.features.lexical import sketch, with_sketch
from adapt.features.load import load_encoder
from adapt.features.normalise import Normalisation, SourceStatistics, fit_normaliser, normalise_catalog, unit
from adapt.seeds import generator

TITLES = ["Canon EOS R10 body", "canon eos r10 lens kit", "Nikon Z50 body", "wool socks", "cotton socks, grey"]


def test_texts_that_share_spelling_are_close() -> None:
    values = sketch([*TITLES, "CANON  EOS\tR10 body"], 512)
    cosines = values @ values.T
    assert cosines[0, 5] == pytest.approx(1.0, abs=1e-5)  # case and white space mean nothing
    assert cosines[0, 1] > 0.4 > cosines[0, 2] > cosines[0, 3]
    assert cosines[3, 4] > 0.2


def test_the_inner_product_estimates_that_of_the_counts() -> None:
    random = generator(0)
    words = ["".join(random.choice(list("abcdefgh"), 5)) for _ in range(40)]
    texts = [" ".join(random.choice(words, 6, replace=False)) for _ in range(60)]

    def counts(text: str) -> dict[str, int]:
        padded = f" {text} "
        grams = [padded[at : at + n] for n in (3, 4) for at in range(len(padded) - n + 1)]
        found: dict[str, int] = {}
        for gram in [*grams, *(f"word {word}" for word in text.split())]:
            found[gram] = found.get(gram, 0) + 1
        return found

    tables = [counts(text) for text in texts]
    names = sorted({name for table in tables for name in table})
    exact = unit(np.array([[table.get(name, 0) for name in names] for table in tables], dtype=np.float32))
    error = sketch(texts, 4096) @ sketch(texts, 4096).T - exact @ exact.T
    assert float(np.abs(error).mean()) < 0.02


def test_the_bytes_are_fixed() -> None:
    values = sketch(["Crème brûlée torch, 日本", "a"], 64)
    found = hashlib.sha256(np.round(values * 1e4).astype("<i4").tobytes()).hexdigest()
    assert found == "b795e6b5d4e8740e313e547c7f00febe9131f19298feb150f22640c1e8bdc95d"


@given(st.lists(st.text(max_size=400), max_size=8))
def test_any_texts_have_unit_rows_or_none(texts: list[str]) -> None:
    values = sketch(texts, 32)
    assert values.shape == (len(texts), 32)
    assert np.isfinite(values).all()
    alone = [sketch([text], 32)[0] for text in texts]
    np.testing.assert_array_equal(values, np.array(alone, dtype=np.float32).reshape(len(texts), 32))
    for text, row in zip(texts, values, strict=True):
        if not text.split():
            assert not row.any()


def spec_of(folder: Path) -> EncoderSpec:
    return EncoderSpec(kind="static", modality="text", name=str(folder), sketch=16)


def test_an_encoder_with_a_sketch_is_another_encoder(static_folder: Path) -> None:
    plain = load_encoder(replace(spec_of(static_folder), sketch=0))
    both = load_encoder(spec_of(static_folder))
    assert both.dim == plain.dim + 16
    assert len({plain.id, both.id, load_encoder(replace(spec_of(static_folder), sketch=8)).id}) == 3
    texts = ["red dress", "steel kettle"]
    values = both.encode(texts)
    np.testing.assert_allclose(np.linalg.norm(values, axis=1), 1.0, atol=1e-5)
    np.testing.assert_allclose(values[:, :4] * 2**0.5, unit(plain.encode(texts)), atol=1e-6)
    np.testing.assert_allclose(values[:, 4:] * 2**0.5, sketch(texts, 16), atol=1e-6)


def test_pictures_have_no_spelling() -> None:
    class Pictures:
        modality = "image"

    with pytest.raises(CheckpointError, match="text"):
        with_sketch(Pictures(), 8)  # type: ignore[arg-type]


SETTINGS = Normalisation(power=1.0, prior_count=1e-3, sketch=3, sketch_power=0.0, sketch_weight=0.2)


def correlated(count: int) -> np.ndarray:
    random = generator(1)
    parts = [unit(random.normal(size=(count, width)) @ random.normal(size=(width, width))) for width in (4, 3)]
    return np.concatenate(parts, axis=1) * np.float32(0.5**0.5)


def test_a_sketch_is_whitened_apart_and_has_its_share() -> None:
    values = correlated(400)
    full, normaliser = normalise_catalog(values, np.ones(400, dtype=bool), SourceStatistics.isotropic(7), SETTINGS)
    np.testing.assert_allclose(np.square(full[:, :4]).sum(axis=1), 0.8, atol=1e-4)
    np.testing.assert_allclose(np.square(full[:, 4:]).sum(axis=1), 0.2, atol=1e-4)
    plain = replace(SETTINGS, sketch=0)
    first = fit_normaliser(np.ascontiguousarray(values[:, :4]), SourceStatistics.isotropic(4), plain)
    np.testing.assert_allclose(full[:, :4] / 0.8**0.5, first(np.ascontiguousarray(values[:, :4])), atol=1e-3)
    assert not normaliser.matrix[:4, 4:].any()


def test_a_share_of_nothing_leaves_the_features() -> None:
    none = replace(SETTINGS, sketch_weight=0.0)
    full, _ = normalise_catalog(correlated(50), np.ones(50, dtype=bool), SourceStatistics.isotropic(7), none)
    assert not full[:, 4:].any()
    np.testing.assert_allclose(np.linalg.norm(full, axis=1), 1.0, atol=1e-5)


def test_a_sketch_needs_all_directions() -> None:
    some = SourceStatistics(np.eye(7, dtype=np.float32)[:, :5], np.zeros(5, np.float32), np.eye(5, dtype=np.float32))
    with pytest.raises(DataError, match="sketch"):
        fit_normaliser(correlated(10), some, SETTINGS)

"""Catalog normalisation against its formula, and on catalogs too small to know their own covariance."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapt.errors import DataError
from adapt.features.normalise import (
    Normalisation,
    SourceStatistics,
    fit_normaliser,
    normalise_catalog,
    pool_statistics,
    unit,
)

DIM = 6


@pytest.fixture
def values() -> np.ndarray:
    random = np.random.default_rng(0)
    return (random.normal(size=(500, DIM)) @ random.normal(size=(DIM, DIM)) + 0.7).astype(np.float32)


@pytest.fixture
def source() -> SourceStatistics:
    random = np.random.default_rng(1)
    matrix = random.normal(size=(DIM, DIM))
    covariance = (matrix @ matrix.T / DIM**2).astype(np.float32)
    return SourceStatistics(np.eye(DIM, dtype=np.float32), np.full(DIM, 0.1, np.float32), covariance)


def test_with_many_items_it_is_plain_zca(values: np.ndarray, source: SourceStatistics) -> None:
    normaliser = fit_normaliser(values, source, Normalisation(power=1.0, prior_count=0.0))
    white = (unit(values) - normaliser.mean) @ normaliser.matrix
    np.testing.assert_allclose(white.T @ white / len(white), np.eye(DIM), atol=1e-3)
    np.testing.assert_allclose(normaliser.matrix, normaliser.matrix.T, atol=1e-5)  # the axes keep their meaning
    np.testing.assert_allclose(normaliser(values), unit(white), atol=1e-5)


def test_power_zero_only_centres(values: np.ndarray, source: SourceStatistics) -> None:
    normaliser = fit_normaliser(values, source, Normalisation(power=0.0, prior_count=0.0))
    np.testing.assert_allclose(normaliser(values), unit(unit(values) - unit(values).mean(axis=0)), atol=1e-5)


def test_statistics_are_shrunk_as_stated(values: np.ndarray, source: SourceStatistics) -> None:
    few = values[:3]
    normaliser = fit_normaliser(few, source, Normalisation(power=1.0, prior_count=9.0))
    units = unit(few).astype(np.float64)
    mean = (3 * units.mean(axis=0) + 9 * source.mean) / 12
    covariance = (3 * np.cov(units.T, bias=True) + 9 * source.covariance) / 12
    np.testing.assert_allclose(normaliser.mean, mean, atol=1e-6)
    np.testing.assert_allclose(normaliser.matrix @ normaliser.matrix @ covariance, np.eye(DIM), atol=1e-3)


def by_hand(values: np.ndarray, source: SourceStatistics, power: float, prior: float) -> np.ndarray:
    """The module's formula in float64, with a matrix power from the singular values."""
    units = values.astype(np.float64)
    units /= np.linalg.norm(units, axis=1, keepdims=True)
    count = len(units)
    mean = (units.sum(axis=0) + prior * source.mean) / (count + prior)
    scatter = sum(np.outer(row, row) for row in units - units.mean(axis=0))
    left, singular, right = np.linalg.svd((scatter + prior * source.covariance) / (count + prior))
    white = (units - mean) @ (left * singular ** (-power / 2)) @ right
    return np.asarray(white / np.linalg.norm(white, axis=1, keepdims=True))


@pytest.mark.parametrize(("power", "prior"), [(0.0, 5.0), (0.5, 0.5), (0.5, 300.0), (1.0, 40.0)])
def test_the_result_is_the_formulas(values: np.ndarray, source: SourceStatistics, power: float, prior: float) -> None:
    found = fit_normaliser(values, source, Normalisation(power=power, prior_count=prior))(values)
    np.testing.assert_allclose(found, by_hand(values, source, power, prior), atol=2e-4)


def test_one_item_is_whitened_as_the_source_would(values: np.ndarray, source: SourceStatistics) -> None:
    found = fit_normaliser(values[:1], source, Normalisation(power=1.0, prior_count=1e9))
    eigenvalues = np.linalg.eigvalsh(found.matrix.astype(np.float64))
    np.testing.assert_allclose(eigenvalues, np.linalg.eigvalsh(source.covariance)[::-1] ** -0.5, rtol=0.05)


def test_a_large_catalog_forgets_the_source(values: np.ndarray, source: SourceStatistics) -> None:
    many = np.tile(values, (40, 1))
    shrunk = fit_normaliser(many, source, Normalisation(power=1.0, prior_count=10.0))
    alone = fit_normaliser(many, source, Normalisation(power=1.0, prior_count=0.0))
    cosines = (shrunk(values) * alone(values)).sum(axis=1)
    assert cosines.min() > 0.995


def test_the_length_of_features_does_not_matter(values: np.ndarray, source: SourceStatistics) -> None:
    scaled = values * np.linspace(0.1, 50, len(values), dtype=np.float32)[:, None]
    first, second = (fit_normaliser(part, source, Normalisation())(part) for part in (values, scaled))
    np.testing.assert_allclose(first, second, atol=1e-4)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 12),
    st.floats(0, 1),
    st.floats(1, 1000),
    st.floats(1e-3, 1e3),
    st.integers(0, 2**31),
)
def test_any_small_catalog_comes_out_finite_and_of_length_one(
    items: int, power: float, prior: float, scale: float, seed: int
) -> None:
    random = np.random.default_rng(seed)
    few = (random.normal(size=(items, DIM)) * scale).astype(np.float32)
    out = fit_normaliser(few, SourceStatistics.isotropic(DIM), Normalisation(power=power, prior_count=prior))(few)
    assert np.isfinite(out).all()
    lengths = np.linalg.norm(out, axis=1)
    assert ((abs(lengths - 1) < 1e-4) | (lengths < 1e-4)).all()


@pytest.mark.parametrize("items", [1, 2, 5])
def test_fewer_items_than_dimensions_do_not_blow_up(values: np.ndarray, source: SourceStatistics, items: int) -> None:
    out = fit_normaliser(values[:items], source, Normalisation(power=1.0))(values[:items])
    np.testing.assert_allclose(np.linalg.norm(out, axis=1), 1, atol=1e-5)


def test_identical_items_stay_identical_and_finite(source: SourceStatistics) -> None:
    same = np.ones((4, DIM), dtype=np.float32)
    out = fit_normaliser(same, source, Normalisation(power=1.0))(same)
    assert np.isfinite(out).all()
    np.testing.assert_array_equal(out[0], out[3])


def test_absent_rows_do_not_count_and_come_out_as_zeros(values: np.ndarray, source: SourceStatistics) -> None:
    present = np.arange(len(values)) % 2 == 0
    spoiled = values.copy()
    spoiled[~present] = np.nan
    out, normaliser = normalise_catalog(spoiled, present, source, Normalisation())
    expected = fit_normaliser(values[present], source, Normalisation())
    np.testing.assert_array_equal(normaliser.matrix, expected.matrix)
    np.testing.assert_array_equal(out[present], expected(values[present]))
    assert (out[~present] == 0).all()


def test_pooling_gives_each_catalog_the_same_weight(values: np.ndarray) -> None:
    small, large = values[:50], np.concatenate([values[50:]] * 3) + 1
    pooled = pool_statistics([small, large])
    np.testing.assert_allclose(pooled.mean, (unit(small).mean(axis=0) + unit(large).mean(axis=0)) / 2, atol=1e-6)
    reduced = pool_statistics([small, large], dim=3)
    np.testing.assert_allclose(reduced.basis.T @ reduced.basis, np.eye(3), atol=1e-5)
    top = np.sort(np.linalg.eigvalsh(pooled.covariance))[::-1][:3]
    np.testing.assert_allclose(np.diag(reduced.covariance), top, rtol=1e-3)


def test_bad_features_are_refused(values: np.ndarray, source: SourceStatistics) -> None:
    spoiled = values.copy()
    spoiled[7, 2] = np.nan
    with pytest.raises(DataError, match="row 7"):
        fit_normaliser(spoiled, source, Normalisation())
    with pytest.raises(DataError, match=f"width {DIM}"):
        fit_normaliser(values[:, :4], source, Normalisation())

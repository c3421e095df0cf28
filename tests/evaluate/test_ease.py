"""EASE against the least squares that it solves, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest

from adapt.errors import DataError, UsageError
from adapt.evaluate import ease as module
from adapt.evaluate.ease import ease
from adapt.evaluate.histories import from_lists

ITEMS = 40


@pytest.fixture
def known():
    rng = np.random.default_rng(2)
    return from_lists([rng.choice(ITEMS - 3, size=length) for length in rng.integers(0, 12, size=80)])


def matrix(histories):
    found = np.zeros((len(histories.offsets) - 1, ITEMS))
    for user in range(len(found)):
        found[user, histories.history(user)] = 1
    return found


@pytest.mark.parametrize("penalty", [0.5, 20.0])
def test_each_item_is_predicted_from_the_others_by_ridge_regression(known, penalty, monkeypatch):
    monkeypatch.setattr(module, "_STRIPE", 7)
    x = matrix(known)
    weights = np.zeros((ITEMS, ITEMS))
    for item in range(ITEMS):  # min |x_j - X_-j b|^2 + penalty |b|^2, an item at a time
        others = np.delete(np.arange(ITEMS), item)
        part = x[:, others]
        weights[others, item] = np.linalg.solve(part.T @ part + penalty * np.eye(ITEMS - 1), part.T @ x[:, item])
    asked = from_lists([[1, 2, 2], [], [39, 5]])
    found = ease(known, ITEMS, penalty=penalty)(asked)(np.array([2, 0, 1]))
    np.testing.assert_allclose(found, (matrix(asked) @ weights)[[2, 0, 1]], atol=2e-5)


def test_the_penalty_follows_the_users_an_item_has(known):
    users_of_an_item = matrix(known).sum(axis=0)
    given = module.PENALTY * users_of_an_item[users_of_an_item > 0].mean()
    np.testing.assert_allclose(
        ease(known, ITEMS)(known)(np.arange(9)), ease(known, ITEMS, penalty=given)(known)(np.arange(9)), atol=1e-6
    )


def test_a_catalog_that_is_too_large_and_no_events_are_refused(known, monkeypatch):
    with pytest.raises(DataError, match="training events"):
        ease(from_lists([[], []]), ITEMS)
    for penalty in (0.0, -1.0, float("nan")):
        with pytest.raises(UsageError, match="penalty above 0"):
            ease(known, ITEMS, penalty=penalty)
    monkeypatch.setattr(module, "MOST_ITEMS", 30)
    with pytest.raises(UsageError, match="at most 30 items with training events for EASE, found 37"):
        ease(known, ITEMS)

"""Maximal marginal relevance against its definition."""

from __future__ import annotations

import numpy as np
import pytest

from adapt.errors import UsageError
from adapt.index.diversity import diversify
from tests.index.contract import vectors


def slowly(scores, embeddings, k, diversity):
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    chosen = [0]
    while len(chosen) < min(k, len(scores)):
        left = [row for row in range(len(scores)) if row not in chosen]
        values = [
            (1 - diversity) * scores[row] - diversity * max(float(unit[row] @ unit[other]) for other in chosen)
            for row in left
        ]
        chosen.append(left[int(np.argmax(values))])
    return chosen


@pytest.mark.parametrize("diversity", [0.0, 0.2, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("k", [1, 5, 30, 50])
def test_the_choice_is_that_of_the_definition(diversity, k):
    embeddings = vectors(30)
    scores = np.sort(np.random.default_rng(1).random(30).astype(np.float32))[::-1]
    assert diversify(scores, embeddings, k, diversity).tolist() == slowly(scores, embeddings, k, diversity)


def test_without_diversity_the_order_stays():
    assert diversify(np.array([3, 2, 1], np.float32), vectors(3), 2, 0.0).tolist() == [0, 1]


def test_nothing_is_chosen_from_nothing():
    assert diversify(np.zeros(0, np.float32), np.zeros((0, 8), np.float32), 3, 0.5).tolist() == []


@pytest.mark.parametrize("diversity", [-0.1, 1.1, float("nan")])
def test_a_diversity_out_of_range_is_refused(diversity):
    with pytest.raises(UsageError, match="diversity"):
        diversify(np.ones(2, np.float32), vectors(2), 1, diversity)

"""The largest of many scores, also where several are equal, few are known or none."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from adapt.top import top_k

# Few distinct values, so that ties are the rule and not the exception.
VALUES = st.sampled_from([-np.inf, -1.0, 0.0, 0.25, 3.0])


@given(hnp.arrays(np.float32, st.tuples(st.integers(0, 5), st.integers(0, 8)), elements=VALUES), st.integers(0, 10))
@settings(deadline=None)
def test_the_top_is_the_beginning_of_a_stable_sort(scores, k):
    rows, best = top_k(scores, k)
    assert rows.shape == best.shape == (len(scores), k)
    for line, found, values in zip(scores, rows, best, strict=True):
        order = [row for row in sorted(range(len(line)), key=lambda row: (-line[row], row)) if line[row] > -np.inf]
        assert found.tolist() == (order + [-1] * k)[:k]
        assert values.tolist() == ([line[row] for row in order] + [-np.inf] * k)[:k]


@given(
    width=st.sampled_from([64, 320, 1_024, 4_096, 32_768]),
    k=st.integers(1, 60),
    distinct=st.sampled_from([2, 50, 1_000_000]),
    hidden=st.floats(0, 1),
    seed=st.integers(0, 99),
)
@settings(deadline=None, max_examples=60)
def test_the_largest_scores_are_found_by_groups_as_by_sorting(width, k, distinct, hidden, seed):
    rng = np.random.default_rng(seed)
    scores = (rng.integers(distinct, size=(3, width)) / distinct).astype(np.float32)
    scores[rng.random(scores.shape) < hidden] = -np.inf
    rows, values = top_k(torch.from_numpy(scores.copy()), k)
    expected = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    np.testing.assert_array_equal(values, np.take_along_axis(scores, expected, axis=1))
    found = np.isfinite(values)
    np.testing.assert_array_equal(rows, np.where(found, expected, -1))


def test_scores_that_may_not_be_written_to_are_taken():
    scores = np.broadcast_to(np.array([1.0, 3.0, 2.0], np.float32), (4, 3))
    assert top_k(scores, 2)[0].tolist() == [[1, 2]] * 4

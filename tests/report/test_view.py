"""The values behind the page."""

from __future__ import annotations

import dataclasses

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from adapt.data.catalog import Interactions
from adapt.report.thumbnails import Thumbnails
from adapt.report.view import MAX_LISTS, example_lists, flatten, history_histogram

from .conftest import Make


def _with_lengths(make: Make, lengths: list[int]) -> tuple[tuple[str, int], ...]:
    result = make()
    interactions = Interactions(
        user_ids=tuple(str(user) for user in range(len(lengths))),
        offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        items=np.zeros(sum(lengths), dtype=np.int32),
    )
    return history_histogram(
        dataclasses.replace(result, dataset=dataclasses.replace(result.dataset, interactions=interactions))
    )


def test_the_histogram_counts_every_user_with_a_history(make: Make) -> None:
    assert _with_lengths(make, [1, 1, 3, 0]) == (("1", 2), ("2", 0), ("3", 1))
    wide = _with_lengths(make, [2, 5, 6, 10, 100, 101, 5000])
    assert sum(count for _, count in wide) == 7
    assert (wide[0], wide[-1]) == (("2", 1), ("101+", 2))


def test_examples_reach_from_the_shortest_to_the_longest_history(make: Make) -> None:
    examples = example_lists(make(users=40))
    assert len(examples) == MAX_LISTS
    assert {example.history_length for example in examples} == {1, 2, 3}


def test_thumbnails_stop_at_their_budget(make: Make) -> None:
    catalog = make().dataset.catalog
    limited = Thumbnails(catalog, max_count=2)
    assert [limited.uri(row) is not None for row in (0, 1, 2, 0, 5)] == [True, True, False, True, False]
    assert Thumbnails(catalog, max_bytes=100).uri(0) is None


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.text(max_size=5), inner, max_size=5),
        max_leaves=20,
    )
)
def test_any_run_facts_become_short_lines(value: object) -> None:
    lines = flatten({"fact": value})
    assert all(name.startswith("fact") for name, _ in lines)
    assert len(lines) <= 120

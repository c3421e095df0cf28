"""Training batches: the same for the same step, and honest about what they hold."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapt.data.batches import SequenceBatch, SequenceSampler, SequenceSource
from adapt.errors import DataError


def source(histories: list[list[int]], items: int, usable: list[bool] | None = None) -> SequenceSource:
    offsets = np.concatenate([[0], np.cumsum([len(history) for history in histories])]).astype(np.int64)
    flat = np.array([item for history in histories for item in history], dtype=np.int32)
    return SequenceSource("s", items, offsets, flat, np.array(usable or [True] * items))


def windows(batch: SequenceBatch) -> list[list[int]]:
    """The catalog rows of each history with the item after its last place."""
    found = []
    for row in range(len(batch.histories)):
        known = batch.histories[row] >= 0
        items = batch.rows[batch.histories[row][known]].tolist()
        last = batch.targets[row, -1]
        found.append([*items, int(batch.rows[batch.candidates[last]])])
    return found


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=8), min_size=1, max_size=8),
    st.integers(0, 1000),
)
def test_histories_and_targets_are_those_of_users(histories: list[list[int]], step: int) -> None:
    if all(len(history) < 2 for history in histories):
        with pytest.raises(DataError):
            SequenceSampler([source(histories, 10)], 4, 12, 3)
        return
    batch = SequenceSampler([source(histories, 10)], 4, 12, 3).batch(step)
    assert all(window in histories for window in windows(batch))
    for row in range(len(batch.histories)):
        for place in range(batch.histories.shape[1] - 1):
            if batch.targets[row, place] >= 0:  # the target of a place is the item of the next one
                after = batch.candidates[batch.targets[row, place]]
                assert after == batch.histories[row, place + 1]
    assert len(set(batch.candidates.tolist())) == len(batch.candidates)
    assert np.isfinite(batch.log_q).all()
    assert (batch.log_q <= 0).all()


def test_a_step_always_gives_the_same_batch() -> None:
    histories = [list(range(row, row + 6)) for row in range(20)]
    one, two = (SequenceSampler([source(histories, 30)], 8, 5, 10, seed=3) for _ in range(2))
    for step in (0, 5, 2):
        for name in ("rows", "histories", "targets", "candidates", "log_q"):
            np.testing.assert_array_equal(getattr(one.batch(step), name), getattr(two.batch(step), name))
    assert not np.array_equal(one.batch(0).rows, one.batch(1).rows)


def test_items_without_features_are_skipped() -> None:
    batch = SequenceSampler([source([[0, 1, 2, 3]], 4, [True, False, True, True])], 1, 5, 4).batch(0)
    assert windows(batch) == [[0, 2, 3]]
    assert 1 not in batch.rows


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.lists(st.integers(0, 9), max_size=14), min_size=1, max_size=9),
    st.lists(st.booleans(), min_size=10, max_size=10),
    st.integers(1, 8),
    st.integers(0, 6),
    st.integers(0, 1000),
)
def test_a_batch_is_well_formed_whatever_the_data(
    histories: list[list[int]], usable: list[bool], max_length: int, negatives: int, step: int
) -> None:
    given_source = source(histories, 10, usable)
    kept = [[item for item in history if usable[item]] for history in histories]
    if all(len(history) < 2 for history in kept):
        with pytest.raises(DataError, match="two items"):
            SequenceSampler([given_source], 4, max_length, negatives)
        return
    batch = SequenceSampler([given_source], 4, max_length, negatives, max_targets=5).batch(step)
    there = batch.histories >= 0
    assert batch.histories.shape == batch.targets.shape
    assert batch.histories.shape[1] <= max_length
    assert (np.diff(there.astype(int), axis=1) >= 0).all()  # padding is on the left
    assert there.any(axis=1).all()
    assert (batch.targets[~there] == -1).all()
    assert 1 <= (batch.targets >= 0).sum() <= 5
    assert batch.targets.max() < len(batch.candidates)
    assert len(batch.candidates) == len(batch.log_q)
    assert np.unique(batch.rows).tolist() == batch.rows.tolist()
    assert all(usable[row] for row in batch.rows)
    used = np.union1d(batch.histories[there], batch.candidates)
    assert used.tolist() == list(range(len(batch.rows)))  # no row is there for nothing


def test_another_seed_gives_other_batches() -> None:
    histories = [list(range(row, row + 6)) for row in range(20)]
    one, two = (SequenceSampler([source(histories, 30)], 8, 5, 10, seed=seed) for seed in (0, 1))
    assert any(not np.array_equal(one.batch(step).rows, two.batch(step).rows) for step in range(3))


def test_every_user_is_drawn_once_an_epoch_whatever_the_length_of_the_history() -> None:
    random = np.random.default_rng(0)
    lengths = random.geometric(0.2, size=203) + 1
    sampler = SequenceSampler([source([[user] * length for user, length in enumerate(lengths)], 203)], 8, 12, 3)
    for epoch in range(3):
        batches = [sampler.batch(step) for step in range(26 * epoch, 26 * (epoch + 1))]  # 203 / 8, rounded up
        drawn = [window[0] for batch in batches for window in windows(batch)]
        assert sorted(drawn) == list(range(203))
        assert {len(batch.histories) for batch in batches} == {7, 8}


def test_little_of_a_batch_is_padding() -> None:
    """Lengths as of a review site: most short, some long; users drawn without regard to them leave half empty."""
    random = np.random.default_rng(0)
    lengths = np.minimum(4 + random.geometric(0.2, size=2048), 50)
    sampler = SequenceSampler([source([[0] * length for length in lengths], 2)], 32, 50, 2)
    padded = [(batch.histories < 0).mean() for batch in map(sampler.batch, range(64))]
    assert np.mean(padded) < 0.15
    shapes = [sampler.batch(step).histories.shape[1] for step in range(8)]
    assert shapes != sorted(shapes)  # an epoch does not run from short to long


def test_a_batch_holds_a_user_once() -> None:
    sampler = SequenceSampler([source([[row, row + 1] for row in range(6)], 7)], 4, 5, 3)
    for step in range(20):
        first = [window[0] for window in windows(sampler.batch(step))]
        assert len(first) == len(set(first)) == 3  # two batches of three an epoch rather than four and two


def test_steps_may_be_drawn_in_any_order() -> None:
    histories = [[user] * (2 + user % 7) for user in range(40)]
    sources = [source(histories, 40), source(histories[:9], 40)]
    forward, backward = (SequenceSampler(sources, 4, 12, 3, seed=5) for _ in range(2))
    steps = [0, 3, 1500, 2500]  # beyond the first chunks of the schedule
    ahead = [forward.batch(step) for step in steps]
    back = [backward.batch(step) for step in reversed(steps)][::-1]
    for one, two in zip(ahead, back, strict=True):
        assert one.source == two.source
        assert windows(one) == windows(two)


def test_long_histories_are_cut_at_a_random_place() -> None:
    sampler = SequenceSampler([source([list(range(50))], 50)], 1, 6, 2)
    found = {tuple(windows(sampler.batch(step))[0]) for step in range(20)}
    assert len(found) > 5
    assert all(len(window) == 7 and list(window) == list(range(window[0], window[0] + 7)) for window in found)


def test_supervised_places_are_bounded() -> None:
    sampler = SequenceSampler([source([list(range(40))] * 10, 40)], 10, 39, 5, max_targets=25)
    assert (sampler.batch(0).targets >= 0).sum() == 25


@pytest.mark.parametrize("mask_ratio", [None, 0.3])
@pytest.mark.parametrize(("max_length", "max_targets"), [(10, 1000), (4, 1000), (10, 12)])
def test_log_q_is_how_often_an_item_is_a_candidate(mask_ratio: float | None, max_length: int, max_targets: int) -> None:
    """Of two items that all users have, one always comes first and one last; long histories are cut or thinned."""
    random = np.random.default_rng(0)
    lengths = random.geometric(0.25, size=300) + 1
    histories = [[40, *(random.zipf(1.5, size=length).clip(max=40) - 1).tolist(), 41] for length in lengths]
    sampler = SequenceSampler(
        [source(histories, 42)], 8, max_length, 6, max_targets=max_targets, mask_ratio=mask_ratio, seed=1
    )
    total, drawn, steps = np.zeros(42), np.zeros(42), 1500
    for step in range(steps):
        batch = sampler.batch(step)
        rows = batch.rows[batch.candidates]
        drawn[rows] += 1
        total[rows] += np.exp(-batch.log_q)
    often = drawn > 0.1 * steps
    assert often.sum() > 20
    assert often[40:].all()  # in a plain batch, the first item is a candidate only where it is drawn as a negative
    # A sum over candidates, each divided by its chance to be one, is on average the sum over all items.
    np.testing.assert_allclose(total[often] / steps, 1.0, atol=0.2)
    assert np.mean(total[often] / steps) == pytest.approx(1.0, abs=0.04)


def test_all_items_may_be_candidates() -> None:
    usable = [True, True, False, True, True]
    batch = SequenceSampler([source([[0, 1, 3], [1, 0]], 5, usable)], 2, 4, "all").batch(0)
    assert batch.rows[batch.candidates].tolist() == [0, 1, 3, 4]
    assert not batch.log_q.any()
    assert all(window in ([0, 1, 3], [1, 0]) for window in windows(batch))


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.lists(st.integers(0, 9), max_size=14), min_size=1, max_size=9),
    st.integers(2, 8),
    st.sampled_from([0.0, 0.3, 1.0]),
    st.integers(0, 1000),
)
def test_hidden_places_show_nothing_and_predict_what_stood_there(
    histories: list[list[int]], max_length: int, mask_ratio: float, step: int
) -> None:
    if all(len(history) < 2 for history in histories):
        return
    batch = SequenceSampler([source(histories, 10)], 4, max_length, 3, mask_ratio=mask_ratio).batch(step)
    hidden = batch.targets >= 0
    assert (batch.histories[hidden] == -1).all()
    assert hidden[:, -1].all()
    assert batch.histories.shape[1] <= max_length
    if mask_ratio == 1:
        assert (batch.histories == -1).all()
    for row, places in enumerate(hidden):
        shown = batch.histories[row] >= 0
        if mask_ratio == 0:
            assert places.sum() == 1
        items = np.where(places, batch.rows[batch.candidates[batch.targets[row]]], batch.rows[batch.histories[row]])
        whole = items[places | shown].tolist()
        assert any(
            whole == history[start : start + len(whole)]
            for history in histories
            for start in range(len(history) - len(whole) + 1)
        )


def test_sources_are_drawn_by_the_root_of_their_size() -> None:
    big, small = source([[0, 1]] * 400, 5), source([[0, 1]] * 100, 5)
    sampler = SequenceSampler([big, small, replace(big, ordered=False)], 4, 5, 2, temperature=0.5)
    np.testing.assert_allclose(sampler.chance, [2 / 3, 1 / 3, 0.0])
    assert 2 not in {sampler.batch(step).source for step in range(30)}

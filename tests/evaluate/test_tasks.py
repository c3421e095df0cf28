"""Protocols: what is hidden, what may be learned from, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapt.data.catalog import Interactions
from adapt.errors import DataError, UsageError
from adapt.evaluate import tasks
from adapt.evaluate.histories import from_lists
from adapt.evaluate.times import real_times

ITEMS = 9
ALL = np.ones(ITEMS, bool)


def events(histories, times=None):
    lists = from_lists(histories)
    stamps = None if times is None else np.concatenate([np.asarray(part, np.float64) for part in times])
    return Interactions(tuple(f"u{n}" for n in range(len(histories))), lists.offsets, lists.items, stamps)


def histories_of(found):
    return [part.tolist() for part in np.split(found.items, found.offsets[1:-1])]


@pytest.fixture
def world():
    rng = np.random.default_rng(3)
    histories = [rng.integers(ITEMS, size=length) for length in rng.integers(0, 8, size=60)]
    times = [np.sort(rng.uniform(1e9, 1.1e9, size=len(history))) for history in histories]
    return events(histories, times)


def test_leave_one_out_hides_the_last_event_of_everyone_who_has_two():
    task = tasks.leave_one_out_task(events([[1, 2, 3], [4], [], [5, 6]]), ALL)
    assert task.users.tolist() == [0, 3]
    assert task.targets.tolist() == [3, 6]
    assert histories_of(task.histories) == [[1, 2], [5]]
    assert histories_of(task.train) == [[1, 2], [4], [], [5]]


def test_strict_training_leaves_out_the_event_before_and_keeps_it_in_the_history():
    task = tasks.leave_one_out_task(events([[1, 2, 3], [4], [], [5, 6]]), ALL, "strict")
    assert task.targets.tolist() == [3, 6]
    assert histories_of(task.histories) == [[1, 2], [5]]
    assert histories_of(task.train) == [[1], [4], [], [5]]


def test_one_moment_parts_training_from_test_for_everyone():
    data = events([[1, 2, 3, 4], [5, 6], [7], [8, 0, 1]], [[1, 2, 30, 40], [3, 4], [50], [31, 32, 60]])
    task = tasks.global_time_task(data, ALL, share=0.4)
    assert histories_of(task.train) == [[1, 2], [5, 6], [], []]
    assert task.users.tolist() == [0, 3]  # the new user 3 is asked for from the second event on, user 2 has no second
    assert task.targets.tolist() == [3, 0]
    assert histories_of(task.histories) == [[1, 2], [8]]


def test_no_training_event_is_later_than_a_hidden_one(world):
    task = tasks.global_time_task(world, ALL)
    times, users = world.timestamps, world.users()
    hidden = [
        times[(users == user)][len(history)]
        for user, history in zip(task.users, histories_of(task.histories), strict=True)
    ]
    assert task.train.timestamps.max() < min(hidden)
    assert len(task.train) == pytest.approx(0.9 * len(world), abs=1)


def test_cold_items_have_no_training_event_and_every_target_is_one(world):
    task = tasks.cold_items_task(world, ALL, seed=4)
    assert np.count_nonzero(~task.warm) == round(0.2 * ITEMS)
    assert not task.warm[task.targets].any()
    assert task.warm[task.histories.items].all()
    assert len(task.train) == np.count_nonzero(task.warm[world.items])
    for user, target, history in zip(task.users, task.targets, histories_of(task.histories), strict=True):
        whole = world.history(user)
        place = max(n for n, row in enumerate(whole) if not task.warm[row] and task.warm[whole[:n]].any())
        assert target == whole[place]
        assert history == [row for row in whole[:place] if task.warm[row]]


def test_cold_users_are_unknown_in_training_and_the_others_complete(world):
    task = tasks.cold_users_task(world, ALL, seed=4)
    assert len(task) == round(0.2 * np.count_nonzero(world.lengths() >= 2))
    for user in range(world.n_users):
        expected = [] if user in task.users else world.history(user).tolist()
        assert task.train.history(user).tolist() == expected
    for user, target, history in zip(task.users, task.targets, histories_of(task.histories), strict=True):
        assert [*history, target] == world.history(user).tolist()


def test_samples_of_users_are_nested_and_the_cases_stay(world):
    task = tasks.leave_one_out_task(world, ALL)
    known = np.count_nonzero(task.train.lengths())
    smaller: set[int] = set()
    for fraction in (0.0, 0.05, 0.3, 1.0):
        part = tasks.with_fraction(task, fraction, seed=1)
        users = set(np.flatnonzero(part.train.lengths()))
        assert len(users) == round(fraction * known)
        assert smaller <= users
        assert all(part.train.history(u).tolist() == task.train.history(u).tolist() for u in users)
        np.testing.assert_array_equal(part.targets, task.targets)
        assert histories_of(part.histories) == histories_of(task.histories)
        smaller = users
    assert not tasks.with_fraction(task, 0.0).warm.any()
    assert set(np.flatnonzero(tasks.with_fraction(task, 0.3, seed=2).train.lengths())) != set(
        np.flatnonzero(tasks.with_fraction(task, 0.3, seed=1).train.lengths())
    )


@pytest.mark.parametrize("protocol", tasks.PROTOCOLS)
def test_one_seed_one_task(world, protocol):
    first, second = (tasks.make_task(protocol, world, ALL, seed=8) for _ in range(2))
    assert first.protocol == protocol
    for name in ("users", "targets", "candidates"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))
    np.testing.assert_array_equal(first.train.items, second.train.items)
    np.testing.assert_array_equal(first.histories.items, second.histories.items)


@given(st.lists(st.lists(st.integers(0, 3), max_size=6), min_size=2, max_size=6), st.integers(0, 5))
@settings(deadline=None, max_examples=80)
def test_no_protocol_trains_on_a_hidden_event(histories, seed):
    data = events(histories, [1e9 + 7.0 * np.arange(len(history)) for history in histories])
    for protocol in tasks.PROTOCOLS:
        try:
            task = tasks.make_task(protocol, data, np.ones(4, bool), seed=seed)
        except DataError:
            continue
        trained = [np.count_nonzero(task.train.history(u) == t) for u, t in zip(task.users, task.targets, strict=True)]
        whole = [np.count_nonzero(data.history(u) == t) for u, t in zip(task.users, task.targets, strict=True)]
        assert all(part < total for part, total in zip(trained, whole, strict=True))


def test_a_task_that_trains_on_a_hidden_event_is_refused():
    data = events([[1, 2, 3], [4, 3]])
    task = tasks.leave_one_out_task(data, ALL)
    with pytest.raises(DataError, match=r"2 of 2 in the training events, the first of user 'u0' and item row 3"):
        replace(task, train=data)


def test_an_item_met_before_is_no_leak():
    task = tasks.leave_one_out_task(events([[1, 2, 1], [3, 4]]), ALL)
    assert task.targets.tolist() == [1, 4]
    with pytest.raises(DataError, match="training events"):
        replace(task, train=events([[1, 2, 1], [3]]))


def test_a_subset_keeps_its_cases_and_all_training_events(world):
    task = tasks.leave_one_out_task(world, ALL)
    chosen = task.users % 2 == 0
    part = tasks.subset(task, chosen)
    assert part.targets.tolist() == task.targets[chosen].tolist()
    assert histories_of(part.histories) == [h for h, c in zip(histories_of(task.histories), chosen, strict=True) if c]
    assert part.train is task.train
    with pytest.raises(UsageError, match="one or more cases"):
        tasks.subset(task, np.zeros(len(task), bool))
    with pytest.raises(UsageError, match="booleans"):
        tasks.subset(task, chosen[:-1])


def test_hidden_items_that_never_occur_in_training_are_cold():
    task = tasks.leave_one_out_task(events([[1, 2, 7], [1, 2]]), ALL)
    assert task.warm[task.targets].tolist() == [False, True]


def test_times_that_only_number_events_are_no_times(world):
    numbers = [np.arange(n) for n in world.lengths()]
    ordered = replace(world, timestamps=np.concatenate(numbers).astype(np.float64))
    for without in (ordered, replace(world, timestamps=None)):
        with pytest.raises(DataError, match=r"expected (points in time|timestamps)") as found:
            tasks.global_time_task(without, ALL)
        assert "leave-one-out" in found.value.hint
    days = np.sort(np.random.default_rng(0).integers(0, 3, size=len(world)))  # a log of three days, in days
    assert len(real_times(replace(world, timestamps=1.7e9 + 86400.0 * days))) == len(world)


@pytest.mark.parametrize(
    ("protocol", "histories", "message"),
    [
        ("leave-one-out", [[], []], "interactions to evaluate on, found none"),
        ("leave-one-out", [[1], [2]], "2 interactions or more, found at most 1"),
        ("leave-one-out", [[5, 5, 5], [5]], "two or more items, found all of them on one"),
        ("cold-users", [[1, 2, 3, 4]], "two or more users with two interactions each, found 1"),
        ("cold-items", [[1], [2]], "met one of 1 hidden items after another item, found none"),
        ("global-time", [[1, 2], [3, 4]], "events of users with a history after the first 90%"),
        ("cold", [[1, 2], [3, 4]], "protocol among leave-one-out"),
    ],
)
def test_data_that_do_not_allow_a_protocol_are_refused(protocol, histories, message):
    times = [np.full(len(history), 1e9) for history in histories]
    with pytest.raises((DataError, UsageError), match=message):
        tasks.make_task(protocol, events(histories, times), ALL)


def test_a_single_user_can_be_asked_for_and_strict_needs_three_events():
    assert tasks.leave_one_out_task(events([[1, 2, 3]]), ALL).targets.tolist() == [3]
    with pytest.raises(DataError, match="3 interactions or more, found at most 2"):
        tasks.leave_one_out_task(events([[1, 2], [3, 4]]), ALL, "strict")


def test_shares_and_fractions_out_of_range_are_refused(world):
    for share in (0.0, 1.0, -0.1, float("nan")):
        for make in (tasks.global_time_task, tasks.cold_items_task, tasks.cold_users_task):
            with pytest.raises(UsageError, match="share between 0 and 1"):
                make(world, ALL, share)
    task = tasks.leave_one_out_task(world, ALL)
    for fraction in (-0.1, 1.1, float("nan")):
        with pytest.raises(UsageError, match="fraction from 0 to 1"):
            tasks.with_fraction(task, fraction)
    with pytest.raises(DataError, match=r"keeps one user or more, found 0\.01 %"):
        tasks.with_fraction(task, 1e-4)
    with pytest.raises(UsageError, match="usable"):
        tasks.leave_one_out_task(world, ALL[:3])

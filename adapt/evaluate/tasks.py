"""Protocols: which events are hidden, what may be learned from, and what is known of whoever is asked for.

Every maker returns a :class:`Task`. A method sees ``task.train`` when it is fitted and ``task.histories`` when it is
asked, and nothing else; a task whose training events hold a hidden one cannot be made.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from adapt.data.catalog import Interactions
from adapt.data.clean import select
from adapt.data.split import leave_one_out
from adapt.errors import DataError, UsageError
from adapt.evaluate.histories import HistoryLists, from_lists
from adapt.evaluate.times import real_times
from adapt.seeds import DEFAULT_SEED, generator

Protocol = Literal["leave-one-out", "global-time", "cold-items", "cold-users"]
PROTOCOLS: tuple[Protocol, ...] = ("leave-one-out", "global-time", "cold-items", "cold-users")

Training = Literal["live", "strict"]

_ITEMS_STREAM, _USERS_STREAM, _FRACTION_STREAM = 0x7A51, 0x7A52, 0x7A53


@dataclass(frozen=True, eq=False)
class Task:
    """Hidden events to be found, and what may be known.

    Attributes:
        protocol: one of :data:`PROTOCOLS`.
        train: what a method may be fitted on; all users of the data set, some with an empty history.
        users: int64 (cases,) user numbers.
        histories: of the cases, oldest first: what the user met before the hidden event.
        targets: int64 (cases,) catalog rows of the hidden items.
        candidates: bool (items,), what can be recommended; a hidden item that cannot is a miss.
        description: in words, what is hidden and what is known.

    Raises:
        UsageError: the parts do not fit each other.
        DataError: ``train`` holds a hidden event.
    """

    protocol: Protocol
    train: Interactions
    users: NDArray[np.int64]
    histories: HistoryLists
    targets: NDArray[np.int64]
    candidates: NDArray[np.bool_]
    description: str

    def __post_init__(self) -> None:
        cases, items = len(self.users), len(self.candidates)
        if not cases or self.targets.shape != (cases,) or len(self.histories.offsets) != cases + 1:
            raise UsageError(
                f"expected users, histories and targets of the same one or more cases, found {cases}, "
                f"{len(self.histories.offsets) - 1} and {len(self.targets)}"
            )
        rows = np.concatenate([self.targets, self.histories.items, self.train.items])
        if self.users.min() < 0 or self.users.max() >= self.train.n_users or rows.min() < 0 or rows.max() >= items:
            raise UsageError(f"expected numbers of {self.train.n_users} users and rows of {items} items, found others")
        _refuse_leak(self)

    @property
    def warm(self) -> NDArray[np.bool_]:
        """bool (items,): the item has a training event. The others are cold."""
        return np.bincount(self.train.items, minlength=len(self.candidates)) > 0

    @property
    def items(self) -> int:
        """Number of items in the catalog."""
        return len(self.candidates)

    def __len__(self) -> int:
        return len(self.users)


def make_task(
    protocol: str, interactions: Interactions, usable: NDArray[np.bool_], *, seed: int = DEFAULT_SEED
) -> Task:
    """The task of a protocol by its name, with its defaults.

    Args:
        protocol: one of :data:`PROTOCOLS`.
        interactions: all of them.
        usable: bool (items,), what can be recommended.
        seed: of what is drawn, where something is.

    Raises:
        UsageError: there is no such protocol.
        DataError: the data do not allow it; see the makers.
    """
    if protocol == "leave-one-out":
        return leave_one_out_task(interactions, usable)
    if protocol == "global-time":
        return global_time_task(interactions, usable)
    if protocol == "cold-items":
        return cold_items_task(interactions, usable, seed=seed)
    if protocol == "cold-users":
        return cold_users_task(interactions, usable, seed=seed)
    raise UsageError(f"expected a protocol among {', '.join(PROTOCOLS)}, found {protocol!r}")


def leave_one_out_task(interactions: Interactions, usable: NDArray[np.bool_], training: Training = "live") -> Task:
    """Every user's last event is hidden; all that the user met before it is the history.

    A user with one event has no hidden one, and trains.

    Args:
        interactions: all of them.
        usable: bool (items,), what can be recommended.
        training: ``"live"``: everything but the hidden events, as a system in use knows it; ``"strict"``: the event
            before the hidden one is no training event either, as papers report it. Histories are the same.

    Raises:
        DataError: no user has two events (for ``"strict"`` three), or there is only one item.

    >>> events = Interactions(("a", "b"), np.array([0, 3, 5]), np.array([0, 1, 2, 1, 0], np.int32))
    >>> task = leave_one_out_task(events, np.ones(3, bool))
    >>> task.targets, task.histories.items, task.train.items
    (array([2, 0]), array([0, 1, 1], dtype=int32), array([0, 1, 1], dtype=int32))
    """
    _check(interactions, usable)
    fewest = 2 if training == "live" else 3
    lengths = interactions.lengths()
    if training not in {"live", "strict"}:
        raise UsageError(f"expected training 'live' or 'strict', found {training!r}")
    if lengths.max() < fewest:
        raise DataError(
            f"expected users with {fewest} interactions or more, found at most {lengths.max()}",
            "Hiding one event needs an earlier one; strict training needs one more. Take longer histories.",
        )
    users = np.flatnonzero(lengths >= 2)
    ends = interactions.offsets[users + 1] - 1
    if training == "live":
        train, known = _without(interactions, ends), "all events but the hidden ones are known"
    else:
        train = leave_one_out(interactions).train
        known = "the event before it is known of the user asked for, and not trained on"
    return _task("leave-one-out", interactions, usable, train, ends, f"the last event of every user is hidden; {known}")


def global_time_task(interactions: Interactions, usable: NDArray[np.bool_], share: float = 0.9) -> Task:
    """One moment in time parts training from test, for all users alike.

    Training is what happened up to that moment. A user's case is the first event after it that something comes before:
    of known users the next event, of users who came later the second.

    Args:
        interactions: all of them, with timestamps.
        usable: bool (items,), what can be recommended.
        share: of the events that are training, between 0 and 1.

    Raises:
        UsageError: ``share`` is out of range.
        DataError: there are no timestamps, or they only number the events of each user, or nobody has an event with
            another before it after that moment.
    """
    _check(interactions, usable)
    _check_share(share)
    times = real_times(interactions)
    cut = np.quantile(times, share, method="lower")
    later = times > cut
    first = np.ones(len(interactions), bool)
    first[1:] = np.diff(interactions.users()) > 0
    possible = np.flatnonzero(later & ~first)
    _, place = np.unique(interactions.users()[possible], return_index=True)
    if not len(place):
        raise DataError(
            f"expected events of users with a history after the first {share:.0%} of the events, found none",
            "The timestamps are equal or nearly so; use the protocol leave-one-out.",
        )
    return _task(
        "global-time",
        interactions,
        usable,
        select(interactions, ~later),
        possible[place],
        f"events after the first {share:.0%} in time are hidden; asked for is each user's next one",
    )


def cold_items_task(
    interactions: Interactions, usable: NDArray[np.bool_], share: float = 0.2, seed: int = DEFAULT_SEED
) -> Task:
    """A share of the items lose all their training events, as if they had just been added to the catalog.

    Of every user who met such an item after another one, the last such event is asked for; its history is what came
    before it and is not cold. Every item is a candidate: a method has to place new items among known ones. Events with
    other items train, those of the same user after the hidden one too.

    Args:
        interactions: all of them.
        usable: bool (items,), what can be recommended.
        share: of the items that have events and are usable, between 0 and 1.
        seed: of the draw.

    Raises:
        UsageError: ``share`` is out of range.
        DataError: there are fewer than two such items, or nobody met a drawn item after another one.
    """
    _check(interactions, usable)
    _check_share(share)
    met = np.flatnonzero(usable & (np.bincount(interactions.items, minlength=len(usable)) > 0))
    if len(met) < 2:
        raise DataError(f"expected two or more usable items with interactions, found {len(met)}")
    drawn = generator(seed, _ITEMS_STREAM).permutation(met)[: min(len(met) - 1, max(1, round(share * len(met))))]
    cold = np.zeros(len(usable), bool)
    cold[drawn] = True
    hidden = cold[interactions.items]
    train = select(interactions, ~hidden)
    before = np.concatenate([[0], np.cumsum(~hidden)])
    asked = np.flatnonzero(hidden & (before[:-1] > before[interactions.offsets[:-1]][interactions.users()]))
    owner = interactions.users()[asked]
    if not len(asked):
        raise DataError(
            f"expected users who met one of {len(drawn)} hidden items after another item, found none",
            "Take longer histories, or another share or seed.",
        )
    last = asked[np.append(np.diff(owner) > 0, True)]
    return _task(
        "cold-items",
        interactions,
        usable,
        train,
        last,
        f"{len(drawn):,} items drawn at random have no training event; asked for is each user's last event with one",
        known=~hidden,
    )


def cold_users_task(
    interactions: Interactions, usable: NDArray[np.bool_], share: float = 0.2, seed: int = DEFAULT_SEED
) -> Task:
    """A share of the users is unknown in training; the last event of each is asked for, the rest is the history.

    Args:
        interactions: all of them.
        usable: bool (items,), what can be recommended.
        share: of the users with two events or more, between 0 and 1.
        seed: of the draw.

    Raises:
        UsageError: ``share`` is out of range.
        DataError: fewer than two users have two events, or there is only one item.
    """
    _check(interactions, usable)
    _check_share(share)
    able = np.flatnonzero(interactions.lengths() >= 2)
    if len(able) < 2:
        raise DataError(
            f"expected two or more users with two interactions each, found {len(able)}",
            "Some users are hidden and the others are learned from.",
        )
    count = min(len(able) - 1, max(1, round(share * len(able))))
    chosen = np.sort(generator(seed, _USERS_STREAM).permutation(able)[:count])
    return _task(
        "cold-users",
        interactions,
        usable,
        select(interactions, ~np.isin(interactions.users(), chosen)),
        interactions.offsets[chosen + 1] - 1,
        f"{count:,} users drawn at random are unknown in training; asked for is the last event of each",
    )


def with_fraction(task: Task, fraction: float, seed: int = DEFAULT_SEED) -> Task:
    """The same cases where only a share of the users with training events is known; a learning curve is made of these.

    Samples are nested: the users of 1 % are among those of 5 %. The histories of the cases stay as they are.

    Args:
        task: with all training events.
        fraction: from 0 (no training event) to 1 (the task itself).
        seed: of the draw.

    Raises:
        UsageError: ``fraction`` is out of range.
        DataError: the share is above 0 and yet less than one user.
    """
    if not 0 <= fraction <= 1:
        raise UsageError(f"expected a fraction from 0 to 1, found {fraction}")
    known = np.flatnonzero(task.train.lengths() > 0)
    count = round(fraction * len(known))
    if fraction > 0 and not count:
        raise DataError(
            f"expected a share of the histories that keeps one user or more, found {100 * fraction:g} % of "
            f"{len(known)} users with known events",
            f"The smallest is {100 / max(1, len(known)):.2g} %.",
        )
    chosen = generator(seed, _FRACTION_STREAM).permutation(known)[:count]
    kept = np.zeros(task.train.n_users, bool)
    kept[chosen] = True
    description = (
        task.description if fraction == 1 else f"{task.description}; the histories of {fraction:.3g} of the users"
    )
    return replace(task, train=select(task.train, kept[task.train.users()]), description=description)


def subset(task: Task, chosen: NDArray[np.bool_]) -> Task:
    """The task with some of its cases, for example those that an ad-hoc question is about.

    Args:
        task: with all cases.
        chosen: bool (cases,), True for those to keep.

    Raises:
        UsageError: the shape does not fit, or none is chosen.
    """
    if chosen.shape != task.users.shape or chosen.dtype != np.bool_:
        raise UsageError(f"expected {len(task)} booleans, found {chosen.dtype} of shape {chosen.shape}")
    histories = np.split(task.histories.items, task.histories.offsets[1:-1])
    kept = from_lists(histories[case] for case in np.flatnonzero(chosen))
    return replace(task, users=task.users[chosen], histories=kept, targets=task.targets[chosen])


def _task(
    protocol: Protocol,
    interactions: Interactions,
    usable: NDArray[np.bool_],
    train: Interactions,
    hidden: NDArray[np.integer],
    description: str,
    *,
    known: NDArray[np.bool_] | None = None,
) -> Task:
    """The task that asks for the events at ``hidden``; histories are the ``known`` events of the same user before."""
    users = interactions.users()[hidden]
    shown = np.ones(len(interactions), bool) if known is None else known
    spans = [slice(start, end) for start, end in zip(interactions.offsets[users], hidden, strict=True)]
    histories = from_lists(interactions.items[span][shown[span]] for span in spans)
    return Task(
        protocol, train, users, histories, interactions.items[hidden].astype(np.int64), np.array(usable), description
    )


def _without(interactions: Interactions, events: NDArray[np.integer]) -> Interactions:
    keep = np.ones(len(interactions), bool)
    keep[events] = False
    return select(interactions, keep)


def _check(interactions: Interactions, usable: NDArray[np.bool_]) -> None:
    if usable.ndim != 1 or usable.dtype != np.bool_ or (len(interactions) and interactions.items.max() >= len(usable)):
        raise UsageError(f"expected usable as one boolean an item, found {usable.dtype} of shape {usable.shape}")
    if not len(interactions):
        raise DataError("expected interactions to evaluate on, found none")
    if not usable.any():
        raise DataError("expected an item that can be recommended, found none")
    if (interactions.items == interactions.items[0]).all():
        raise DataError(
            "expected interactions with two or more items, found all of them on one",
            "With one item there is nothing to rank.",
        )


def _check_share(share: float) -> None:
    if not 0 < share < 1:
        raise UsageError(f"expected a share between 0 and 1, found {share}")


def _refuse_leak(task: Task) -> None:
    """A hidden event in training shows as one more occurrence of its item than the history accounts for."""
    items = len(task.candidates)
    keys, inverse = np.unique(task.users * items + task.targets, return_inverse=True)

    def occurrences(users: NDArray[np.int64], rows: NDArray[np.integer]) -> NDArray[np.int64]:
        found = users * items + rows
        place = np.minimum(np.searchsorted(keys, found), len(keys) - 1)
        return np.bincount(place[keys[place] == found], minlength=len(keys))

    trained = occurrences(task.train.users(), task.train.items)[inverse]
    case = np.repeat(np.arange(len(task)), np.diff(task.histories.offsets))
    same = task.histories.items == task.targets[case]
    leaked = np.flatnonzero(trained > np.bincount(case[same], minlength=len(task)))
    if len(leaked):
        user = task.train.user_ids[task.users[leaked[0]]]
        raise DataError(
            f"expected hidden events that are not trained on, found {len(leaked):,} of {len(task):,} in the training "
            f"events, the first of user {user!r} and item row {task.targets[leaked[0]]}",
            "Take the hidden events out of the training events.",
        )

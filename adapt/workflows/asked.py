"""Whose lists are wanted: users of a data set, an ad-hoc history, or items that similar ones are sought for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from adapt.data import Dataset
from adapt.data.catalog import Interactions
from adapt.errors import DataError, NotFoundError
from adapt.seeds import generator
from adapt.workflows.lists import Histories
from adapt.workflows.recommender import Recommender

if TYPE_CHECKING:
    from adapt.workflows.recommend import RecommendOptions

Mode = Literal["users", "similar", "history"]
_STREAM = 0x5A3


def wanted(dataset: Dataset, options: RecommendOptions) -> tuple[Mode, Sequence[str], Histories]:
    """What lists are wanted for: their keys and histories."""
    interactions = dataset.interactions
    if options.history:
        rows = dataset.catalog.rows(options.history)
        return "history", ("history",), Histories(np.array([0, len(rows)]), rows, np.zeros(1, np.int64))
    if interactions is not None and interactions.n_users:
        if options.users:
            users = _numbers(interactions, options.users)
        elif options.sample_users and options.sample_users < interactions.n_users:
            drawn = generator(options.seed, _STREAM).choice(interactions.n_users, options.sample_users, replace=False)
            users = np.sort(drawn)
        else:
            return "users", interactions.user_ids, Histories.of(interactions, np.arange(interactions.n_users))
        ids = interactions.user_ids
        return "users", tuple(ids[user] for user in users.tolist()), Histories.of(interactions, users)
    if options.users:
        raise DataError(
            f"expected interactions with the user {options.users[0]!r}, found items only",
            'Name an ad-hoc history with --history "id1,id2".',
        )
    return "similar", dataset.catalog.ids, Histories.single(np.arange(len(dataset.catalog)))


def _numbers(interactions: Interactions, named: Sequence[str]) -> NDArray[np.int64]:
    """The numbers of users by their ids; one that is named twice is meant once.

    Raises:
        NotFoundError: there is no such user; says the place among those named, which is the line of a file of ids.
    """
    numbers: dict[int, None] = {}
    for place, user in enumerate(named, start=1):
        try:
            numbers[interactions.user(user)] = None
        except NotFoundError as error:
            where = f" (number {place:,} of {len(named):,} ids)" if len(named) > 1 else ""
            raise NotFoundError(error.message + where, error.hint) from error
    return np.array(list(numbers), np.int64)


def with_history(
    recommender: Recommender, mode: Mode, keys: Sequence[str], histories: Histories
) -> tuple[Sequence[str], Histories, tuple[str, ...]]:
    """The keys and histories that can be answered, and the ids of users that cannot."""
    if mode != "similar" and not recommender.needs_history:
        return keys, histories, ()
    has = histories.hold(recommender.embedded.usable)
    if mode == "history" and not has.all():
        raise DataError("expected at least one item with usable features in --history, found none")
    if not has.any():
        raise DataError(
            f"expected a user with at least one usable item in the history, found none among {len(keys)}",
            "`adapt data check` shows which items of the histories are in the catalog.",
        )
    if has.all():
        return keys, histories, ()
    without = () if mode == "similar" else tuple(keys[number] for number in np.flatnonzero(~has).tolist())
    return tuple(keys[number] for number in np.flatnonzero(has).tolist()), histories.only(has), without

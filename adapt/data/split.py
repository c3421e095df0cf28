"""Leave-one-out: each user's last item is the test item, the one before it the validation item."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from adapt.data.catalog import Interactions
from adapt.data.clean import select
from adapt.errors import UsageError


@dataclass(frozen=True, eq=False)
class Split:
    """Training histories and the held-out items.

    Attributes:
        train: the histories without the held-out items; the same users.
        valid_items: int32 (users,) catalog rows, -1 = none.
        test_items: int32 (users,) catalog rows, -1 = none.
    """

    train: Interactions
    valid_items: NDArray[np.int32]
    test_items: NDArray[np.int32]


def leave_one_out(interactions: Interactions) -> Split:
    """Hold out the last two items of each user.

    A user with two interactions has a test item and no validation item; a user with one has neither.
    """
    lengths = interactions.lengths()
    tested, validated = lengths >= 2, lengths >= 3
    train = select(interactions, ~_last(interactions, tested.astype(np.int64) + validated))
    return Split(train, _item(interactions, validated, 2), _item(interactions, tested, 1))


def drop_last(interactions: Interactions, n: int = 1) -> Interactions:
    """The histories without their last ``n`` interactions; a shorter one becomes empty.

    Raises:
        UsageError: ``n`` is negative.
    """
    if n < 0:
        raise UsageError(f"expected n of at least 0, found {n}")
    return select(interactions, ~_last(interactions, np.minimum(interactions.lengths(), n)))


def _last(interactions: Interactions, counts: NDArray[np.int64]) -> NDArray[np.bool_]:
    """bool (n,): the interaction is among the last ``counts[user]`` of its user."""
    ends = interactions.offsets[1:]
    users = interactions.users()
    found: NDArray[np.bool_] = np.arange(len(interactions)) >= (ends - counts)[users]
    return found


def _item(interactions: Interactions, has: NDArray[np.bool_], from_end: int) -> NDArray[np.int32]:
    held = np.full(interactions.n_users, -1, dtype=np.int32)
    held[has] = interactions.items[interactions.offsets[1:][has] - from_end]
    return held

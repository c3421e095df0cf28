"""What a data set is once it has been read: a catalog of items, interactions, and a report on both."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from adapt.data.lookup import IdLookup
from adapt.data.views import ImageColumn, StringColumn, filled
from adapt.errors import DataError, NotFoundError

if TYPE_CHECKING:
    from adapt.data.check import DataReport

_COMPARED = 20_000  # ids that an unknown one is compared with by spelling


@dataclass(frozen=True, eq=False)
class Catalog:
    """The items of a data set; an item's row is its place in every field.

    Attributes:
        ids: row -> item id.
        texts: row -> text by the template, "" = none.
        images: row -> absolute paths of image files inside the data set, () = none.
        titles: row -> what a person reads: the title, else the first text, else the id.
        columns: every column but the id, as read.

            These five of a data set that was read are views (:mod:`adapt.data.views`) of Arrow arrays, which lie on
            disk where they are large: a slice, or a loop over all, is cheap and holds little at a time.
        text_template: the columns that make up ``texts``, in order.
        text_features: float32 (items, dim), a missing row is NaN; None = not given.
        image_features: the same for images.
    """

    ids: StringColumn
    texts: StringColumn
    images: ImageColumn
    titles: StringColumn
    columns: Mapping[str, StringColumn]
    text_template: tuple[str, ...]
    text_features: NDArray[np.float32] | None = None
    image_features: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def index(self) -> IdLookup:
        """Item id -> row."""
        return IdLookup(self.ids)

    def row(self, item_id: str) -> int:
        """The row of an item.

        Raises:
            DataError: there is no such item; the hint names similar ids.
        """
        row = self.index.get(item_id)
        if row is None:
            raise DataError(
                f"expected the id of an item of the catalog, found {item_id!r}", similar(item_id, self.index)
            )
        return row

    def rows(self, item_ids: Iterable[str]) -> NDArray[np.int64]:
        """The rows of several items: int64 (n,).

        Raises:
            DataError: one of them is not in the catalog.
        """
        wanted = tuple(item_ids)
        rows = self.index.rows(wanted)
        if (rows < 0).any():
            self.row(wanted[int(np.argmax(rows < 0))])  # says what is wrong
        return rows

    @cached_property
    def has_text(self) -> NDArray[np.bool_]:
        """bool (items,): the item has a text or text features."""
        return filled(self.texts) | _present(self.text_features, len(self))

    @cached_property
    def has_image(self) -> NDArray[np.bool_]:
        """bool (items,): the item has an image or image features."""
        return filled(self.images) | _present(self.image_features, len(self))


@dataclass(frozen=True, eq=False)
class Interactions:
    """Histories, user after user, each in time order (equal timestamps: in file order).

    Attributes:
        user_ids: user number -> id, in order of first appearance. A user without a known item has an empty history.
        offsets: int64 (users + 1,): the history of user ``u`` is ``items[offsets[u]:offsets[u + 1]]``.
        items: int32 (n,) catalog rows.
        timestamps: float64 (n,) unix seconds, or the numbers as given where they are no dates; None = file order.
        ratings: float32 (n,), NaN = none; None = no such column.
    """

    user_ids: StringColumn
    offsets: NDArray[np.int64]
    items: NDArray[np.int32]
    timestamps: NDArray[np.float64] | None = None
    ratings: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.items)

    @property
    def n_users(self) -> int:
        """Number of users."""
        return len(self.user_ids)

    @cached_property
    def index(self) -> IdLookup:
        """User id -> user number."""
        return IdLookup(self.user_ids)

    def user(self, user_id: str) -> int:
        """The number of a user.

        Raises:
            NotFoundError: there is no such user; the hint names similar ids.
        """
        user = self.index.get(user_id)
        if user is None:
            raise unknown_user(user_id, self.index)
        return user

    def history(self, user: int) -> NDArray[np.int32]:
        """Catalog rows of a user's items, oldest first."""
        return self.items[self.offsets[user] : self.offsets[user + 1]]

    def lengths(self) -> NDArray[np.int64]:
        """int64 (users,): the length of each history."""
        return np.diff(self.offsets)

    def users(self) -> NDArray[np.int64]:
        """int64 (n,): the user number of each interaction."""
        return np.repeat(np.arange(self.n_users, dtype=np.int64), self.lengths())


@dataclass(frozen=True, eq=False)
class Dataset:
    """A data set that was read and checked."""

    name: str
    root: Path
    catalog: Catalog
    interactions: Interactions | None
    report: DataReport


def unknown_user(wanted: str, known: Mapping[str, int]) -> NotFoundError:
    """What is said of the id of no user; the hint names similar ids."""
    return NotFoundError(f"expected the id of a user of the data set, found {wanted!r}", similar(wanted, known))


def similar(wanted: str, known: Mapping[str, int]) -> str:
    """A hint that names ids that ``wanted`` may have been meant to be; says so when there is none.

    >>> similar("7", {"007": 0})
    "Did you mean '007'?"
    """
    if other := variant(wanted, known):
        return f"Did you mean {other!r}?"
    sample = list(known) if len(known) <= _COMPARED else []
    if matches := difflib.get_close_matches(wanted, sample, n=3):
        return f"Did you mean {' or '.join(map(repr, matches))}?"
    first = ", ".join(map(repr, islice(known, 3)))
    return f"Ids are text and must match exactly; the first ones are {first}." if first else "There are none."


def variant(wanted: str, known: Mapping[str, int]) -> str | None:
    """A known id that differs from ``wanted`` only as other programs change ids; None when there is none.

    Spreadsheets and data frames strip zeros (``007`` -> ``7``), append ``.0``, and leave spaces.
    """
    stripped = wanted.strip()
    whole = stripped.removesuffix(".0")
    candidates = [stripped, whole, stripped.upper(), stripped.lower(), f"{stripped}.0", whole.lstrip("0") or "0"]
    if whole.isdigit():
        candidates += [whole.zfill(width) for width in range(len(whole) + 1, 15)]
    return next((candidate for candidate in candidates if candidate != wanted and candidate in known), None)


def _present(features: NDArray[np.float32] | None, items: int) -> NDArray[np.bool_]:
    if features is None:
        return np.zeros(items, dtype=bool)
    return np.asarray(~np.isnan(features.max(axis=1, initial=-np.inf)))  # the largest is NaN where any is

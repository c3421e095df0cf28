"""Cleaning steps that change which interactions there are; none of them happens unless it is called."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from adapt.data.catalog import Catalog, Dataset, Interactions
from adapt.data.views import image_files, taken
from adapt.errors import DataError, UsageError


def dedupe_consecutive(interactions: Interactions) -> Interactions:
    """Histories in which no item follows itself; of a run of the same item the first interaction stays."""
    items = interactions.items
    keep = np.ones(len(items), dtype=bool)
    keep[1:] = items[1:] != items[:-1]
    starts = interactions.offsets[:-1]
    keep[starts[starts < len(items)]] = True
    return select(interactions, keep)


def select(interactions: Interactions, keep: NDArray[np.bool_]) -> Interactions:
    """The interactions where ``keep`` (bool (n,)) holds; every user stays, perhaps with an empty history."""
    kept = np.concatenate([[0], np.cumsum(keep)]).astype(np.int64)
    return Interactions(
        user_ids=interactions.user_ids,
        offsets=kept[interactions.offsets],
        items=interactions.items[keep],
        timestamps=None if interactions.timestamps is None else interactions.timestamps[keep],
        ratings=None if interactions.ratings is None else interactions.ratings[keep],
    )


def k_core(dataset: Dataset, k: int) -> Dataset:
    """The largest part of a data set in which every user and every item has at least ``k`` interactions.

    Users and items outside of it are left out, of the catalog too; ``report`` still describes what was read.

    Args:
        dataset: with interactions.
        k: at least 1.

    Raises:
        DataError: there are no interactions, or nothing is left.
        UsageError: ``k`` is below 1.
    """
    if k < 1:
        raise UsageError(f"expected k of at least 1, found {k}")
    interactions = dataset.interactions
    if interactions is None:
        raise DataError(f"expected interactions in {dataset.name}, found none", "A k-core needs histories.")
    users, items = interactions.users(), interactions.items
    keep = np.ones(len(items), dtype=bool)
    while True:
        per_user = np.bincount(users[keep], minlength=interactions.n_users)
        per_item = np.bincount(items[keep], minlength=len(dataset.catalog))
        fewer = keep & (per_user[users] >= k) & (per_item[items] >= k)
        if np.array_equal(fewer, keep):
            break
        keep = fewer
    if not keep.any():
        raise DataError(f"expected a {k}-core in {dataset.name}, found that nothing is left", "Choose a smaller k.")
    rows = np.flatnonzero(per_item)
    renumbered = np.full(len(dataset.catalog), -1, dtype=np.int32)
    renumbered[rows] = np.arange(len(rows), dtype=np.int32)
    smaller = _without_empty(select(interactions, keep))
    return dataclasses.replace(
        dataset,
        catalog=take_items(dataset.catalog, rows),
        interactions=dataclasses.replace(smaller, items=renumbered[smaller.items]),
    )


def take_items(catalog: Catalog, rows: NDArray[np.integer]) -> Catalog:
    """The catalog of the given rows, in their order."""
    main = taken({"id": catalog.ids, "text": catalog.texts, "title": catalog.titles}, rows)
    return Catalog(
        ids=main["id"],
        texts=main["text"],
        images=image_files(catalog.images[row] for row in rows),
        titles=main["title"],
        columns=taken(catalog.columns, rows),
        text_template=catalog.text_template,
        text_features=None if catalog.text_features is None else catalog.text_features[rows],
        image_features=None if catalog.image_features is None else catalog.image_features[rows],
    )


def _without_empty(interactions: Interactions) -> Interactions:
    lengths = interactions.lengths()
    offsets = np.concatenate([[0], np.cumsum(lengths[lengths > 0])]).astype(np.int64)
    names = taken({"id": interactions.user_ids}, np.flatnonzero(lengths))
    return dataclasses.replace(interactions, user_ids=names["id"], offsets=offsets)

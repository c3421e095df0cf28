"""The one place where column names are written: what they mean, and how a user overrides them."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from adapt.config import config

Role = Literal["item", "user", "time", "rating", "image", "title", "brand", "category", "description"]

# A noun alone is the id when there is no better column, and else the title.
_NOUNS = ("item", "product", "movie", "book", "article", "track", "song")

# The first name that a file has is taken. Compared without case, spaces, `_`, `-` and `.`: ItemID, item-id and
# `item id` are all item_id.
ALIASES: dict[Role, tuple[str, ...]] = {
    "item": (
        *("item_id", "itemid", "iid", "product_id", "asin", "parent_asin", "sku", "movie_id", "book_id", "isbn"),
        *("article_id", "track_id", "song_id", "artist_id", "business_id", "news_id", "video_id", "anime_id"),
        *("game_id", "recipe_id", "goods_id", "listing_id", "venue_id", "poi_id", "content_id", "doc_id", "target_id"),
    ),
    "user": (
        *("user_id", "userid", "user", "uid", "customer_id", "customer", "client_id", "reviewer_id", "reviewer"),
        *("member_id", "account_id", "visitor_id", "person_id", "profile_id", "session_id", "session"),
    ),
    "time": (
        *("timestamp", "time", "ts", "datetime", "date", "event_time", "unix_review_time", "review_time"),
        *("created_at", "event_timestamp", "unix_timestamp", "unix_time", "t_dat", "time_stamp", "rated_at"),
        *("purchase_date", "order_date", "viewed_at", "event_date"),
    ),
    "rating": ("rating", "overall", "stars", "score", "rate", "label"),
    "image": (
        *("image", "images", "image_path", "image_paths", "image_file", "image_name", "img", "img_path", "picture"),
        *("pictures", "photo", "photos", "poster", "poster_path", "cover", "thumbnail", "image_url", "image_urls"),
        *("img_url", "im_url"),
    ),
    "title": (
        *("title", "name", "item_name", "item_title", "product_name", "product_title", "prod_name", "movie_title"),
        *("book_title", "headline", "track_name", "song_name", *_NOUNS),
    ),
    "brand": ("brand", "manufacturer", "maker", "brand_name", "author", "authors", "artist", "artists", "publisher"),
    "category": (
        *("category", "categories", "genre", "genres", "main_category", "category_name", "product_type"),
        *("product_category", "class", "tags", "department"),
    ),
    "description": (
        *("description", "desc", "detail_desc", "overview", "summary", "abstract", "synopsis", "plot", "about"),
        *("details", "body", "text", "content", "features"),
    ),
}
TEXT_ROLES: tuple[Role, ...] = ("title", "brand", "category", "description")  # the order of the text template


@config
class ColumnOptions:
    """Column names that replace the automatic choice, and precomputed features.

    Args:
        item, user, time, rating, image: the name of that column; None: found by its usual names.
        text: the text columns in the order of the template; empty: the automatic order.
        text_features, image_features: an ``.npy`` file (float, rows of the items file x dimension), or the name of a
            parquet column of lists.
    """

    item: str | None = None
    user: str | None = None
    time: str | None = None
    rating: str | None = None
    image: str | None = None
    text: tuple[str, ...] = ()
    text_features: Path | None = None
    image_features: Path | None = None


@dataclass(frozen=True)
class Match:
    """The column of a role, and the others that could have been meant."""

    column: str | None
    others: tuple[str, ...] = ()


def normalise(name: str) -> str:
    """A column name without case, spaces and punctuation.

    >>> normalise(" Item-ID ")
    'itemid'
    """
    return "".join(character for character in name.casefold() if character not in " _-.\t")


def find(role: Role, columns: Sequence[str], *, items_file: bool = False) -> Match:
    """The column that plays ``role``, by its usual names.

    Args:
        role: what the column means.
        columns: the names in the file.
        items_file: whether the file has one row an item, where ``id`` is the item.

    >>> find("item", ["uid", "ASIN", "ts"]).column
    'ASIN'
    """
    ranks = _ranks(role, items_file)
    found = sorted((column for column in columns if normalise(column) in ranks), key=lambda c: ranks[normalise(c)])
    return Match(found[0], tuple(found[1:])) if found else Match(None)


@functools.cache
def _ranks(role: Role, items_file: bool) -> dict[str, int]:
    """Each usual name of a role, normalised, and its place."""
    names = ALIASES[role]
    if role == "item":  # `id` alone is the item in a file of items; in one of interactions it usually numbers the rows
        names = (*names, *(("id",) if items_file else ()), *_NOUNS)
    return {normalise(name): rank for rank, name in reversed(list(enumerate(names)))}

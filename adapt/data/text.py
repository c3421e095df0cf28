"""The text of an item: its text columns joined in a stated order.

The template is: title, brand, category, description, then every other text column in file order. Empty cells are
skipped; parts are joined by ``". "`` (by a space where a part already ends a sentence). HTML tags are dropped and
entities decoded, as shop exports are full of them and no encoder gains from ``&amp;``; runs of white space become one
space; ``|`` between the categories of an item becomes a comma.

A column is not text when nearly all of its values are numbers, prices, dates, web addresses, file names or yes/no, when
its name says that it is an id, or when it is empty.
"""

from __future__ import annotations

import html
import re
from collections.abc import Sequence

_MOSTLY = 0.95
SAMPLE = 2_000  # values, up to twice as many, that stand for a column
_LONG = 300  # characters; whatever is longer is text
_TAG = re.compile(r"</?[A-Za-z][^<>]*>|<!--[^<>]*>")
_SPACE = re.compile(r"\s+")
_NUMBER = r"[-+]?(?:\d[\d,' ]*(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?"
_UNIT = r"(?:[$€£¥₹]|USD|EUR|GBP|CHF|JPY|%|kg|g|cm|mm|m|ml|l)"
_NOT_TEXT = re.compile(
    rf"\s*(?:(?:{_UNIT}\s*)?{_NUMBER}(?:\s*{_UNIT})?"  # 12, 1e5, $1,299.00, 4.5 €, 80 %
    r"|\d{4}-\d{2}(?:-\d{2})?(?:[T ][\d:.+\-Z ]*)?|\d{1,2}[./]\d{1,2}[./]\d{2,4}"  # dates
    r"|(?:https?|ftp|file|s3)://\S*|www\.\S*|[^\s|]+\.(?i:jpe?g|png|gif|webp|bmp|tiff?|avif|npy|mp4|html?)"
    r"|(?i:nan|none|null|n/a|true|false|yes|no|[ynt f]))\s*"
)
_ID_NAME = re.compile(
    r"(?:^|[ _.-])(?i:ids?|uuid|guid|sku|asin|isbn|ean|gtin|upc|url|link|href|path|file)$"
    r"|[a-z]I[Dd]$"
)
SENTENCE_END = (".", "!", "?", ":", ";")


def is_text(name: str, values: Sequence[str]) -> bool:
    """Whether a column of ``values`` reads as text, judged by a sample spread over the column.

    >>> is_text("price", ["$1,299.00", "12"]), is_text("colour", ["dark red", ""])
    (False, True)
    """
    if _ID_NAME.search(name.strip()):
        return False
    filled = [value for value in values if value and not value.isspace()]
    sample = filled[:: max(1, len(filled) // SAMPLE)]
    other = sum(len(value) <= _LONG and _NOT_TEXT.fullmatch(value) is not None for value in sample)
    return bool(sample) and other < _MOSTLY * len(sample)


def clean(value: str, *, listed: bool = False) -> str:
    """A cell as plain text on one line; ``listed``: ``|`` separates values.

    >>> clean("Salt &amp; pepper<br>mill"), clean("Drama|Crime", listed=True)
    ('Salt & pepper mill', 'Drama, Crime')
    """
    if "&" in value:
        value = html.unescape(value)
    if "<" in value:
        value = _TAG.sub(" ", value)
    if listed and "|" in value:
        value = ", ".join(part for part in map(str.strip, value.split("|")) if part)
    return _SPACE.sub(" ", value).strip()


def join(parts: Sequence[str]) -> str:
    """The text of one item.

    >>> join(["Tent", "", "For two.", "Green"])
    'Tent. For two. Green'
    """
    joined = ""
    for part in parts:
        if part:
            joined += (" " if joined.endswith(SENTENCE_END) else ". " if joined else "") + part
    return joined

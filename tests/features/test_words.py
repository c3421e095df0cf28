"""Words that are looked up give the tokens that the tokenizer gives for the whole text."""

from __future__ import annotations

import dataclasses
import functools
import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapt.features.static import load_static
from adapt.features.words import WordTokens, cuts_at_spaces
from adapt.files import bundled

FOLDER = bundled("pretrained") / "static-minilm-256"
ENCODER = load_static(FOLDER)
WHOLE = dataclasses.replace(ENCODER, words=None)
# Everything that could reach across a space: accents that combine, signs that vanish, spaces of other kinds, tokens of
# the tokenizer's own, signs that get spaces around them.
PIECES = st.sampled_from(
    ["red", "Dress", "1.7L", "(blue)", "crème", "e\u0301", "\u0301", "\u0327", " ", "  ", "\n", "\t", "\r", "\x0b",
     "\x0c", "\x1c", "\x85", "\xa0", "\u200d", "\u2028", "\u3000", "\ufeff", "\ufffd", "\0", "水", "한국", "ﬁ", "ΟΔΟΣ",
     "İ", "ß", "[UNK]", "[PAD]", "[", "UNK]", "##s", "'s", "-", "a" * 101, "zzzqqq", "😀", "👩\u200d🚀"]
)  # fmt: skip
TEXTS = st.lists(st.one_of(st.lists(PIECES, max_size=12).map("".join), st.text(max_size=20)), max_size=6)


short = functools.cache(load_static)


def behaviour() -> dict[str, Any]:
    content = json.loads((FOLDER / "tokenizer.json").read_text())
    assert isinstance(content, dict)
    return content


def same(one: tuple[Any, Any], other: tuple[Any, Any]) -> bool:
    return all(np.array_equal(a, b) and a.dtype == b.dtype == np.int64 for a, b in zip(one, other, strict=True))


@settings(max_examples=400, deadline=None)
@given(TEXTS)
def test_tokens_are_those_of_the_whole_text(texts: list[str]) -> None:
    assert ENCODER.words is not None
    assert same(ENCODER.known_tokens(texts), WHOLE.known_tokens(texts))


@settings(max_examples=100, deadline=None)
@given(TEXTS, st.integers(1, 5), st.integers(0, 200))
def test_also_truncated_and_with_a_short_memory(texts: list[str], max_length: int, largest: int) -> None:
    encoder = short(FOLDER, max_length)
    words = WordTokens(encoder.tokenizer, max_length, largest)
    for _ in range(2):
        assert same(words(texts), dataclasses.replace(encoder, words=None, unknown=None).known_tokens(texts))


def test_vectors_are_the_same_bytes_from_several_threads() -> None:
    encoder = load_static(FOLDER)
    batches = [
        [f"steel kettle number {7 * number + part} for the kitchen" for number in range(200)] for part in range(8)
    ]
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(encoder.encode, batches))
    for batch, values in zip(batches, found, strict=True):
        assert np.array_equal(values, WHOLE.encode(batch))


def test_it_is_used_only_where_it_is_known_to_hold() -> None:
    tokenizer = behaviour()
    assert cuts_at_spaces(tokenizer)
    assert not cuts_at_spaces({**tokenizer, "normalizer": None})
    assert not cuts_at_spaces({**tokenizer, "pre_tokenizer": {"type": "Metaspace"}})
    assert not cuts_at_spaces({**tokenizer, "added_tokens": [{"id": 0, "content": "New York"}]})
    assert not cuts_at_spaces({})


@pytest.mark.parametrize("largest", [0, 10_000])
def test_what_is_remembered_is_bounded(largest: int) -> None:
    words = WordTokens(ENCODER.tokenizer, 256, largest)
    for start in range(0, 5_000, 100):
        words([f"article {number}" for number in range(start, start + 100)])
    assert words.size <= largest + 101 * 50

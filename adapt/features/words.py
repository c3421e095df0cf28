"""Tokens of many texts, each word looked up instead of cut anew: words repeat, and cutting them is most of the work."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from adapt.ranges import ranges

Rows = npt.NDArray[np.int64]
_LARGEST = 32_000_000
_A_WORD = 32  # characters that a word costs beside its own


def cuts_at_spaces(tokenizer: Mapping[str, Any]) -> bool:
    """Whether a text's tokens are those of its words, one after the other, whatever a word stands beside.

    Says so of what is known to be so: WordPiece behind BERT's normaliser and splitter. A space is then a border that
    neither accents nor control characters nor Chinese signs reach across.

    Args:
        tokenizer: content of ``tokenizer.json``.
    """
    kinds = [(tokenizer.get(part) or {}).get("type") for part in ("normalizer", "pre_tokenizer", "model")]
    added = [str(token.get("content")) for token in tokenizer.get("added_tokens") or []]
    return kinds == ["BertNormalizer", "BertPreTokenizer", "WordPiece"] and not any(" " in token for token in added)


class WordTokens:
    """What a tokenizer that :func:`cuts_at_spaces` makes of texts, several times as fast. Safe in several threads.

    Args:
        tokenizer: without padding, truncating at ``max_length``.
        max_length: tokens of a text that are kept.
        largest: characters of all words that are remembered, each word 32 more; with more, all are forgotten.

    Attributes:
        size: the characters that are remembered.
    """

    size: int
    _starts: Rows
    _lengths: Rows
    _tokens: Rows

    def __init__(self, tokenizer: Tokenizer, max_length: int, largest: int = _LARGEST) -> None:
        self._tokenizer = tokenizer
        self._max_length = max_length
        self._largest = largest
        self._lock = threading.Lock()
        self._forget()

    def __call__(self, texts: Sequence[str]) -> tuple[Rows, Rows]:
        """The tokens of all texts one after the other, and where each text's begin: int64 (tokens,), (texts + 1,)."""
        if not len(texts):
            return np.zeros(0, np.int64), np.zeros(1, np.int64)
        lists = [text.replace("\n", " ").split(" ") for text in texts]
        counts = np.fromiter(map(len, lists), np.int64, len(lists))
        with self._lock:
            words = self._look_up(lists, int(counts.sum()))
            lengths = self._lengths[words]
            tokens = self._tokens[ranges(self._starts[words], lengths)]
        totals = np.add.reduceat(lengths, np.cumsum(counts) - counts)
        if totals.max() > self._max_length:
            kept = np.minimum(totals, self._max_length)
            tokens, totals = tokens[ranges(np.cumsum(totals) - totals, kept)], kept
        return tokens, np.concatenate([[0], np.cumsum(totals)])

    def _look_up(self, lists: Sequence[Sequence[str]], count: int) -> Rows:
        """The row of every word, those that are new cut and remembered first."""
        if self.size > self._largest:
            self._forget()
        words = np.fromiter(map(self._rows.__getitem__, chain.from_iterable(lists)), np.int64, count)
        if self._rows.new:
            found = [it.ids for it in self._tokenizer.encode_batch_fast(self._rows.new, add_special_tokens=False)]
            lengths = np.fromiter(map(len, found), np.int64, len(found))
            self._lengths = np.concatenate([self._lengths, lengths])
            self._starts = np.concatenate([self._starts, len(self._tokens) + np.cumsum(lengths) - lengths])
            new = np.fromiter(chain.from_iterable(found), np.int64, int(lengths.sum()))
            self._tokens = np.concatenate([self._tokens, new])
            self.size += sum(map(len, self._rows.new)) + _A_WORD * len(found)
            self._rows.new = []
        return words

    def _forget(self) -> None:
        self._rows = _RowOfWord()
        self.size = 0
        self._starts = self._lengths = self._tokens = np.zeros(0, np.int64)


class _RowOfWord(dict[str, int]):
    """Word -> row; one that is asked for the first time gets the next row and is ``new``."""

    def __init__(self) -> None:
        super().__init__()
        self.new: list[str] = []

    def __missing__(self, word: str) -> int:
        self[word] = row = len(self)
        self.new.append(word)
        return row

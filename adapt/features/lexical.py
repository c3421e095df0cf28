"""A lexical sketch of texts: which character n-grams and words they share, as a short vector.

What a transformer's vector blurs (model numbers, brands, series, the spelling of rare names) is exactly what two titles
of one catalog often share. Nothing is trained: n-grams are hashed into a fixed number of signed buckets (a count
sketch: Charikar, Chen and Farach-Colton, 2002), whose inner products estimate those of the full n-gram counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from adapt.errors import CheckpointError
from adapt.features.base import Encoder, FloatArray, Modality
from adapt.features.identity import content_id
from adapt.features.normalise import unit

_GRAMS = (3, 4)
_HASHES = 4
_LONGEST = 256
_TEXTS = 256
_BASE = np.uint64(0x9E3779B97F4A7C15)
_VERSION = 1


def sketch(texts: Sequence[str], dim: int) -> FloatArray:
    """Sketches of texts.

    Args:
        texts: their first 256 bytes in lower case are read, with runs of white space as one blank.
        dim: buckets, at most 32,768.

    Returns:
        float32 (texts, dim), unit rows; the row of an empty text is zero.

    >>> a, b, c = sketch(["Acme XJ-900 kettle", "acme xj-900 teapot", "blue rain coat"], 256)
    >>> bool(a @ b > 0.3 > abs(a @ c))
    True
    """
    # A few at a time, so that what is hashed stays in the processor's cache.
    counts = [_counts(texts[start : start + _TEXTS], dim) for start in range(0, len(texts), _TEXTS)]
    return unit(np.concatenate([np.zeros((0, dim)), *counts]))


def _counts(texts: Sequence[str], dim: int) -> NDArray[np.float64]:
    """Signed counts of the n-grams and words of texts in buckets: (texts, dim)."""
    pieces = [b" " + " ".join(text.lower().split()).encode()[: _LONGEST - 2] + b" " for text in texts]
    data = np.frombuffer(b"".join(pieces), dtype=np.uint8)
    owner = np.repeat(np.arange(len(texts)), [len(piece) for piece in pieces])
    hashes, owners = [], []
    for length in _GRAMS:
        grams = _polynomial(data, length)
        inside = owner[: len(grams)] == owner[length - 1 :]
        hashes.append(_mixed(grams[inside] + np.uint64(length)))
        owners.append(owner[: len(grams)][inside])
    words, word_owners = _words(data, owner)
    grams, rows = np.concatenate([*hashes, words]), np.concatenate([*owners, word_owners])
    values = np.zeros(len(texts) * dim, dtype=np.float64)
    for number in range(_HASHES):
        part = ((grams >> np.uint64(16 * number)) & np.uint64(0xFFFF)).astype(np.int64)
        buckets = rows * dim + (part >> 1) % dim
        values += np.bincount(buckets, weights=1.0 - 2.0 * (part & 1), minlength=len(values))
    return values.reshape(len(texts), dim)


def _polynomial(data: NDArray[np.uint8], length: int) -> NDArray[np.uint64]:
    """The hash of the ``length`` bytes from each place on."""
    found = np.zeros(max(0, len(data) - length + 1), dtype=np.uint64)
    for offset in range(length):
        found = found * _BASE + data[offset : offset + len(found)]
    return found


def _words(data: NDArray[np.uint8], owner: NDArray[np.int64]) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """The hash and the text of every word: prefix hashes, so that a word of any length is one subtraction."""
    blanks = np.flatnonzero(data == ord(" "))
    first, last = blanks[:-1] + 1, blanks[1:]
    inside = first < last
    first, last = first[inside], last[inside]
    found = np.zeros(len(first), dtype=np.uint64)
    lengths = last - first
    for offset in range(int(lengths.max(initial=0))):
        reached = np.flatnonzero(lengths > offset)
        found[reached] = found[reached] * _BASE + data[first[reached] + offset]
    return _mixed(found ^ _BASE), owner[first] if len(first) else first


def _mixed(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Spread the bits of hashes (the finaliser of SplitMix64)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def with_sketch(encoder: Encoder, width: int) -> LexicalEncoder:
    """A text encoder with a sketch of ``width`` buckets after its features.

    Raises:
        CheckpointError: it reads no text.
    """
    if encoder.modality != "text":
        raise CheckpointError(f"expected an encoder of text under a lexical sketch, found one of {encoder.modality}")
    return LexicalEncoder(encoder, width)


@dataclass(frozen=True, eq=False)
class LexicalEncoder:
    """A text encoder with a lexical sketch after its features, both of the same length.

    Attributes:
        inner: the encoder.
        width: of the sketch.
    """

    inner: Encoder
    width: int
    modality: Modality = "text"

    @property
    def id(self) -> str:
        """Identity of the inner encoder and of the sketch."""
        settings = {
            "inner": self.inner.id,
            "width": self.width,
            "grams": _GRAMS,
            "hashes": _HASHES,
            "version": _VERSION,
        }
        return content_id(self.inner.id.partition(":")[0], [], settings)

    @property
    def dim(self) -> int:
        """Width of both parts together."""
        return self.inner.dim + self.width

    @property
    def chunk(self) -> int:
        """Texts of one call, as the inner encoder wants them."""
        return int(getattr(self.inner, "chunk", 256))

    def encode(self, batch: Sequence[str]) -> FloatArray:
        """Features and sketches of texts: float32 (n, dim)."""
        parts = [unit(self.inner.encode(batch)), sketch(batch, self.width)]
        return np.concatenate(parts, axis=1) * np.float32(0.5**0.5)

"""Static text encoder: the mean of one stored vector per token (the folder format of model2vec).

Reads ``tokenizer.json``, ``config.json`` and ``model.safetensors`` itself and needs neither torch nor transformers, so
it starts quickly and encodes thousands of texts a second.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file
from tokenizers import Tokenizer

from adapt.errors import CheckpointError
from adapt.features.base import FloatArray, Modality
from adapt.features.identity import content_id, weights_of_file
from adapt.features.static_delta import DELTA, is_delta, read_delta
from adapt.features.words import WordTokens, cuts_at_spaces
from adapt.files import read_object

_FILES = ("config.json", "tokenizer.json", "model.safetensors")
_TENSORS = {"embeddings", "weights", "mapping"}


@dataclass(frozen=True, eq=False)
class StaticEncoder:
    """A table of token vectors.

    Attributes:
        table: float32 (tokens, dim), the token's weight multiplied in.
        tokenizer: gives rows of the table.
        words: gives the same faster, where the tokenizer allows it.
        unknown: the row of the unknown token, which is left out of the mean; None when there is none.
        normalize: whether a text's vector is scaled to length 1.
    """

    id: str
    table: FloatArray
    tokenizer: Tokenizer
    words: WordTokens | None
    unknown: int | None
    normalize: bool
    modality: Modality = "text"
    chunk: int = 4096

    @property
    def dim(self) -> int:
        return int(self.table.shape[1])

    def encode(self, batch: Sequence[str]) -> FloatArray:
        """Mean of the vectors of each text's known tokens; zeros where no token is known."""
        if not batch:
            return np.zeros((0, self.dim), np.float32)
        tokens, offsets = self.known_tokens(batch)
        values = _mean_rows(self.table, tokens, offsets)
        if self.normalize:
            values /= np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-12)
        return values

    def known_tokens(self, texts: Sequence[str]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """The known tokens of all texts, one after the other, and where each text's begin.

        Returns:
            int64 (tokens,), rows of the table; int64 (len(texts) + 1,), offsets into it.
        """
        tokens, offsets = self.words(texts) if self.words is not None else self._whole(texts)
        if self.unknown is None:
            return tokens, offsets
        known = tokens != self.unknown
        return tokens[known], np.concatenate([[0], np.cumsum(known)])[offsets]

    def _whole(self, texts: Sequence[str]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """The tokens of texts that are not cut at spaces first."""
        lists = [it.ids for it in self.tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)]
        offsets = np.concatenate([[0], np.cumsum(np.fromiter(map(len, lists), np.int64, len(lists)))])
        return np.fromiter(chain.from_iterable(lists), np.int64, int(offsets[-1])), offsets


def load_static(folder: Path, max_length: int = 256) -> StaticEncoder:
    """Read a table in the format of model2vec, or one that was tuned: a base beside it and what was added to it.

    Args:
        folder: holds ``config.json``, ``tokenizer.json`` and ``model.safetensors``; or ``base.json`` and
            ``delta.safetensors`` (see :func:`adapt.features.static_delta.write_delta`).
        max_length: tokens of a text that are read.

    Raises:
        CheckpointError: a file is missing, damaged, the table does not fit the tokenizer, or the base is another one.
    """
    delta = read_delta(folder) if is_delta(folder) else None
    base = delta.base if delta else folder
    missing = [name for name in _FILES if not (base / name).is_file()]
    if missing:
        raise CheckpointError(
            f"expected a static encoder in {base}, found no {', '.join(missing)}",
            "Give a folder that model2vec or recipes/distil_static.py has written.",
        )
    settings = read_object(base / "config.json")
    raw_tokenizer = read_object(base / "tokenizer.json")
    weights = list(weights_of_file(base / "model.safetensors"))
    if not {"embeddings"} <= {weight.name for weight in weights} <= _TENSORS:
        raise CheckpointError(
            f"expected the tensors {sorted(_TENSORS)} (the first is required) in {base / 'model.safetensors'}, "
            f"found {sorted(weight.name for weight in weights)}"
        )
    tokenizer = _tokenizer(base / "tokenizer.json", max_length)
    table = _token_table(load_file(base / "model.safetensors"), tokenizer.get_vocab_size(), base)
    if delta:
        weights += weights_of_file(folder / DELTA)
        table = delta.added_to(table)
    normalize = bool(settings.get("normalize", False))
    token = raw_tokenizer.get("model", {}).get("unk_token")
    description = {"tokenizer": _behaviour(raw_tokenizer), "normalize": normalize, "max_length": max_length}
    return StaticEncoder(
        id=content_id("static", weights, description),
        table=table,
        tokenizer=tokenizer,
        words=WordTokens(tokenizer, max_length) if cuts_at_spaces(raw_tokenizer) else None,
        unknown=tokenizer.token_to_id(token) if token else None,
        normalize=normalize,
    )


def _tokenizer(path: Path, max_length: int) -> Tokenizer:
    try:
        tokenizer = Tokenizer.from_file(os.fspath(path))
    except Exception as error:
        raise CheckpointError(f"expected a tokenizer in {path}, found: {error}") from error
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_length)
    return tokenizer


def _token_table(tensors: dict[str, npt.NDArray[Any]], tokens: int, folder: Path) -> FloatArray:
    """float32 (tokens, dim): the embeddings as the tokenizer numbers them, the token weights multiplied in."""
    table = tensors["embeddings"].astype(np.float32)
    mapping, weights = tensors.get("mapping"), tensors.get("weights")
    if mapping is not None and len(mapping) and int(mapping.max()) < len(table):
        table = table[mapping]
    if table.ndim != 2 or len(table) != tokens or (weights is not None and weights.shape != (tokens,)):
        raise CheckpointError(
            f"expected one row of the table for each of the tokenizer's {tokens} tokens, "
            f"found {table.shape} in {folder / 'model.safetensors'}"
        )
    if weights is not None:
        table *= weights.astype(np.float32)[:, None]
    if not np.isfinite(table).all():
        raise CheckpointError(f"expected finite numbers in {folder / 'model.safetensors'}, found NaN or infinity")
    return table


def _mean_rows(table: FloatArray, rows: npt.NDArray[np.int64], offsets: npt.NDArray[np.int64]) -> FloatArray:
    """Mean of the rows of each list, zeros for an empty one: float32 (len(offsets) - 1, dim)."""
    from scipy.sparse import csr_array  # adds the rows of each list in their order, in one pass over the table

    lengths = np.diff(offsets)
    chosen = csr_array((np.ones(len(rows), np.float32), rows, offsets), shape=(len(lengths), len(table)))
    values: FloatArray = chosen @ table
    values /= np.maximum(lengths, 1).astype(np.float32)[:, None]
    return values


def _behaviour(tokenizer: dict[str, Any]) -> dict[str, Any]:
    """The parts of ``tokenizer.json`` that decide the tokens of a text; truncation and padding are set by us."""
    return {key: value for key, value in tokenizer.items() if key not in {"truncation", "padding", "version"}}

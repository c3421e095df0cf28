"""The identity of an encoder: a hash of its weights and its preprocessing, not of where they were found."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from adapt.errors import CheckpointError

_NAMES = {"float64": "F64", "float32": "F32", "float16": "F16", "bfloat16": "BF16", "int64": "I64", "int32": "I32"}
_NAMES |= {"int16": "I16", "int8": "I8", "uint8": "U8", "bool": "BOOL"}
_HEADER_LIMIT = 100_000_000  # the limit of the safetensors library


@dataclass(frozen=True)
class Weight:
    """One tensor as it is hashed: name, safetensors dtype, shape and little-endian bytes."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    data: memoryview


def content_id(kind: str, weights: Iterable[Weight], preprocessing: Mapping[str, Any]) -> str:
    """``kind:`` and 32 hex digits of a SHA-256 over the weights, sorted by name, and the preprocessing.

    >>> content_id("static", [], {"max_length": 8}) == content_id("static", [], {"max_length": 8})
    True
    """
    digest = hashlib.sha256()
    for weight in sorted(weights, key=lambda item: item.name):
        digest.update(json.dumps([weight.name, weight.dtype, list(weight.shape)]).encode())
        digest.update(weight.data)
    digest.update(json.dumps(dict(preprocessing), sort_keys=True, separators=(",", ":")).encode())
    return f"{kind}:{digest.hexdigest()[:32]}"


def weights_of_file(path: Path) -> Iterator[Weight]:
    """The tensors of a safetensors file, memory-mapped: hashing does not load the library that built the model.

    Raises:
        CheckpointError: the file is not a whole safetensors file.
    """
    header, start = read_header(path)
    data = np.memmap(path, dtype=np.uint8, mode="r")
    for name, entry in header.items():
        first, last = entry["data_offsets"]
        yield Weight(name, entry["dtype"], tuple(entry["shape"]), memoryview(data[start + first : start + last].data))


def read_header(path: Path) -> tuple[dict[str, Any], int]:
    """The tensor table of a safetensors file and the offset of its first byte of data.

    Raises:
        CheckpointError: the file is not a whole safetensors file.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as handle:
            (length,) = struct.unpack("<Q", handle.read(8))
            if length > min(_HEADER_LIMIT, size - 8):
                raise ValueError("the header is longer than the file")
            header = json.loads(handle.read(length))
        header.pop("__metadata__", None)
        ends = [entry["data_offsets"][1] for entry in header.values()]
        if max(ends, default=0) != size - 8 - length:
            raise ValueError("the file has been cut or has grown")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, struct.error) as error:
        raise CheckpointError(f"expected a safetensors file, found {path}: {error}", "Fetch the file again.") from error
    return header, 8 + length


def weights_of_state(state: Mapping[str, Any]) -> Iterator[Weight]:
    """The tensors of a torch state dict, named as a safetensors file of it would be."""
    import torch

    for name, tensor in state.items():
        flat = tensor.detach().cpu().contiguous()
        data = flat.reshape(-1).view(torch.uint8).numpy() if flat.numel() else np.zeros(0, np.uint8)
        yield Weight(name, _NAMES[str(flat.dtype).removeprefix("torch.")], tuple(flat.shape), memoryview(data))  # type: ignore[arg-type]

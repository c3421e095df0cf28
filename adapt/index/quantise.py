"""Embeddings in fewer bytes: float16, or int8 with one scale a row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
import torch

from adapt.errors import UsageError
from adapt.index.base import FloatMatrix

Storage = Literal["float32", "float16", "int8"]
STORAGES: tuple[Storage, ...] = get_args(Storage)
_LARGEST = 127


@dataclass(frozen=True, eq=False)
class Encoded:
    """Embeddings as they are stored.

    Attributes:
        values: float32, float16 or int8 (items, dim).
        scales: float32 (items,) what int8 values are multiplied by; None for the other types.
    """

    values: npt.NDArray[Any]
    scales: npt.NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.values)

    @property
    def storage(self) -> Storage:
        """The type of the values."""
        return self.values.dtype.name  # type: ignore[return-value]

    def tensors(self) -> dict[str, npt.NDArray[Any]]:
        """By name, as they are written."""
        return {"embeddings": self.values} | ({} if self.scales is None else {"scales": self.scales})


def encode(embeddings: FloatMatrix, storage: Storage) -> Encoded:
    """Store float32 (items, dim) in another type.

    float16 keeps three decimal digits of each number, int8 two of the largest number of a row.

    Raises:
        UsageError: there is no such type, or a number is too large for float16.

    >>> encode(np.array([[0.5, -1.0]], np.float32), "int8").values
    array([[  64, -127]], dtype=int8)
    """
    if storage not in STORAGES:
        raise UsageError(f"expected storage as {', '.join(STORAGES)}, found {storage!r}")
    if storage == "float32":
        return Encoded(embeddings)
    if storage == "float16":
        if embeddings.size and np.abs(embeddings).max() > np.finfo(np.float16).max:
            raise UsageError("expected embeddings that float16 can hold, found larger ones", "Store them as float32.")
        return Encoded(embeddings.astype(np.float16))
    scales = np.abs(embeddings).max(axis=1, initial=0.0).astype(np.float32) / _LARGEST
    safe = np.where(scales > 0, scales, 1)[:, None]
    return Encoded(np.rint(embeddings / safe).astype(np.int8), scales)


def decode(encoded: Encoded, rows: npt.NDArray[np.int64] | slice = slice(None)) -> FloatMatrix:
    """Float32 (rows, dim) of what :func:`encode` stored; not copied where it is float32 and ``rows`` a slice.

    >>> decode(encode(np.array([[0.5, -1.0]], np.float32), "float16"))
    array([[ 0.5, -1. ]], dtype=float32)
    """
    values = encoded.values[rows]
    if values.dtype == np.float32:
        return values
    decoded: FloatMatrix = torch.from_numpy(np.ascontiguousarray(values)).float().numpy()
    return decoded if encoded.scales is None else decoded * encoded.scales[rows][:, None]

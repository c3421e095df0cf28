"""Item embeddings made searchable: exact below a size threshold, HNSW above it, behind one protocol.

Names are loaded when first used, so that what needs no vectors imports no torch.

>>> import numpy as np
>>> from adapt.index import build_index
>>> index = build_index(["a", "b", "c"], np.eye(3, dtype=np.float32))
>>> found = index.search(np.array([[0.1, 0.9, 0.3]]), k=2)
>>> [index.ids[row] for row in found.rows[0]]
['b', 'c']
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from adapt.index.base import Index as Index
    from adapt.index.base import IndexInfo as IndexInfo
    from adapt.index.base import SearchResult as SearchResult
    from adapt.index.build import build_index as build_index
    from adapt.index.exact import ExactIndex as ExactIndex
    from adapt.index.hnsw import HnswIndex as HnswIndex
    from adapt.index.storage import load_index as load_index
    from adapt.index.storage import save_index as save_index

_HOMES = {
    "ExactIndex": "exact",
    "HnswIndex": "hnsw",
    "Index": "base",
    "IndexInfo": "base",
    "SearchResult": "base",
    "build_index": "build",
    "load_index": "storage",
    "save_index": "storage",
}
__all__ = [  # noqa: PLE0604 - the names of the table above
    *_HOMES,
]


def __getattr__(name: str) -> object:
    if name in _HOMES:
        return getattr(import_module(f"adapt.index.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

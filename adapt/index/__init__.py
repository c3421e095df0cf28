"""Item embeddings made searchable: exact below a size threshold, HNSW above it, behind one protocol.

>>> import numpy as np
>>> index = build_index(["a", "b", "c"], np.eye(3, dtype=np.float32))
>>> found = index.search(np.array([[0.1, 0.9, 0.3]]), k=2)
>>> [index.ids[row] for row in found.rows[0]]
['b', 'c']
"""

from adapt.index.base import Index, IndexInfo, SearchResult
from adapt.index.build import build_index
from adapt.index.exact import ExactIndex
from adapt.index.hnsw import HnswIndex
from adapt.index.storage import load_index, save_index

__all__ = [
    "ExactIndex",
    "HnswIndex",
    "Index",
    "IndexInfo",
    "SearchResult",
    "build_index",
    "load_index",
    "save_index",
]

"""What every index over a :class:`~adapt.index.table.Table` answers alike, however it searches."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy.typing as npt

from adapt.index.base import FloatMatrix
from adapt.index.table import Table


class TabledIndex:
    """Ids and embeddings of an index in memory; see :class:`adapt.index.base.Index`.

    Args:
        ids: distinct, not empty.
        embeddings: float32 (len(ids), dim), finite; copied, unless they are mapped from a file.

    Raises:
        UsageError: shapes do not fit or an id is given twice.
        DataError: an embedding is not finite.
    """

    def __init__(self, ids: Sequence[str], embeddings: npt.ArrayLike) -> None:
        self._table = Table(ids, embeddings)
        self._lock = threading.RLock()

    @property
    def dim(self) -> int:
        """Length of an embedding."""
        return self._table.dim

    @property
    def ids(self) -> tuple[str, ...]:
        """Row -> item id."""
        with self._lock:
            return self._table.ids

    @property
    def embeddings(self) -> FloatMatrix:
        """float32 (items, dim), a read-only view that is valid until the next change."""
        return self._table.embeddings

    def __len__(self) -> int:
        return len(self._table)

    def __contains__(self, item_id: object) -> bool:
        return item_id in self._table

    def row(self, item_id: str) -> int:
        """The row of an item; see :meth:`adapt.index.base.Index.row`."""
        with self._lock:
            return self._table.row(item_id)

    def close(self) -> None:
        """Nothing is held outside this process."""

"""Engines on other machines: the one protocol by which the rows of an index are carried there and searched.

The folder of an index stays its record: embeddings, ids, columns, and which rows count. An engine holds a copy of the
rows to search, under the same row numbers, and can be filled again from the folder at any time.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from adapt.config import config
from adapt.index.base import FloatMatrix, SearchResult
from adapt.index.filters import Condition

EngineName = Literal["milvus"]
_MODULES: Mapping[str, str] = {"milvus": "adapt.index.milvus"}
SPACE = "ip"
NO_COLUMN = ""
_FIRST_BREADTH = {"HNSW": 200, "DISKANN": 100, "FLAT": 0}


@config
class RemoteSettings:
    """Where an engine is and what is asked of it; nothing secret.

    Attributes:
        engine: which.
        uri: of the server, or of an embedded file; without credentials.
        collection: the name that always leads to the rows that count; see :mod:`adapt.index.carry`.
        database: on the server; empty = the default one.
        token_env: the environment variable that holds the token or ``user:password``.
        index: HNSW in memory, DISKANN on the server's disks, FLAT exactly.
        m, ef_construction: of an HNSW graph.
        consistency: how recent what a search sees must be; ``Strong`` = every write that was answered before.
        timeout: seconds for a request with all its repetitions.
        ca: file with the certificates to trust; empty = those of the system.
        cert, key: files of the client's own certificate, where the server asks for one.
        server_name: expected in the server's certificate, where it differs from the host of ``uri``.
    """

    uri: str
    engine: EngineName = "milvus"
    collection: str = ""
    database: str = ""
    token_env: str = "ADAPT_MILVUS_TOKEN"
    index: Literal["HNSW", "DISKANN", "FLAT"] = "HNSW"
    m: int = 16
    ef_construction: int = 200
    consistency: Literal["Strong", "Session", "Bounded", "Eventually"] = "Strong"
    timeout: float = 30.0
    ca: str = ""
    cert: str = ""
    key: str = ""
    server_name: str = ""

    @property
    def first_breadth(self) -> int:
        """The breadth of search before it is chosen; 0 where there is none."""
        return _FIRST_BREADTH[self.index]


@config
class RemoteEntry:
    """What ``index.json`` says of the engine that searches.

    Attributes:
        settings: where it is.
        name: of the collection that holds the rows of this generation.
        owner: of the folder that made it; only what has the same owner is ever removed.
        columns: by number in the collection; an empty name stands for one that can no longer be asked for there.
        breadth: of a search for lists of up to ``CALIBRATION_K``: HNSW's ef, DiskANN's search list; 0 = not asked.
    """

    settings: RemoteSettings
    name: str
    owner: str
    columns: tuple[str, ...] = ()
    breadth: int = 0

    def searching(self, breadth: int | None) -> RemoteEntry:
        """The same with the breadth of search that was chosen; None or an exact search keeps the one that it has."""
        return replace(self, breadth=breadth) if breadth and self.settings.index != "FLAT" else self


@dataclass(frozen=True)
class Identity:
    """What a collection says of itself.

    Attributes:
        fingerprint: of the model whose embeddings it holds.
        dim: of an embedding.
        owner: of the folder that made it.
        lineage: the numbering of its rows.
        format_version: of the index.
        space: of its scores.
    """

    fingerprint: str
    dim: int
    owner: str
    lineage: str
    format_version: int
    space: str = SPACE


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows to store, under their numbers.

    Attributes:
        first: number of the first; the others follow.
        ids: of the items.
        vectors: float32 (rows, dim).
        columns: name -> cells as text.
    """

    first: int
    ids: Sequence[str]
    vectors: FloatMatrix
    columns: Mapping[str, Sequence[str]] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, eq=False)
class Wanted:
    """Which rows a search may find; all that is given must hold.

    Attributes:
        where: conditions on columns that the collection can be asked for.
        only: int64 rows; None = any.
        below: rows from here on are of a change that does not count yet; None = they need not be kept out.
    """

    where: tuple[Condition, ...] = ()
    only: npt.NDArray[np.int64] | None = None
    below: int | None = None


class Collection(Protocol):
    """Rows in an engine. Every write may be repeated: a row that is there is replaced, one that is gone stays so."""

    most: int
    """The longest list that a search gives."""

    def put(self, rows: Rows) -> None:
        """Store rows; those that are there are replaced. They can be searched when the call returns."""
        ...

    def delete(self, rows: npt.NDArray[np.int64]) -> None:
        """Remove rows."""
        ...

    def delete_from(self, first: int) -> None:
        """Remove every row from a number on."""
        ...

    def search(self, queries: FloatMatrix, k: int, wanted: Wanted, breadth: int) -> SearchResult:
        """The rows with the largest inner products, by (-score, row), -1 where there are no more."""
        ...

    def count(self, wanted: Wanted) -> int:
        """How many rows are wanted."""
        ...

    def stored(self, rows: npt.NDArray[np.int64]) -> tuple[list[str], FloatMatrix]:
        """Ids and vectors of some rows, in their order.

        Raises:
            EngineError: one of them is not there.
        """
        ...

    def settle(self) -> None:
        """Wait until everything stored is in the search structure that was asked for."""
        ...


class Server(Protocol):
    """An engine that is connected when it is first asked."""

    def create(self, name: str, identity: Identity, columns: Sequence[str]) -> Collection:
        """A new, empty collection.

        Args:
            name: that no other has.
            identity: what it will say of itself.
            columns: that rows can be filtered by, by number.
        """
        ...

    def open(self, name: str, identity: Identity, columns: Sequence[str]) -> Collection:
        """A collection that is there.

        Raises:
            EngineError: it is not there, or says something else of itself; both are said.
        """
        ...

    def names(self) -> list[str]:
        """Every collection whose name begins with the lasting name and ``_``."""
        ...

    def owned(self, owner: str) -> list[str]:
        """The collections that a folder made."""
        ...

    def drop(self, name: str) -> None:
        """Remove a collection; one that is gone already is no error."""
        ...

    def publish(self, name: str, owner: str, known: Sequence[str]) -> None:
        """Have the collection's lasting name lead to ``name``, in one step.

        Args:
            name: a collection.
            owner: who publishes.
            known: collections that the lasting name may have led to before, beside those of the owner.

        Raises:
            EngineError: the lasting name belongs to somebody else.
        """
        ...

    def free(self, owner: str, known: Sequence[str]) -> str | None:
        """The collection that the lasting name leads to; None where it leads nowhere yet; see :meth:`publish`.

        Raises:
            EngineError: the lasting name belongs to somebody else.
        """
        ...

    def state(self) -> str:
        """The server and its version, for people."""
        ...

    def filterable(self, condition: Condition, columns: Sequence[str]) -> bool:
        """Whether a condition can be part of :class:`Wanted`, for a collection with these columns."""
        ...

    def columns_of(self, columns: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
        """The columns that a new collection for such cells will have."""
        ...

    def columns_left(self, known: Sequence[str], columns: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
        """``known``, with an empty name for each whose new cells cannot be stored."""
        ...


def connect(settings: RemoteSettings) -> Server:
    """The server of settings; nothing is asked of it yet.

    Raises:
        UsageError: a setting does not fit.
        MissingExtraError: its client is not installed.
    """
    server: Server = importlib.import_module(_MODULES[settings.engine]).connect(settings)
    return server

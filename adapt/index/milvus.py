"""Milvus as an engine: a collection of rows, searched by inner product, with columns to filter by.

A collection is made once for a numbering of rows; its name is never used again. The lasting name that the user chose is
an alias, which is switched when the rows behind it count.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt

from adapt.errors import EngineError, UsageError
from adapt.index.base import FloatMatrix, SearchResult, empty_result
from adapt.index.engine import NO_COLUMN, Identity, RemoteSettings, Rows, Wanted
from adapt.index.filters import Condition, number_in
from adapt.index.milvus_client import Connection, MissingCollectionError
from adapt.index.milvus_filters import (
    ITEM,
    LONGEST_CELL,
    ROW,
    VECTOR,
    expressible,
    expression,
    fields,
    number,
    storable,
)

MOST_COLUMNS = 20  # Milvus takes 64 fields: three a column, and those of every row
_LONGEST_ID = 65_535
_LONGEST_LIST = 16_384
_MOST_HITS = 200_000  # of one answer, which may not be larger than a message
_BATCH_BYTES = 8 << 20
_MOST_ROWS = 4_096  # of one request that names them
_BREADTH = {"HNSW": "ef", "DISKANN": "search_list"}
_STALLED = 10
"""Times the timeout after which an index that does not grow counts as stuck."""
_POLL = 0.2
_LONG = 600.0  # seconds for what takes as long as there are rows
_PROPERTY = "adapt.identity"
_LOOKING = "looking at collections"


class MilvusCollection:
    """Rows in a collection; see :class:`adapt.index.engine.Collection`.

    Args:
        connection: to the server.
        name: of the collection.
        columns: by number, those that rows are filtered by.
    """

    most = _LONGEST_LIST

    def __init__(self, connection: Connection, name: str, columns: Sequence[str]) -> None:
        self._connection = connection
        self.name = name
        self.columns = tuple(columns)

    def put(self, rows: Rows) -> None:
        size = 4 * rows.vectors.shape[1] + 200 * (1 + len(self.columns))
        step = max(1, min(_MOST_ROWS, _BATCH_BYTES // size))
        for start in range(0, len(rows.ids), step):
            batch = list(_entities(rows, self.columns, start, min(start + step, len(rows.ids))))
            self._ask("adding rows", "upsert", batch)

    def delete(self, rows: npt.NDArray[np.int64]) -> None:
        for start in range(0, len(rows), _MOST_ROWS):
            self._ask("removing rows", "delete", ids=rows[start : start + _MOST_ROWS].tolist())

    def delete_from(self, first: int) -> None:
        self._ask("removing rows", "delete", filter=f"{ROW} >= {first}")

    def search(self, queries: FloatMatrix, k: int, wanted: Wanted, breadth: int) -> SearchResult:
        result = empty_result(len(queries), k)
        length = min(k, _LONGEST_LIST)
        named = _BREADTH.get(self._connection.settings.index)
        inside = {named: max(breadth, length)} if named and breadth else {}
        step = max(1, min(_MOST_ROWS, _MOST_HITS // length))
        for start in range(0, len(queries), step):
            found = self._ask(
                "searching",
                "search",
                data=queries[start : start + step],
                anns_field=VECTOR,
                limit=length,
                filter=expression(wanted, self.columns),
                output_fields=[ROW],
                search_params={"metric_type": "IP", "params": inside},
            )
            for place, hits in enumerate(found, start):
                rows, scores = np.array(hits.ids, np.int64), np.array(hits.distances, np.float32)
                order = np.lexsort((rows, -scores))[:k]
                result.rows[place, : len(order)] = rows[order]
                result.scores[place, : len(order)] = scores[order]
        return result

    def count(self, wanted: Wanted) -> int:
        asked = expression(wanted, self.columns)
        return int(self._ask("counting rows", "query", filter=asked, output_fields=["count(*)"])[0]["count(*)"])

    def stored(self, rows: npt.NDArray[np.int64]) -> tuple[list[str], FloatMatrix]:
        found: dict[int, Any] = {}
        for start in range(0, len(rows), _MOST_ROWS):
            some = rows[start : start + _MOST_ROWS].tolist()
            answer = self._ask("reading rows", "get", ids=some, output_fields=[ROW, ITEM, VECTOR])
            found |= {int(entity[ROW]): entity for entity in answer}
        lost = [row for row in rows.tolist() if row not in found]
        if lost:
            raise EngineError(
                f"expected row {lost[0]} in the collection {self.name}, found {len(lost)} of {len(rows)} rows missing",
                "`adapt index compact` carries all rows there again.",
            )
        entities = [found[row] for row in rows.tolist()]
        vectors = np.array([entity[VECTOR] for entity in entities], np.float32).reshape(len(rows), -1)
        return [entity[ITEM] for entity in entities], vectors

    def settle(self) -> None:
        self._ask("storing rows", "flush", timeout=_LONG)
        done, since = 0, time.monotonic()
        while True:
            found = self._ask("indexing rows", "describe_index", VECTOR)
            if (indexed := int(found.get("indexed_rows", 0))) > done:
                done, since = indexed, time.monotonic()
            if not int(found.get("pending_index_rows", 0)):
                break
            if time.monotonic() - since > max(_LONG, _STALLED * self._connection.settings.timeout):
                raise EngineError(
                    f"expected Milvus to index {found.get('total_rows')} rows of {self.name}, found {done} and no "
                    f"progress for {time.monotonic() - since:.0f} s",
                    "Look at the index nodes of the server, then do the same again.",
                )
            time.sleep(_POLL)
        self._ask("loading rows", "load_collection", timeout=_LONG)

    def _ask(self, what: str, method: str, *arguments: Any, **named: Any) -> Any:
        try:
            return self._connection.ask(what, method, self.name, *arguments, **named)
        except MissingCollectionError as error:
            raise missing(self._connection.settings.uri, self.name) from error


class MilvusServer:
    """A server with its collections; see :class:`adapt.index.engine.Server`.

    Args:
        settings: of the server.
    """

    def __init__(self, settings: RemoteSettings) -> None:
        self.settings = settings
        self._connection = Connection(settings)

    def create(self, name: str, identity: Identity, columns: Sequence[str]) -> MilvusCollection:
        settings = self.settings
        said = json.dumps(asdict(identity), sort_keys=True)
        what = f"making a collection with the index {settings.index}"
        if settings.index == "DISKANN" and "lite" in self.state():
            raise UsageError(
                f"expected an index that Milvus Lite has, found {settings.index}",
                "Use --engine-option index=HNSW or index=FLAT there; DISKANN is for a Milvus server.",
            )
        if not self._connection.ask(what, "has_collection", name):  # it is there where an answer was lost
            schema, index = _schema(settings, said, identity.dim, len(columns))
            self._connection.ask(
                what,
                "create_collection",
                name,
                schema=schema,
                index_params=index,
                consistency_level=settings.consistency,
                properties={_PROPERTY: said},
                timeout=_LONG,
            )
        return MilvusCollection(self._connection, name, columns)

    def open(self, name: str, identity: Identity, columns: Sequence[str]) -> MilvusCollection:
        found = self._identity(name)
        if found is None:
            raise EngineError(
                f"expected the collection {name} to say what it holds, found one that was not made by this package",
                "Choose another --collection.",
            )
        if found.get("fingerprint") != identity.fingerprint:
            raise EngineError(
                f"expected a collection of the checkpoint {identity.fingerprint}, found one of "
                f"{found.get('fingerprint')} in {name}",
                "Use the index that the collection was made from; `adapt index compact` carries this one there anew.",
            )
        for what in ("dim", "space", "format_version", "lineage"):
            if found.get(what) != getattr(identity, what):
                raise EngineError(
                    f"expected the collection {name} with {what} {getattr(identity, what)!r}, "
                    f"found {found.get(what)!r}",
                    "`adapt index compact` carries the index there anew.",
                )
        self._connection.ask("loading rows", "load_collection", name, timeout=_LONG)  # nothing where they are loaded
        return MilvusCollection(self._connection, name, columns)

    def names(self) -> list[str]:
        names = self._connection.ask(_LOOKING, "list_collections")
        return [name for name in names if name.startswith(f"{self.settings.collection}_")]

    def owned(self, owner: str) -> list[str]:
        return [name for name in self.names() if (self._identity(name) or {}).get("owner") == owner]

    def drop(self, name: str) -> None:
        what = "removing a collection"
        if self._connection.ask(what, "has_collection", name):
            for alias in self._connection.ask(what, "list_aliases", name).get("aliases", ()):
                self._connection.ask(what, "drop_alias", alias)
            self._connection.ask(what, "drop_collection", name)

    def publish(self, name: str, owner: str, known: Sequence[str]) -> None:
        before = self.free(owner, known)
        if before != name:
            method = "create_alias" if before is None else "alter_alias"
            self._connection.ask("switching the collection's name", method, name, self.settings.collection)

    def free(self, owner: str, known: Sequence[str]) -> str | None:
        before = self._led_to(self.settings.collection)
        if before is None or before in known or (self._identity(before) or {}).get("owner") == owner:
            return before
        alias = self.settings.collection
        whose = "a collection of that name" if before == alias else "another index under that name"
        raise EngineError(
            f"expected the collection name {alias} to be free or this index's at {self.settings.uri}, found {whose}",
            "Choose another one with --collection.",
        )

    def state(self) -> str:
        return str(self._connection.ask("asking for its version", "get_server_version"))

    def filterable(self, condition: Condition, columns: Sequence[str]) -> bool:
        return expressible(condition, columns)

    def columns_of(self, columns: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
        return tuple(name for name, cells in columns.items() if all(map(storable, cells)))[:MOST_COLUMNS]

    def columns_left(self, known: Sequence[str], columns: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
        return tuple(name if all(map(storable, columns.get(name, ()))) else NO_COLUMN for name in known)

    def _led_to(self, alias: str) -> str | None:
        """The collection behind a name; itself where it is a collection; None where there is neither."""
        if alias in self._connection.ask(_LOOKING, "list_collections"):
            return alias
        if not self._connection.ask(_LOOKING, "has_collection", alias):
            return None
        return str(self._connection.ask(_LOOKING, "describe_alias", alias)["collection_name"])

    def _identity(self, name: str) -> dict[str, Any] | None:
        """What a collection says of itself; None where that is nothing of ours.

        Raises:
            EngineError: there is no such collection.
        """
        try:
            described = self._connection.ask(_LOOKING, "describe_collection", name)
        except MissingCollectionError as error:
            raise missing(self.settings.uri, name) from error
        # Servers have kept one or the other.
        for text in (described.get("properties", {}).get(_PROPERTY), described.get("description")):
            try:
                found = json.loads(text or "")
            except ValueError:
                continue
            if isinstance(found, dict) and "fingerprint" in found:
                return found
        return None


def connect(settings: RemoteSettings) -> MilvusServer:
    """A server of Milvus, or a file of Milvus Lite; it is connected when it is first asked.

    Raises:
        UsageError: a setting does not fit.
    """
    return MilvusServer(settings)


def _schema(settings: RemoteSettings, said: str, dim: int, columns: int) -> tuple[Any, Any]:
    """The fields of a collection and the index over its vectors, as the client takes them."""
    from pymilvus import DataType, MilvusClient

    schema = MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False, description=said)
    schema.add_field(ROW, DataType.INT64, is_primary=True)
    schema.add_field(ITEM, DataType.VARCHAR, max_length=_LONGEST_ID)
    schema.add_field(VECTOR, DataType.FLOAT_VECTOR, dim=dim)
    for column in range(columns):
        cell, folded, numeric = fields(column)
        schema.add_field(cell, DataType.VARCHAR, max_length=LONGEST_CELL)
        schema.add_field(folded, DataType.VARCHAR, max_length=LONGEST_CELL)
        schema.add_field(numeric, DataType.DOUBLE, nullable=True)
    index = MilvusClient.prepare_index_params()
    built = {"M": settings.m, "efConstruction": settings.ef_construction} if settings.index == "HNSW" else {}
    index.add_index(VECTOR, index_type=settings.index, metric_type="IP", params=built)
    return schema, index


def missing(uri: str, name: str) -> EngineError:
    """The error of a collection that is not there."""
    return MissingCollectionError(
        f"expected the collection {name} at {uri}, found none",
        "The folder still holds the index: `adapt index compact` carries it there again.",
    )


def _entities(rows: Rows, columns: Sequence[str], start: int, stop: int) -> Iterator[dict[str, Any]]:
    """Rows as the client takes them."""
    for place in range(start, stop):
        entity = {ROW: rows.first + place, ITEM: rows.ids[place], VECTOR: rows.vectors[place]}
        for column, name in enumerate(columns):
            cells = rows.columns.get(name) if name != NO_COLUMN else None
            text = cells[place] if cells is not None else ""
            cell, folded, numeric = fields(column)
            entity |= {cell: text, folded: text.casefold(), numeric: number(number_in(text))}
        yield entity

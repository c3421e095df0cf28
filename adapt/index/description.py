"""What ``index.json`` of a generation holds."""

from __future__ import annotations

import uuid
from dataclasses import field
from typing import Any, Literal

from adapt.config import config, parse, to_dict
from adapt.errors import CheckpointError
from adapt.index.base import IndexInfo
from adapt.index.engine import RemoteEntry
from adapt.index.generations import DESCRIPTION, FORMAT_VERSION, Part
from adapt.index.quantise import Storage
from adapt.index.sealed import REBUILD, SealedFolder


@config
class PartEntry:
    """A part that the generation needs.

    Attributes:
        name, sha256: of the part.
        role: ``"items"`` or ``"model"`` (the frozen normalisation).
        rows: items that it holds, deleted ones too.
    """

    name: str
    sha256: str
    role: Literal["items", "model"] = "items"
    rows: int = 0

    @property
    def part(self) -> Part:
        """Where it is."""
        return Part(self.name, self.sha256)


@config
class GraphEntry:
    """How the graph is built and searched, and how many of the first rows are in it."""

    m: int
    ef_construction: int
    ef: int
    seed: int
    threads: int
    exact_below: int
    rows: int


@config
class RecallEntry:
    """What was measured, on queries that took no part in choosing ``ef``.

    Attributes:
        ef: breadth of search of the graph; 0 where there is none.
        recall: the share of the true neighbours by float32 embeddings that a search finds.
        target: the share that ``ef`` was chosen for.
        queries: how many.
        k: length of the lists.
        changes: items added, replaced or removed since.
        count: items in the index at the time.
        storage: the share of the true neighbours by float32 that the stored embeddings find when searched exactly.
    """

    ef: int
    recall: float
    target: float
    queries: int
    k: int
    changes: int = 0
    count: int = 0
    storage: float = 1.0


@config
class ModelEntry:
    """The model whose embeddings these are.

    Attributes:
        fingerprint: of everything that embeds.
        name: for people.
        reference: where it was read from: a checkpoint's reference, or the folder of a run.
        kind: what ``reference`` names; empty = it is not known.
        given: modality -> width of features that the items come with, which no encoder makes.
    """

    fingerprint: str
    name: str = ""
    reference: str = ""
    kind: Literal["checkpoint", "run", ""] = ""
    given: dict[str, int] = field(default_factory=dict)


@config
class Description:
    """The content of ``index.json``.

    Attributes:
        kind: how it is searched.
        choice: how the kind is chosen: by size, or always the one.
        count: items that can be found.
        rows: items that are stored, deleted ones too.
        dim: length of an embedding.
        threshold: items from which on ``"auto"`` is HNSW.
        target, seed, threads: what is asked of a graph; see :class:`adapt.index.calibrate.SearchChoice`.
        storage: type of the stored embeddings.
        lineage: changes when rows are numbered anew.
        model: whose they are.
        parts: in the order of their rows.
        remote: the engine that searches, where it is not this machine.
        text_template: columns that make up the text of an item, in order.
    """

    format_version: int
    kind: Literal["exact", "hnsw", "milvus"]
    count: int
    rows: int
    dim: int
    model: ModelEntry
    parts: tuple[PartEntry, ...]
    space: Literal["ip"] = "ip"
    choice: Literal["auto", "exact", "hnsw"] = "auto"
    threshold: int = 0
    target: float = 0.99
    seed: int = 0
    threads: int = 1
    storage: Storage = "float32"
    lineage: str = ""
    text_template: tuple[str, ...] = ()
    graph: GraphEntry | None = None
    recall: RecallEntry | None = None
    remote: RemoteEntry | None = None

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return to_dict(self)


def info_of(described: Description) -> IndexInfo:
    """Kind, size and the recall that was measured."""
    graph, recall, remote = described.graph, described.recall, described.remote
    settings = graph if graph is not None else remote.settings if remote is not None else None
    return IndexInfo(
        kind=described.kind,
        count=described.count,
        dim=described.dim,
        ef=graph.ef if graph else remote.breadth or None if remote else None,
        m=settings.m if settings else None,
        ef_construction=settings.ef_construction if settings else None,
        recall_target=recall.target if recall else None,
        recall_measured=recall.recall if recall else None,
        recall_queries=recall.queries if recall else None,
        recall_k=recall.k if recall else None,
        changes=recall.changes if recall else 0,
        threads=graph.threads if graph else 1,
    )


def new_lineage() -> str:
    """A name for a numbering of rows that no other has."""
    return uuid.uuid4().hex


def read_description(folder: SealedFolder) -> Description:
    """Read and check ``index.json``.

    Raises:
        CheckpointError: it is damaged, of another format, or contradicts itself.
    """
    value = folder.json(DESCRIPTION)
    version = value.get("format_version") if isinstance(value, dict) else None
    if version != FORMAT_VERSION:
        raise CheckpointError(
            f"expected index format {FORMAT_VERSION}, found {version!r} in {folder.path}",
            "Upgrade the package, or build the index again with this version.",
        )
    found = parse(Description, value, str(folder.path / DESCRIPTION), CheckpointError)
    if (found.kind == "hnsw") != (found.graph is not None):
        raise CheckpointError(f"expected graph settings for an HNSW index and only there, in {folder.path}", REBUILD)
    engine = found.remote.settings.engine if found.remote is not None else None
    if engine != (found.kind if found.kind not in ("exact", "hnsw") else None):
        raise CheckpointError(f"expected kind and engine to agree, found {found.kind} and {engine}", REBUILD)
    rows = sum(part.rows for part in found.parts if part.role == "items")
    if rows != found.rows or not 0 <= found.count <= rows or found.dim < 1:
        raise CheckpointError(
            f"expected parts of {found.rows} rows of which {found.count} count, found {rows} in {folder.path}", REBUILD
        )
    if found.graph is not None and not 0 <= found.graph.rows <= rows:
        raise CheckpointError(f"expected a graph of at most {rows} rows, found {found.graph.rows}", REBUILD)
    return found

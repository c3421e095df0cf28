"""An index on disk: a folder of safetensors and JSON that is checked byte for byte before it is used.

The folder is laid out as in :mod:`adapt.index.generations` and may be given to anyone; :mod:`adapt.index.graphs` says
what is not in it. :func:`save_index` and :func:`load_index` carry one index between memory and disk;
:class:`adapt.index.snapshot.Snapshot` searches the folder where it lies.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np

from adapt.errors import CheckpointError, DataError, UsageError
from adapt.index.base import FloatMatrix, Index
from adapt.index.calibrate import Choice, Measured
from adapt.index.description import Description, GraphEntry, ModelEntry, RecallEntry, new_lineage, read_description
from adapt.index.exact import ExactIndex
from adapt.index.generations import FORMAT_VERSION, Generations
from adapt.index.graph import HnswSettings
from adapt.index.graphs import graph_key, keep_graph, kept_graph
from adapt.index.hnsw import HnswIndex
from adapt.index.quantise import Encoded, decode
from adapt.index.recall import Calibration
from adapt.index.remote_index import RemoteIndex
from adapt.index.sealed import REBUILD, SealedFolder, write_tensors
from adapt.index.segments import Items, Segment, open_segment, write_items
from adapt.progress import SILENT, Progress

DELETED = "deleted.safetensors"


def save_index(index: Index, folder: str | Path, model_fingerprint: str, *, progress: Progress = SILENT) -> None:
    """Write an index as a folder, whole or not at all; an index that is already there is replaced.

    Args:
        index: of any kind; one in an engine is carried there again when it is loaded.
        folder: new, empty, or holding an index.
        model_fingerprint: identity of the checkpoint (and adapter) that made the embeddings.
        progress: told where a graph could not be kept in the cache.

    Raises:
        OutputError: the folder holds something else or cannot be written.
        UsageError: another process is changing the index.
    """
    stored = Encoded(np.ascontiguousarray(index.embeddings))
    graph = remote = None
    choice: Choice = "auto"
    if isinstance(index, HnswIndex):
        graph, choice = GraphEntry(**asdict(index.settings), rows=len(index)), "hnsw"
    elif isinstance(index, RemoteIndex):
        remote = index.saved
    else:
        choice = "exact"
    with Generations(folder).writing() as writer:
        part = write_items(writer, Items(index.ids, stored))
        description = Description(
            format_version=FORMAT_VERSION,
            kind=index.kind,
            choice=choice,
            count=len(index),
            rows=len(index),
            dim=index.dim,
            lineage=new_lineage(),
            model=ModelEntry(fingerprint=model_fingerprint),
            parts=(part,),
            graph=graph,
            recall=_recall_of(index),
            remote=remote,
        )
        writer.commit(description.to_dict(), lambda path: write_deleted(path, np.zeros(0, np.int64)))
    if isinstance(index, HnswIndex):
        keep_graph(graph_key([stored], len(index), index.settings), index.write_graph, progress)


def load_index(folder: str | Path, model_fingerprint: str, *, progress: Progress = SILENT) -> Index:
    """Read the index of a folder into memory, as :func:`save_index` or ``adapt index`` wrote it, here or elsewhere.

    Args:
        folder: the index.
        model_fingerprint: of the checkpoint that will make the queries.
        progress: told where a graph is rebuilt, and its items.

    Returns:
        The index, searching as it did when it was saved.

    Raises:
        CheckpointError: it is not an index, a byte differs from what was written, the parts do not fit each other, or
            it belongs to another checkpoint.
    """
    where = Generations(folder)
    held = where.hold()
    try:
        description = read_description(held.folder)
        check_fingerprint(description, model_fingerprint)
        segments = [
            open_segment(where, entry, description.dim, description.storage)
            for entry in description.parts
            if entry.role == "items"
        ]
        alive = alive_rows(held.folder, description)
        ids = [item_id for segment in segments for item_id in segment.ids]
        matrix = _matrix(segments, description.dim)[alive]
        try:
            return _index([ids[row] for row in alive], matrix, description, progress)
        except (UsageError, DataError) as error:
            raise CheckpointError(
                f"the parts of the index {folder} do not fit each other: {error.message}", REBUILD
            ) from error
    finally:
        held.release()


def check_fingerprint(description: Description, expected: str) -> None:
    """Make sure that an index belongs to a model.

    Raises:
        CheckpointError: it belongs to another one; says both fingerprints.
    """
    if description.model.fingerprint != expected:
        named = f" ({description.model.name})" if description.model.name else ""
        raise CheckpointError(
            f"expected an index of the checkpoint {expected}, found one of {description.model.fingerprint}{named}",
            "Use the checkpoint that the index was built with, or build the index again.",
        )


def alive_rows(folder: SealedFolder, description: Description) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """The rows that were not deleted, ascending: int64 (count,).

    Raises:
        CheckpointError: what was deleted does not fit the description.
    """
    alive = np.ones(description.rows, bool)
    alive[deleted_rows(folder, description)] = False
    rows = np.flatnonzero(alive)
    if len(rows) != description.count:
        raise CheckpointError(f"expected {description.count} items in {folder.path}, found {len(rows)}", REBUILD)
    return rows


def deleted_rows(folder: SealedFolder, description: Description) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """The rows that were deleted, ascending: int64.

    Raises:
        CheckpointError: they do not fit the description.
    """
    deleted = folder.tensors(DELETED).get("rows")
    if deleted is None or deleted.dtype != np.int64 or (len(deleted) and not _within(deleted, description.rows)):
        raise CheckpointError(f"expected rows below {description.rows} in {folder.path / DELETED}", REBUILD)
    return deleted


def write_deleted(folder: Path, rows: np.ndarray[tuple[int], np.dtype[np.int64]]) -> None:
    """Write which rows were deleted, beside ``index.json``."""
    write_tensors(folder / DELETED, {"rows": rows.astype(np.int64)})


def _index(ids: list[str], matrix: FloatMatrix, description: Description, progress: Progress) -> Index:
    if description.remote is not None:
        elsewhere = RemoteIndex(ids, matrix, description.remote.settings, description.model.fingerprint, progress)
        elsewhere.adopt(Measured(description.kind, None, description.recall))
        return elsewhere
    if description.graph is None:
        return ExactIndex(ids, matrix)
    values = asdict(description.graph)
    values.pop("rows")
    settings = HnswSettings(**values)
    found = kept_graph(graph_key([Encoded(matrix)], len(matrix), settings))
    index = HnswIndex.from_graph(ids, matrix, settings, *found) if found is not None else None
    if index is None:
        progress.note("No graph of this index in the cache: building it from the embeddings.")
        index = HnswIndex(ids, matrix, settings, progress)
    if (recall := description.recall) is not None:
        measured = Calibration(recall.ef, recall.recall, recall.target, recall.queries, recall.k)
        index.adopt(measured, recall.changes)
    return index


def _matrix(segments: list[Segment], dim: int) -> FloatMatrix:
    return np.concatenate([np.zeros((0, dim), np.float32), *(decode(segment.embeddings) for segment in segments)])


def _within(rows: np.ndarray[tuple[int], np.dtype[np.int64]], count: int) -> bool:
    return bool(rows.min() >= 0 and rows.max() < count and (np.diff(rows) > 0).all())


def _recall_of(index: Index) -> RecallEntry | None:
    info = index.info()
    if info.recall_measured is None or info.recall_target is None:
        return None
    return RecallEntry(
        ef=info.ef or 0,
        recall=info.recall_measured,
        target=info.recall_target,
        queries=info.recall_queries or 0,
        k=info.recall_k or 0,
        changes=info.changes,
        count=len(index),
    )

"""An index on disk: a folder of safetensors and JSON that is checked byte for byte before it is used.

The folder holds ``embeddings.safetensors``, ``ids.json``, ``index.json`` and ``SHA256SUMS``, and may be given to
anyone. hnswlib's own graph file is never part of it, because hnswlib trusts every number in such a file: graphs lie in
this machine's cache, under the hash of the embeddings and settings that they were built from, and are opened only when
their hash is the one written beside them there. Without one the graph is rebuilt.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from adapt.config import config, parse
from adapt.errors import CheckpointError, DataError, OutputError, UsageError
from adapt.files import atomic_folder, cache_dir, output_errors, sha256_bytes, sha256_file, write_json
from adapt.index.base import FloatMatrix, Index
from adapt.index.exact import ExactIndex
from adapt.index.graph import HnswSettings
from adapt.index.hnsw import HnswIndex
from adapt.index.recall import Calibration
from adapt.progress import SILENT, Progress

FORMAT_VERSION = 1
EMBEDDINGS, IDS, DESCRIPTION, SUMS = "embeddings.safetensors", "ids.json", "index.json", "SHA256SUMS"
_FILES = (EMBEDDINGS, IDS, DESCRIPTION)
_GRAPH, _LABELS = "graph.hnsw", "labels.safetensors"
_REBUILD = "Build the index again from its checkpoint and data set."


@config
class _Graph:
    """The settings of a graph as ``index.json`` holds them."""

    m: int
    ef_construction: int
    ef: int
    seed: int
    threads: int
    exact_below: int


@config
class _Recall:
    """The calibration as ``index.json`` holds it."""

    ef: int
    recall: float
    target: float
    queries: int
    k: int
    changes: int


@config
class _Description:
    """The content of ``index.json``."""

    format_version: int
    kind: Literal["exact", "hnsw"]
    space: Literal["ip"]
    count: int
    dim: int
    model_fingerprint: str
    graph: _Graph | None = None
    recall: _Recall | None = None


def save_index(index: Index, folder: str | Path, model_fingerprint: str, *, progress: Progress = SILENT) -> None:
    """Write an index as a folder, whole or not at all; an index that is already there is replaced.

    Args:
        index: exact or HNSW.
        folder: new, empty, or holding an index.
        model_fingerprint: identity of the checkpoint (and adapter) that made the embeddings.
        progress: told where a graph could not be kept in the cache.

    Raises:
        OutputError: the folder holds something else or cannot be written.
    """
    folder = Path(folder)
    description: dict[str, Any] = {
        "format_version": FORMAT_VERSION,
        "kind": index.kind,
        "space": "ip",
        "count": len(index),
        "dim": index.dim,
        "model_fingerprint": model_fingerprint,
    }
    if isinstance(index, HnswIndex):
        description["graph"] = asdict(index.settings)
        description["recall"] = _recall_of(index)
    with atomic_folder(folder, replace=(folder / DESCRIPTION).is_file()) as temporary:
        with output_errors(folder / EMBEDDINGS):
            save_file({"embeddings": np.ascontiguousarray(index.embeddings)}, temporary / EMBEDDINGS)
        write_json(temporary / IDS, list(index.ids))
        write_json(temporary / DESCRIPTION, description)
        _write_sums(temporary, _FILES)
        key = _cache_key(temporary, index.settings) if isinstance(index, HnswIndex) else ""
    if isinstance(index, HnswIndex):
        _keep_graph(index, key, progress)


def load_index(folder: str | Path, model_fingerprint: str, *, progress: Progress = SILENT) -> Index:
    """Read a folder that :func:`save_index` wrote, here or elsewhere.

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
    folder = Path(folder)
    _check_sums(folder, _FILES)
    description = parse(_Description, _read_json(folder / DESCRIPTION), str(folder / DESCRIPTION), CheckpointError)
    if description.format_version != FORMAT_VERSION:
        raise CheckpointError(
            f"expected index format {FORMAT_VERSION}, found {description.format_version} in {folder}",
            "Upgrade the package, or build the index again with this version.",
        )
    if description.model_fingerprint != model_fingerprint:
        raise CheckpointError(
            f"expected an index of the checkpoint {model_fingerprint}, found one of {description.model_fingerprint}",
            "Use the checkpoint that the index was built with, or build the index again.",
        )
    if (description.kind == "hnsw") != (description.graph is not None):
        raise CheckpointError(f"expected graph settings for an HNSW index and only there, in {folder}", _REBUILD)
    embeddings = _read_embeddings(folder, description)
    ids = _read_ids(folder, description.count)
    try:
        if description.graph is None:
            return ExactIndex(ids, embeddings)
        settings = HnswSettings(**asdict(description.graph))
        index = _cached_graph(_cache_key(folder, settings), ids, embeddings, settings)
        if index is None:
            progress.note("No graph of this index in the cache: building it from the embeddings.")
            index = HnswIndex(ids, embeddings, settings, progress)
    except (UsageError, DataError) as error:
        raise CheckpointError(
            f"the parts of the index {folder} do not fit each other: {error.message}", _REBUILD
        ) from error
    if description.recall is not None:
        values = asdict(description.recall)
        changes = values.pop("changes")
        index.adopt(Calibration(**values), changes)
    return index


def graph_cache() -> Path:
    """Where this machine keeps hnswlib's own files."""
    return cache_dir() / "graphs"


def _recall_of(index: HnswIndex) -> dict[str, Any] | None:
    info = index.info()
    if info.recall_measured is None:
        return None
    return {
        "ef": info.ef,
        "recall": info.recall_measured,
        "target": info.recall_target,
        "queries": info.recall_queries,
        "k": info.recall_k,
        "changes": info.changes,
    }


def _read_embeddings(folder: Path, description: _Description) -> FloatMatrix:
    path = folder / EMBEDDINGS
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"expected a safetensors file, found {path}: {error}", _REBUILD) from error
    matrix: FloatMatrix | None = tensors.get("embeddings")
    wanted = (description.count, description.dim)
    if set(tensors) != {"embeddings"} or matrix is None or matrix.dtype != np.float32 or matrix.shape != wanted:
        found = {name: f"{tensor.dtype} {tensor.shape}" for name, tensor in tensors.items()}
        raise CheckpointError(f"expected 'embeddings' as float32 {wanted} in {path}, found {found}", _REBUILD)
    return matrix


def _read_ids(folder: Path, count: int) -> list[str]:
    ids = _read_json(folder / IDS)
    if not isinstance(ids, list) or len(ids) != count or not all(isinstance(item_id, str) for item_id in ids):
        found = f"{len(ids)} values" if isinstance(ids, list) else type(ids).__name__
        raise CheckpointError(f"expected a list of {count} ids in {folder / IDS}, found {found}", _REBUILD)
    return ids


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"expected JSON in {path}, found: {error}", _REBUILD) from error


def _write_sums(folder: Path, names: tuple[str, ...]) -> None:
    lines = [f"{sha256_file(folder / name)}  {name}\n" for name in names]
    with output_errors(folder / SUMS):
        (folder / SUMS).write_text("".join(lines), encoding="utf-8")


def _check_sums(folder: Path, names: tuple[str, ...]) -> None:
    """Every named file is listed and has the bytes that were written.

    Raises:
        CheckpointError: it is not so; names the file.
    """
    try:
        lines = (folder / SUMS).read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise CheckpointError(f"expected an index with {SUMS} in {folder}, found: {error}", _REBUILD) from error
    listed = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
    for name in names:
        if name not in listed:
            raise CheckpointError(f"expected {name} to be listed in {folder / SUMS}, found {sorted(listed)}", _REBUILD)
        try:
            digest = sha256_file(folder / name)
        except OSError as error:
            raise CheckpointError(f"expected {folder / name}, found: {error.strerror}", _REBUILD) from error
        if digest != listed[name]:
            raise CheckpointError(
                f"expected {folder / name} with sha256 {listed[name][:16]}..., found {digest[:16]}...",
                f"The file was changed or damaged after it was written. {_REBUILD}",
            )


def _cache_key(folder: Path, settings: HnswSettings) -> str:
    recipe = [sha256_file(folder / EMBEDDINGS), sha256_file(folder / IDS), settings.m, settings.ef_construction]
    return sha256_bytes(json.dumps([*recipe, settings.seed]).encode())[:32]


def _keep_graph(index: HnswIndex, key: str, progress: Progress) -> None:
    """Put the graph into the cache. A cache that cannot be written costs a rebuild on loading, nothing more."""
    folder = graph_cache() / key
    try:
        with atomic_folder(folder, replace=True) as temporary:
            labels = index.write_graph(temporary / _GRAPH)
            save_file({"labels": labels}, temporary / _LABELS)
            _write_sums(temporary, (_GRAPH, _LABELS))
    except (OutputError, RuntimeError) as error:
        progress.note(f"The graph is not kept in the cache and will be rebuilt on loading: {error}")


def _cached_graph(key: str, ids: list[str], embeddings: FloatMatrix, settings: HnswSettings) -> HnswIndex | None:
    folder = graph_cache() / key
    if not folder.is_dir():
        return None
    try:
        _check_sums(folder, (_GRAPH, _LABELS))
        labels: npt.NDArray[np.int64] = load_file(folder / _LABELS)["labels"]
    except (CheckpointError, SafetensorError, OSError, KeyError):
        shutil.rmtree(folder, ignore_errors=True)
        return None
    return HnswIndex.from_graph(ids, embeddings, settings, folder / _GRAPH, labels)

"""What an index is, how well it searches and how far its catalog has moved; and whether all of it is sound."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adapt.errors import AdaptError, CheckpointError
from adapt.index.calibrate import recall_of
from adapt.index.description import Description
from adapt.index.generations import GENERATIONS, PARTS, Generations
from adapt.index.recall import CALIBRATION_K, sample_queries
from adapt.index.sealed import REBUILD
from adapt.index.snapshot import Snapshot
from adapt.progress import SILENT, Progress
from adapt.seeds import generator
from adapt.workflows.checks import Check
from adapt.workflows.index_engine import check_engine, engine_facts
from adapt.workflows.index_model import FrozenNormalisation, load_model
from adapt.workflows.index_place import index_folder

_SAMPLE = 20_000
_RE_EMBEDDED = 256
_QUERIES = 200
_STREAM = 0x1F0
_ROUNDING = {"float32": 1e-4, "float16": 2e-3, "int8": 2e-2}
"""How far from 1 the length of an embedding, and its cosine with what is embedded again, may lie by storage alone."""


@dataclass(frozen=True)
class IndexFacts:
    """What `adapt index info` shows.

    Attributes:
        path: of the folder.
        generation: that counts.
        description: what ``index.json`` holds.
        deleted: rows that are stored and cannot be found any more.
        columns: that items can be filtered by.
        modalities: modality -> items that have it.
        drift: modality -> how far the catalog has moved from the frozen normalisation; 0 = not at all, 1 = every
            item's features would point elsewhere. Empty where the index keeps none.
        sizes: bytes on disk by kind of file.
        engine: that searches, where it is not this machine; see :func:`adapt.workflows.index_engine.engine_facts`.
    """

    path: Path
    generation: str
    description: Description
    deleted: int
    columns: tuple[str, ...]
    modalities: dict[str, int]
    drift: dict[str, float]
    sizes: dict[str, int]
    engine: dict[str, Any] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        described = self.description.to_dict()
        parts = described.pop("parts")
        return {
            "path": str(self.path),
            "generation": self.generation,
            **described,
            "parts": len(parts),
            "deleted": self.deleted,
            "columns": list(self.columns),
            "modalities": self.modalities,
            "drift": {name: round(value, 6) for name, value in self.drift.items()},
            "bytes": self.sizes,
            "engine": self.engine,
        }


def facts(path: str | Path, progress: Progress = SILENT) -> IndexFacts:
    """What an index is; its model is not loaded.

    Raises:
        CheckpointError: there is no index, or it is damaged.
    """
    folder = index_folder(path)
    now = Snapshot.open(Generations(folder), progress=progress)
    rows = _sampled(now.rows, _SAMPLE)
    drift = {}
    if now.model_part is not None:
        drift = FrozenNormalisation.read(now.model_part).drift(now.features(rows))
    modalities: dict[str, int] = {}
    start = 0
    for segment in now.segments:
        alive = now.alive[start : start + len(segment)]
        start += len(segment)
        for name, raw in segment.features.items():
            modalities[name] = modalities.get(name, 0) + int(np.count_nonzero(raw.present & alive))
    return IndexFacts(
        folder,
        now.generation,
        now.description,
        len(now.alive) - len(now),
        now.column_names,
        modalities,
        drift,
        _sizes(folder),
        engine_facts(now),
    )


def verify(
    path: str | Path,
    *,
    seed: int | None = None,
    allow_download: bool = False,
    device: str = "cpu",
    progress: Progress = SILENT,
) -> list[Check]:
    """Look at everything that an index promises.

    Args:
        path: its folder.
        seed: of the sample; None = another one each time.
        allow_download: whether an encoder may be fetched from the Hub.
        device: where the model runs.
        progress: told where a graph is built.

    Returns:
        The checks in order; those that need what an earlier one found broken are left out.

    Raises:
        CheckpointError: there is no index at all.
    """
    folder = Generations(index_folder(path))
    if folder.pointer() is None:
        raise CheckpointError(
            f"expected an index in {path}, found none", "`adapt index build --dataset PATH --output DIR` makes one."
        )
    opened: list[Snapshot] = []

    def open_whole() -> str:
        now = Snapshot.open(folder, progress=progress)
        files = sum(len(segment.folder.listed) for segment in now.segments)
        for segment in now.segments:
            for name in segment.folder.listed:
                segment.folder.file(name)
            _ = segment.titles, segment.column_names, segment.features
        for name in now.model_part.listed if now.model_part is not None else ():
            assert now.model_part is not None
            now.model_part.file(name)
            files += 1
        opened.append(now)
        return f"{files} files of generation {now.generation} have the bytes that were written"

    checks = [_check("generation", open_whole)]
    if opened:
        rng = generator(int(np.random.default_rng(seed).integers(1 << 31)), _STREAM)
        checks += list(_contents(opened[0], rng, allow_download, device))
    return checks


def _contents(now: Snapshot, rng: np.random.Generator, allow_download: bool, device: str) -> Iterator[Check]:
    def counted() -> str:
        if len(set(now.ids)) != now.description.count:
            raise CheckpointError(f"{now.description.count} items described, {len(set(now.ids))} found", REBUILD)
        parts = "1 part" if len(now.segments) == 1 else f"{len(now.segments)} parts"
        return f"{len(now):,} items, {len(now.alive) - len(now):,} deleted rows, in {parts}"

    def lengths() -> str:
        worst = 0.0
        for start in range(0, len(now), 8_192):
            vectors = now.vectors.take(now.rows[start : start + 8_192])
            worst = max(worst, float(np.abs(np.linalg.norm(vectors, axis=1) - 1).max()))
        if worst > _ROUNDING[now.description.storage]:
            raise CheckpointError(f"an embedding's length differs from 1 by {worst:.2g}", REBUILD)
        return f"every embedding has length 1 within {worst:.1g}"

    def model() -> str:
        if now.model_part is None:
            raise _Unknown("the index keeps no normalisation, so nothing can be embedded again")
        loaded = load_model(
            now.description.model,
            FrozenNormalisation.read(now.model_part),
            allow_download=allow_download,
            device=device,
        )
        rows = rng.permutation(now.rows)[:_RE_EMBEDDED]
        again = loaded.embed([now.id(row) for row in rows.tolist()], now.features(rows))
        cosine = (again * now.vectors.take(rows)).sum(axis=1)
        if len(rows) and cosine.min() < 1 - _ROUNDING[now.description.storage]:
            item = now.id(int(rows[int(cosine.argmin())]))
            raise CheckpointError(f"item {item!r} lies at a cosine of {cosine.min():.4f} to its own features", REBUILD)
        return f"{now.description.model.fingerprint[:16]}...; {len(rows)} items embedded again are where they lie"

    def recall() -> str:
        return _recall(now, rng)

    yield _check("counts", counted)
    if len(now):
        yield _check("lengths", lengths)
        yield _check("model", model)
        if (remote := now.remote) is not None:
            yield _check("engine", lambda: check_engine(now, remote, rng))
        yield _check("recall", recall)


def _recall(now: Snapshot, rng: np.random.Generator) -> str:
    """Recall on a fresh sample against exact search over the stored embeddings."""
    rows = _sampled(now.rows, _SAMPLE)
    queries = sample_queries(now.vectors.take(rows), _QUERIES, int(rng.integers(1 << 31)))
    k = min(CALIBRATION_K, len(now))
    found = recall_of(now.search(queries, k), queries, now.vectors, now.alive)
    target = now.description.recall.target if now.description.recall is not None else 1.0
    # Three standard errors of a mean of shares, which vary by less than 0.1 between queries.
    if found < target - 3 * 0.1 / _QUERIES**0.5:
        raise CheckpointError(
            f"{found:.4f} of the true neighbours found on {_QUERIES} fresh queries, {target} promised",
            "`adapt index compact` builds the graph and chooses its breadth of search again.",
        )
    return f"{found:.4f} of the true neighbours among the stored embeddings found on {_QUERIES} fresh queries"


class _Unknown(Exception):  # noqa: N818 - not an error
    """A check that cannot be made."""


def _check(name: str, look: Callable[[], str]) -> Check:
    try:
        return Check(name, True, look())
    except _Unknown as reason:
        return Check(name, None, str(reason))
    except AdaptError as error:
        return Check(name, False, error.message)


def _sampled(rows: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    return rows if len(rows) <= most else rows[:: -(-len(rows) // most)]


def _sizes(path: Path) -> dict[str, int]:
    sizes: dict[str, int] = {}
    for inside in (PARTS, GENERATIONS):
        for file in (path / inside).rglob("*"):
            if file.is_file():
                kind = file.name.partition(".")[0]
                sizes[kind] = sizes.get(kind, 0) + file.stat().st_size
    sizes.pop("SHA256SUMS", None)
    return sizes

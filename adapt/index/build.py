"""The one way to make an index: the kind that suits the size, calibrated."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy.typing as npt

from adapt.errors import UsageError
from adapt.index.base import THRESHOLD, Index
from adapt.index.calibrate import Choice, SearchChoice
from adapt.index.engine import RemoteSettings
from adapt.index.exact import ExactIndex
from adapt.index.graph import HnswSettings
from adapt.index.hnsw import HnswIndex
from adapt.index.remote_index import RemoteIndex
from adapt.progress import SILENT, Progress
from adapt.seeds import DEFAULT_SEED

# Processor seconds with 1,000,000 items, where the processor multiplies bfloat16: one item scored for one of many
# queries at once, one item put into a graph, and one query answered by a graph of .99 recall.
_SCORED, _BUILT, _SEARCHED = 6.3e-9, 1.4e-3, 1.2e-2


def kind_for(queries: int, items: int) -> Literal["auto", "exact"]:
    """How to search when all queries are known and are asked once, in batches: exactly, unless a graph pays.

    A graph is built first, so that it pays for more than 220,000 queries over more than 2 million items.

    >>> kind_for(1_000, 100_000_000), kind_for(1_000_000_000, 1_000_000), kind_for(1_000_000, 10_000_000)
    ('exact', 'exact', 'auto')
    """
    exactly = _SCORED * items * queries
    return "exact" if exactly <= _BUILT * items + _SEARCHED * queries else "auto"


def build_index(
    ids: Sequence[str],
    embeddings: npt.ArrayLike,
    *,
    kind: Choice | RemoteSettings = "auto",
    threshold: int = THRESHOLD,
    recall_target: float = 0.99,
    seed: int = DEFAULT_SEED,
    threads: int = 1,
    queries: npt.ArrayLike | None = None,
    fingerprint: str = "",
    progress: Progress = SILENT,
) -> Index:
    """Make item embeddings searchable by inner product.

    Args:
        ids: distinct item ids, one a row.
        embeddings: float32 (items, dim), finite; copied.
        kind: ``"auto"`` is exact below ``threshold`` items and HNSW from there on; settings are those of an engine
            elsewhere, which searches instead of this machine.
        threshold: see ``kind``.
        recall_target: the share of true neighbours that HNSW's breadth of search is calibrated for.
        seed: of the graph and of the queries that are drawn.
        threads: most threads for HNSW; with one the graph is the same on every run.
        queries: float32 (n, dim) like those that will be asked, to calibrate on; None = drawn from the items.
        fingerprint: of the model whose embeddings these are; an engine keeps it.
        progress: told the items added, the trials, and a recall that stays below the target.

    Returns:
        The index; ``info()`` holds its measured recall. Where HNSW cannot reach the target, ``"auto"`` gives an exact
        index and ``"hnsw"`` one with the recall it has; both are noted.

    Raises:
        UsageError: an argument is out of range or shapes do not fit.
        DataError: an embedding or a query is not finite.
        EngineError: the engine is away or refuses.
    """
    if not isinstance(kind, RemoteSettings) and kind not in ("auto", "exact", "hnsw"):
        raise UsageError(f"expected kind to be auto, exact or hnsw, found {kind!r}")
    if not 0 < recall_target <= 1:
        raise UsageError(f"expected a recall target above 0 and at most 1, found {recall_target}")
    if isinstance(kind, RemoteSettings):
        elsewhere = RemoteIndex(ids, embeddings, kind, fingerprint, progress)
        if len(elsewhere):
            elsewhere.calibrate(SearchChoice(target=recall_target, seed=seed), queries, progress)
        return elsewhere
    if kind == "exact" or (kind == "auto" and len(ids) < threshold):
        return ExactIndex(ids, embeddings)
    index = HnswIndex(ids, embeddings, HnswSettings(seed=seed, threads=threads), progress)
    if not len(index):
        return index
    calibration = index.calibrate(recall_target, queries, progress)
    if not calibration.reached:
        found = f"HNSW reaches a recall of {calibration.recall:.3f} at ef {calibration.ef}, below {recall_target}"
        if kind == "auto":
            progress.note(f"{found}: searching exactly instead.")
            return ExactIndex(ids, embeddings)
        progress.note(f"{found}.")
    return index

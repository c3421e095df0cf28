"""What keeps an index good: recall measured again, rows rewritten without the deleted ones, maps estimated anew."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from adapt.errors import UsageError
from adapt.index.calibrate import SearchChoice, calibrate
from adapt.index.changes import commit
from adapt.index.description import Description
from adapt.index.generations import Writer
from adapt.index.quantise import encode
from adapt.index.segments import stored_items, together
from adapt.index.snapshot import Snapshot
from adapt.index.vectors import DenseVectors, padded
from adapt.progress import SILENT, Progress
from adapt.workflows.index_build import keep_built, write_anew
from adapt.workflows.index_model import FrozenNormalisation, IndexModel


def recalibrate(writer: Writer, now: Snapshot, model_of: Callable[[], IndexModel], progress: Progress = SILENT) -> None:
    """Commit the same items with a search that was chosen and measured again.

    Args:
        writer: of the index.
        now: the generation that counts.
        model_of: its model; asked only where embeddings are stored in fewer bytes than they have.
        progress: told the items indexed.
    """
    description = now.description
    truth = None
    if description.storage != "float32" and now.model_part is not None:
        embeddings = model_of().embed([now.id(row) for row in range(len(now.vectors))], now.features(_all(now)))
        truth = DenseVectors(padded(embeddings, description.dim), len(embeddings))
    queries = FrozenNormalisation.read(now.model_part).queries if now.model_part is not None else None
    remote = now.remote
    engine = remote.search_by if remote is not None else None
    choice = choice_of(description)
    measured = calibrate(now.vectors, now.alive, queries, choice, truth=truth, engine=engine, progress=progress)
    items = [part for part in description.parts if part.role == "items"]
    described = replace(
        description,
        kind=measured.kind,
        graph=measured.graph,
        recall=measured.recall,
        remote=remote.entry.searching(measured.breadth) if remote is not None else None,
    )
    commit(writer, described, items, np.flatnonzero(~now.alive))
    if measured.built is not None:
        keep_built(measured, [segment.embeddings for segment in now.segments], progress)


def rewrite(
    writer: Writer,
    now: Snapshot,
    model_of: Callable[[], IndexModel],
    *,
    refit: bool = False,
    search: Description | None = None,
    progress: Progress = SILENT,
) -> None:
    """Commit the items that can be found as one part, with nothing deleted; see :meth:`LivingIndex.compact`.

    Args:
        writer: of the index.
        now: the generation that counts.
        model_of: its model; asked only where something is embedded again.
        refit: estimate the maps anew.
        search: says how the items will be searched; None = as they are.
        progress: told the items indexed.

    Raises:
        UsageError: ``refit`` for a fine-tuned run, whose maps its towers were trained with.
    """
    description = search or now.description
    rows = np.flatnonzero(now.alive)
    items = together([stored_items(segment) for segment in now.segments], rows)
    model_part = next((part for part in description.parts if part.role == "model"), None)
    if model_part is None or now.model_part is None:
        raise UsageError(
            "expected an index that keeps its normalisation, found one without", "Build it with `adapt index build`."
        )
    choice = choice_of(description)
    if not refit:
        truth = None
        if description.storage != "float32":
            truth = model_of().embed(items.ids, items.features)
        queries = FrozenNormalisation.read(now.model_part).queries
        write_anew(writer, description, model_part, items, truth, choice, progress, queries)
        return
    if description.model.kind == "run":
        raise UsageError(
            "expected the index of a checkpoint to refit, found that of a fine-tuned run, whose towers were trained "
            "with its normalisation",
            "Compact without --refit, or fine-tune again and build an index of the new run.",
        )
    model = model_of()
    # Queries of users were made with the maps of before: they are drawn from the items from here on.
    frozen = replace(
        model.frozen,
        normalisers=model.frozen.refitted(items.features),
        queries=np.zeros((0, description.dim), np.float32),
    )
    embeddings = replace(model, frozen=frozen).embed(items.ids, items.features)
    items = replace(items, embeddings=encode(embeddings, description.storage))
    write_anew(writer, description, frozen, items, embeddings, choice, progress)


def choice_of(described: Description) -> SearchChoice:
    """What was asked of the search when the index was built."""
    return SearchChoice(described.choice, described.target, described.seed, described.threads, described.threshold)


def _all(now: Snapshot) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.arange(len(now.vectors))

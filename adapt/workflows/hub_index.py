"""An index as it is shared: the items that can be found, and nothing of users, deleted items or this machine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from adapt.errors import CheckpointError, UsageError
from adapt.hub.ref import is_on_hub
from adapt.hub.shared_reference import shared_reference
from adapt.index.calibrate import Measured
from adapt.index.description import Description, new_lineage
from adapt.index.generations import LOCK, Generations
from adapt.index.segments import Items, stored_items, together, write_items
from adapt.index.snapshot import Snapshot
from adapt.index.storage import write_deleted
from adapt.progress import SILENT, Progress
from adapt.workflows import training_free
from adapt.workflows.index_build import measure
from adapt.workflows.index_model import FrozenNormalisation, load_model
from adapt.workflows.index_upkeep import choice_of


def export_index(path: Path, output: Path, *, base: str = "", progress: Progress = SILENT) -> dict[str, Any]:
    """Write an index anew for others.

    Its recall is measured again with queries that are drawn from its items: where it was built they were states of
    users, which stay there.

    Args:
        path: of the index.
        output: new folder.
        base: where its checkpoint is shared, if that is not where it was read from.
        progress: told the items indexed.

    Returns:
        What ``metrics.json`` says of it, for the card.

    Raises:
        CheckpointError: it is damaged, or keeps no normalisation.
        UsageError: its model is a fine-tuned run or a checkpoint in a folder of this machine.
    """
    now = Snapshot.open(Generations(path), progress=progress)
    description = now.description
    if now.model_part is None:
        raise CheckpointError(
            f"expected an index that keeps its normalisation, found {path} without",
            "Build it with `adapt index build`.",
        )
    entry = description.model
    if entry.kind == "run" and not is_on_hub(entry.reference):
        raise UsageError(
            f"expected the index of something that others can fetch, found that of the fine-tuned {entry.name} in "
            f"{entry.reference}",
            "Push the run with --include-items, build an index with what was pushed (`adapt index build --run "
            "org/name`), and push that.",
        )
    reference = entry.reference
    if reference != training_free.NAME:
        reference = shared_reference(entry.name, reference, entry.fingerprint, base)
    shared = replace(description, model=replace(entry, reference=reference), remote=None)
    frozen = replace(FrozenNormalisation.read(now.model_part), queries=np.zeros((0, description.dim), np.float32))
    items = together([stored_items(segment) for segment in now.segments], np.flatnonzero(now.alive))
    measured = _measured(shared, items, lambda: load_model(shared.model, frozen).embed(items.ids, items.features))
    with Generations(output).writing() as writer:
        part, model_part = write_items(writer, items, shared=True), frozen.write(writer)
        written = replace(
            shared,
            kind=measured.kind,
            graph=measured.graph,
            recall=measured.recall,
            count=len(items.ids),
            rows=len(items.ids),
            lineage=new_lineage(),
            parts=(part, model_part),
            remote=None,  # where an engine is stays here; who fetches the index chooses one
        )
        writer.commit(written.to_dict(), lambda folder: write_deleted(folder, np.zeros(0, np.int64)))
    (output / LOCK).unlink(missing_ok=True)
    return _metrics(written, items)


def _measured(
    described: Description, items: Items, embed: Callable[[], np.ndarray[Any, np.dtype[np.float32]]]
) -> Measured:
    """How it is searched; float32 embeddings are made again only where fewer bytes are stored."""
    truth = None if described.storage == "float32" else embed()
    return measure(items.embeddings, truth, None, choice_of(described), SILENT)


def _metrics(written: Description, items: Items) -> dict[str, Any]:
    recall = written.recall
    return {
        "items": len(items.ids),
        "dim": written.dim,
        "storage": written.storage,
        "kind": written.kind,
        "columns": list(items.columns),
        "modalities": {name: int(raw.present.sum()) for name, raw in items.features.items()},
        "recall": {"recall": recall.recall, "k": recall.k, "queries": recall.queries} if recall is not None else None,
        "model": {
            "name": written.model.name,
            "reference": written.model.reference,
            "fingerprint": written.model.fingerprint,
        },
    }

"""Fine-tuning as a method of an evaluation: trained on the events that are known, and on no others."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from adapt.config import parse
from adapt.data import Dataset, Interactions
from adapt.errors import CheckpointError
from adapt.hub.format import Checkpoint
from adapt.progress import SILENT, Progress
from adapt.workflows.finetune import FinetuneOptions, finetune
from adapt.workflows.run import HISTORIES, Run, user_keys


class Trainings:
    """The fine-tunes of an evaluation, so that methods that rest on the same one share it.

    Those of one set of known events are kept; the next set replaces them.
    """

    def __init__(self) -> None:
        self._train: Interactions | None = None
        self._runs: dict[str, Run] = {}
        self._folders: list[tempfile.TemporaryDirectory[str]] = []

    def run(
        self,
        key: str,
        checkpoint: Checkpoint,
        known: Dataset,
        options: FinetuneOptions,
        progress: Progress = SILENT,
    ) -> Run:
        """The fine-tune of a checkpoint on what is known, done now if it was not yet.

        Args:
            key: what tells trainings apart.
            checkpoint: the base.
            known: the catalog with the events that may be learned from.
            options: how it is trained.
            progress: told every stage.

        Raises:
            DataError: there are too few events to train on.
        """
        if known.interactions is not self._train:
            self._train, self._runs, self._folders = known.interactions, {}, []
        if key not in self._runs:
            folder = tempfile.TemporaryDirectory(prefix="adapt-evaluate-", ignore_cleanup_errors=True)
            self._folders.append(folder)  # removed with this object: the run reads from it when it is asked
            self._runs[key] = finetune(checkpoint, known, options, folder.name, progress=progress)
        return self._runs[key]


def options_of(run: Run, *, device: str = "cpu", allow_download: bool = False) -> FinetuneOptions:
    """How a run was trained, from its record.

    Raises:
        CheckpointError: its record is damaged.
    """
    asked = {**run.record["identity"]["options"], "device": device, "allow_download": allow_download}
    return parse(FinetuneOptions, asked, str(run.path / "run.json"), CheckpointError)


def unknown_events(run: Run, dataset: Dataset, train: Interactions) -> int:
    """How many events of the data set's users a run has learned from that ``train`` does not hold.

    Args:
        run: with the histories that it was trained on.
        dataset: whose users and items are compared, by their ids.
        train: the events that may be known, of the same users and catalog.

    Raises:
        CheckpointError: it was shared without its histories.
    """
    if run.shared:
        raise CheckpointError(
            f"expected a run with the histories that it has learned from, found {run.name} without: nobody can tell "
            "which hidden events it has seen",
            "`adapt hub compare DATASET REF` measures its towers, and says if they know a data set of this name.",
        )
    found = load_file(run.path / HISTORIES)
    owner = np.repeat(found["users"], np.diff(found["offsets"]))
    row = dataset.catalog.index.rows(run.item_ids)[found["items"]]
    keys = user_keys(train.user_ids)
    order = np.argsort(keys)
    place = np.minimum(np.searchsorted(keys[order], owner), max(0, len(keys) - 1))
    same = (row >= 0) & (keys[order][place] == owner) if len(keys) else np.zeros(len(owner), bool)
    items = len(dataset.catalog)
    learned = order[place[same]] * items + row[same]
    return _more(learned, train.users() * items + train.items)


def load_runs(paths: Sequence[str], device: str = "cpu") -> list[Run]:
    """Runs by their references.

    Raises:
        CheckpointError: one is unknown, damaged or not finished.
    """
    return [Run.load(path, device=device) for path in paths]


def _more(found: NDArray[np.int64], allowed: NDArray[np.integer]) -> int:
    """How many of ``found`` are not in ``allowed``, each as often as it occurs.

    >>> _more(np.array([1, 1, 2, 5]), np.array([1, 2, 2]))
    2
    """
    keys, counts = np.unique(found, return_counts=True)
    known, have = np.unique(np.asarray(allowed, np.int64), return_counts=True)
    place = np.searchsorted(known, keys)
    inside = place < len(known)
    inside[inside] = known[place[inside]] == keys[inside]
    held = np.zeros(len(keys), np.int64)
    held[inside] = have[place[inside]]
    return int(np.maximum(counts - held, 0).sum())

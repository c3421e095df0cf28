"""The folder of a fine-tune: everything that its recommendations are made of, read back strictly."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file as load_arrays
from safetensors.torch import load_file

from adapt import adapters
from adapt.adapters import BaseIdentity
from adapt.data.catalog import Dataset, Interactions
from adapt.errors import CheckpointError
from adapt.features.normalise import Normaliser
from adapt.files import sha256_bytes, sha256_file
from adapt.hub.adapter import Adapter
from adapt.hub.format import Checkpoint
from adapt.model.residual import ItemResidual
from adapt.model.towers import DualTower
from adapt.progress import SILENT, Progress
from adapt.workflows.embedding import embed_catalog
from adapt.workflows.finetuned import (
    IndexKind,
    Tower,
    Weighing,
    recommender_of,
    residual_for,
)
from adapt.workflows.recommender import Recommender, ZeroShotRecommender, index_of

Content = TypeVar("Content")
RUN_FORMAT = 1
RUN, ADAPTER, TOWERS, BASE = "run.json", "adapter", "towers.safetensors", "base"
ITEMS, RESIDUAL, HISTORIES, NORMALISER = (
    "items.json",
    "items.safetensors",
    "histories.safetensors",
    "normaliser.safetensors",
)
_DAMAGED = "The run was changed or damaged: fine-tune again, or fetch it again."


@dataclass(frozen=True, eq=False)
class Run:
    """A finished fine-tune.

    Attributes:
        path: its folder.
        record: what ``run.json`` holds.
        base: the checkpoint that was fine-tuned.
        towers: fine-tuned, in eval mode.
    """

    path: Path
    record: Mapping[str, Any]
    base: Checkpoint
    towers: DualTower

    @classmethod
    def load(cls, path: str | Path, *, checkpoint: Checkpoint | None = None, device: str = "cpu") -> Run:
        """Read a run and verify every byte of it.

        Args:
            path: its folder.
            checkpoint: the base, where it is at hand; None = it is read from where it was read for training.
            device: where the towers go.

        Raises:
            CheckpointError: there is no finished run, it is damaged or of another format, or the base is another one.
        """
        folder = Path(path)
        record = _read_record(folder)
        _verify(folder, record)
        base = _base(folder, record, checkpoint, device)
        identity = BaseIdentity(base.config.name, record["base"]["revision"], base.sha256)
        if record["adaptation"]["kind"] == "lora":
            towers = adapters.twin(base.towers)
            adapters.load(towers, folder / ADAPTER, identity)
        else:
            towers = adapters.twin(base.towers)
            adapters.put(towers, _read(folder / TOWERS, load_file), str(folder / TOWERS))
        return cls(folder, record, base, towers.eval().to(device))

    @property
    def chosen(self) -> str:
        """The method that ranked the validation events best, and that recommends."""
        return str(self.record["chosen"])

    def explained(self, method: str) -> tuple[str, ...]:
        """Sentences on what a method reached when the run was made, beside the others."""
        validation = self.record["validation"]
        reached = {name: found["ndcg@10"]["mean"] for name, found in validation["methods"].items()}
        others = ", ".join(f"{name} {value:.4f}" for name, value in reached.items() if name != method)
        chosen = "the best, and so the one that is used" if method == self.chosen else f"the best was {self.chosen}"
        return (
            f"When the run was made, {method} reached NDCG@10 {reached[method]:.4f} on {validation['events']:,} events "
            f"that it had not seen ({others}): {chosen}.",
        )

    @property
    def sha256(self) -> str:
        """Fingerprint of everything that recommends."""
        return sha256_bytes(json.dumps(self.record["files"], sort_keys=True).encode())

    @property
    def adapter(self) -> Adapter:
        """The LoRA adapter.

        Raises:
            CheckpointError: the run trained the towers themselves.
        """
        kind = self.record["adaptation"]["kind"]
        if kind != "lora":
            raise CheckpointError(f"expected a run with an adapter, found one that trained the towers ({kind})")
        return Adapter.from_pretrained(str(self.path.resolve() / ADAPTER))

    @cached_property
    def normalisers(self) -> dict[str, Normaliser]:
        """Modality -> the map of the catalog that was trained on, which every catalog of the run goes through."""
        found = _read(self.path / NORMALISER, load_arrays)
        sketches = self.record["normalisers"]
        return {
            name: Normaliser(
                found[f"{name}.basis"],
                found[f"{name}.mean"],
                found[f"{name}.matrix"],
                int(part["sketch"]),
                float(part["sketch_weight"]),
            )
            for name, part in sketches.items()
        }

    @cached_property
    def item_ids(self) -> tuple[str, ...]:
        """The items of the catalog that was trained on, by row."""
        return tuple(json.loads((self.path / ITEMS).read_text(encoding="utf-8")))

    def residual(self, item_ids: Sequence[str]) -> ItemResidual | None:
        """What items have beyond their content, by id; items that the run has not seen have none.

        Args:
            item_ids: row by row.

        Returns:
            None where the run learned no residuals.
        """
        if not (self.path / RESIDUAL).is_file():
            return None
        found = _read(self.path / RESIDUAL, load_arrays)
        known = {self.item_ids[row]: place for place, row in enumerate(found["rows"].tolist())}
        bound = float(self.record["residual"]["bound"])
        return residual_for(item_ids, known, found["delta"], found["columns"], bound)

    def recommender(
        self,
        dataset: Dataset,
        *,
        method: str = "",
        index: IndexKind = "auto",
        allow_download: bool = False,
        device: str = "cpu",
        progress: Progress = SILENT,
    ) -> Recommender:
        """A recommender for a data set: that of the training, or one with new users and new items.

        The catalog goes through the map of the one that was trained on; an item that the run has seen keeps its
        residual, by its id; others are their content. Other users are remembered from the run and from the data set.

        Args:
            dataset: the catalog, and the histories that are asked for by user.
            method: zero-shot, few-shot, fine-tuned or fused; empty = the one that validation chose.
            index: how items are searched.
            allow_download: whether an encoder may be fetched from the Hub.
            device: where encoders and towers run.
            progress: told the items encoded, and what is to be said about the data set.

        Raises:
            UsageError: there is no such method.
            CheckpointError: an encoder does not fit the checkpoint or cannot be had.
            DataError: no item is usable.
        """
        embedded = embed_catalog(
            self.base,
            dataset.catalog,
            allow_download=allow_download,
            device=device,
            normalisers=self.normalisers,
            progress=progress,
        )
        for caveat in modality_caveats(list(self.normalisers), list(embedded.normalisers)):
            progress.note(caveat)
        zero = ZeroShotRecommender(self.base, dataset, embedded, index_of(dataset, embedded, index, progress=progress))
        residual = self.residual(dataset.catalog.ids)
        residual = residual.to(device) if residual is not None else None
        tower = Tower(self.towers, residual, self.sha256).recommender(self.base, dataset, embedded, index)
        return recommender_of(
            method or self.chosen,
            zero,
            tower,
            self.remembered(dataset),
            {name: Weighing.from_dict(value) for name, value in self.record["weighings"].items()},
            seed=int(self.record["seed"]),
        )

    def remembered(self, dataset: Dataset) -> Interactions:
        """The histories of the data set, and those of the run's users who are not in it, by the data set's rows."""
        found = _read(self.path / HISTORIES, load_arrays)
        own = dataset.interactions
        here = user_keys(own.user_ids if own is not None else ())
        row = np.array([dataset.catalog.index.get(item, -1) for item in self.item_ids], np.int64)
        rows = row[found["items"]]
        owner = np.repeat(np.arange(len(found["users"])), np.diff(found["offsets"]))
        keep = (rows >= 0) & ~np.isin(found["users"], here)[owner]
        count = np.bincount(owner[keep], minlength=len(found["users"]))
        lengths = np.concatenate([own.lengths() if own is not None else np.zeros(0, np.int64), count[count > 0]])
        items = np.concatenate([own.items if own is not None else np.zeros(0, np.int32), rows[keep]]).astype(np.int32)
        ids = own.user_ids if own is not None else ()
        others = tuple(f"run:{number}" for number in range(len(lengths) - len(ids)))
        return Interactions((*ids, *others), np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64), items)


def user_keys(ids: Sequence[str]) -> NDArray[np.int64]:
    """Users as numbers that do not give their ids away at a glance: the first eight bytes of a SHA-256."""
    digests = [int.from_bytes(hashlib.sha256(user.encode()).digest()[:8], "big", signed=True) for user in ids]
    return np.array(digests, np.int64)


def modality_caveats(trained: Sequence[str], found: Sequence[str]) -> list[str]:
    """What is to be said where a data set has other modalities than the one that was trained on."""
    missing = [name for name in trained if name not in found]
    more = [name for name in found if name not in trained]
    caveats = []
    if missing:
        caveats.append(
            f"the run was trained with {' and '.join(sorted(trained))}, and this data set has no "
            f"{' or '.join(missing)}: expect less of it than validation promised"
        )
    if more:
        caveats.append(
            f"the run was trained without {' and '.join(more)}: what this data set has of it is read as the base reads "
            "it, and was not part of the training"
        )
    return caveats


def _read_record(folder: Path) -> dict[str, Any]:
    try:
        record: dict[str, Any] = json.loads((folder / RUN).read_text(encoding="utf-8"))
        command, finished = record["command"], record["finished"]
    except (OSError, ValueError, KeyError, TypeError) as failure:
        raise CheckpointError(
            f"expected a run in {folder}, found: {failure!r}", "`adapt finetune --output` writes one."
        ) from failure
    if command != "finetune":
        raise CheckpointError(f"expected a run of `adapt finetune` in {folder}, found one of `adapt {command}`")
    if not finished:
        raise CheckpointError(
            f"expected a finished run in {folder}, found one that was stopped", "Continue it with --resume."
        )
    if record.get("format_version") != RUN_FORMAT:
        raise CheckpointError(
            f"expected a run of format_version {RUN_FORMAT}, found {record.get('format_version')!r} in {folder}",
            "Fine-tune again with this version, or use the version that wrote it.",
        )
    return record


def _verify(folder: Path, record: Mapping[str, Any]) -> None:
    """Check every file against the hashes in ``run.json``."""
    for name, expected in record["files"].items():
        path = folder / name
        if not path.is_file():
            raise CheckpointError(f"expected {path}, found no such file", _DAMAGED)
        if (found := sha256_file(path)) != expected:
            raise CheckpointError(f"expected {path} with sha256 {expected}, found {found}", _DAMAGED)


def _base(folder: Path, record: Mapping[str, Any], given: Checkpoint | None, device: str) -> Checkpoint:
    """The checkpoint that was fine-tuned."""
    base = record["base"]
    kept = (folder / BASE).is_dir()
    found = given or Checkpoint.from_pretrained(str(folder / BASE) if kept else base["reference"], device=device)
    if found.sha256 != base["sha256"]:
        raise CheckpointError(
            f"expected the base {base['name']} with sha256 {base['sha256']}, found {found.config.name} with sha256 "
            f"{found.sha256}",
            f"Load the checkpoint that the run was trained on ({base['reference']}).",
        )
    encoders = {name: spec.id for name, spec in found.spec.encoders.items()}
    if encoders != base["encoders"]:
        raise CheckpointError(
            f"expected the feature spec that the run was trained on, {base['encoders']}, found {encoders}", _DAMAGED
        )
    return found


def _read(path: Path, reader: Callable[[Path], dict[str, Content]]) -> dict[str, Content]:
    """A file of safetensors, by safetensors' reader for torch or for numpy."""
    try:
        return reader(path)
    except (OSError, SafetensorError) as failure:
        raise CheckpointError(f"expected safetensors in {path}, found: {failure}", _DAMAGED) from failure

"""A fine-tune: everything that its recommendations are made of, read back strictly from its folder or from the Hub."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file as load_arrays
from safetensors.torch import load_file

from adapt import adapters
from adapt.adapters import BaseIdentity
from adapt.data.catalog import Dataset, Interactions
from adapt.errors import CheckpointError, DataError
from adapt.features.normalise import Normaliser
from adapt.files import SUMS, sha256_bytes, sha256_file
from adapt.hub.adapter import Adapter
from adapt.hub.format import Checkpoint
from adapt.hub.kinds import is_adapter
from adapt.hub.ref import Reference, is_on_hub
from adapt.hub.resolve import Located, locate
from adapt.model.residual import ItemResidual
from adapt.model.towers import DualTower
from adapt.progress import SILENT, Progress
from adapt.workflows.embedding import embed_catalog
from adapt.workflows.finetuned import (
    REMEMBERING,
    IndexKind,
    Tower,
    Weighing,
    recommender_of,
)
from adapt.workflows.recommender import Recommender, ZeroShotRecommender, index_of
from adapt.workflows.run_items import DAMAGED, RunItems, read_items, read_tensors
from adapt.workflows.run_record import read_record
from adapt.workflows.shared_run import shared_record

ADAPTER, TOWERS, BASE, HISTORIES = "adapter", "towers.safetensors", "base", "histories.safetensors"


@dataclass(frozen=True, eq=False)
class Run:
    """A finished fine-tune.

    Attributes:
        path: its folder.
        record: what ``run.json`` holds; of a shared run, the part of it that is shared.
        base: the checkpoint that was fine-tuned.
        towers: fine-tuned, in eval mode.
        reference: by which it is read again: its folder, or ``org/name@commit``.
        shared: whether it is what somebody has shared: an adapter and items, without the histories.
    """

    path: Path
    record: Mapping[str, Any]
    base: Checkpoint
    towers: DualTower
    reference: str
    shared: bool = False

    @classmethod
    def load(cls, path: str | Path, *, checkpoint: Checkpoint | None = None, device: str = "cpu") -> Run:
        """Read a run and verify every byte of it.

        Args:
            path: its folder, or ``org/name[@revision]`` of an adapter that was pushed with the items of its run.
            checkpoint: the base, where it is at hand; None = it is read from where it was read for training.
            device: where the towers go.

        Raises:
            CheckpointError: there is no finished run, it is damaged or of another format, or the base is another one.
            HubError: the repository, or the base that it names, cannot be had.
        """
        located = locate(str(path)) if is_on_hub(path) else Located(Path(path), Reference("path", str(path)))
        return cls.at(located, checkpoint=checkpoint, device=device)

    @classmethod
    def at(
        cls,
        located: Located,
        *,
        checkpoint: Checkpoint | None = None,
        allow_download: bool = False,
        device: str = "cpu",
    ) -> Run:
        """The run in a folder that was found; see :meth:`load`.

        Args:
            located: the folder.
            checkpoint, device: see :meth:`load`.
            allow_download: whether the base of a shared run in a folder of this machine may be fetched.
        """
        folder = located.folder
        if is_adapter(folder):
            return _load_shared(located, checkpoint, allow_download, device)
        record = read_record(folder)
        _verify(folder, record)
        base = _base(folder, record, checkpoint, device)
        identity = BaseIdentity(base.config.name, record["base"]["revision"], base.sha256)
        towers = adapters.twin(base.towers)
        if record["adaptation"]["kind"] == "lora":
            adapters.load(towers, folder / ADAPTER, identity)
        else:
            adapters.put(towers, read_tensors(folder / TOWERS, load_file), str(folder / TOWERS))
        return cls(folder, record, base, towers.eval().to(device), str(folder))

    @property
    def name(self) -> str:
        """For people: the name of its folder, or its reference."""
        return self.reference if self.shared else self.path.resolve().name

    @property
    def chosen(self) -> str:
        """The method that recommends: the one that ranked the validation events best; of a shared run the best of
        those that remember nobody, because histories are not shared.
        """
        if not self.shared:
            return str(self.record["chosen"])
        return max((name for name in self._reached if name not in REMEMBERING), key=self._reached.__getitem__)

    @property
    def _reached(self) -> dict[str, float]:
        """Method -> NDCG@10 on the validation events."""
        return {name: found["ndcg@10"]["mean"] for name, found in self.record["validation"]["methods"].items()}

    def explained(self, method: str) -> tuple[str, ...]:
        """Sentences on what a method reached when the run was made, beside the others."""
        validation, best, reached = self.record["validation"], self.record["chosen"], self._reached
        others = ", ".join(f"{name} {value:.4f}" for name, value in reached.items() if name != method)
        used = "it was chosen, and is the one that is used" if method == self.chosen else "it was chosen"
        chosen = used if method == best else f"{best} was chosen"
        found = (
            f"When the run was made, {method} reached NDCG@10 {reached[method]:.4f} on {validation['events']:,} events "
            f"that it had not seen ({others}): {chosen}.",
        )
        return (*found, *self._not_shared(method))

    def _not_shared(self, method: str) -> tuple[str, ...]:
        """What a shared run lacks, where that matters to a method, in a sentence."""
        if not self.shared:
            return ()
        if method in REMEMBERING:
            return ("The run's histories were not shared: it remembers the interactions of this data set alone.",)
        if self.record["chosen"] not in REMEMBERING:
            return ()
        return (
            f"The run's histories were not shared, so {method} recommends; --method {self.record['chosen']} remembers "
            "the interactions of this data set.",
        )

    @property
    def sha256(self) -> str:
        """Fingerprint of everything that recommends."""
        if self.shared:
            return sha256_file(self.path / SUMS)
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
        return Adapter.from_pretrained(str(self.path.resolve() if self.shared else self.path.resolve() / ADAPTER))

    @cached_property
    def items(self) -> RunItems:
        """What it knows of the items that it was trained on.

        Raises:
            CheckpointError: a file is damaged.
        """
        residual = self.record["residual"]
        bound = None if residual is None else float(residual["bound"])
        return read_items(self.path, self.record["normalisers"], bound, self.base)

    @property
    def normalisers(self) -> Mapping[str, Normaliser]:
        """Modality -> the map of the catalog that was trained on, which every catalog of the run goes through."""
        return self.items.normalisers

    @property
    def item_ids(self) -> tuple[str, ...]:
        """The items of the catalog that was trained on, by row."""
        return self.items.ids

    def residual(self, item_ids: Sequence[str]) -> ItemResidual | None:
        """What items have beyond their content, by id; see :meth:`RunItems.residual`."""
        return self.items.residual(item_ids)

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
        residual, by its id; others are their content. Other users are remembered from the run, where it is not a
        shared one, and from the data set.

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
            DataError: no item is usable, or the method remembers and there is nothing to remember.
        """
        known = self.remembered(dataset)
        if self.shared and not len(known) and (method or self.chosen) in REMEMBERING:
            raise DataError(
                f"expected interactions in {dataset.name} for {method} to remember, found items only; the histories of "
                f"{self.name} were not shared",
                f"Leave --method out: {self.chosen} needs none.",
            )
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
            known,
            {name: Weighing.from_dict(value) for name, value in self.record["weighings"].items()},
            seed=int(self.record["seed"]),
        )

    def remembered(self, dataset: Dataset) -> Interactions:
        """The histories of the data set, and those of the run's users who are not in it, by the data set's rows."""
        own = dataset.interactions
        if self.shared:
            return own if own is not None else Interactions((), np.zeros(1, np.int64), np.zeros(0, np.int32))
        found = read_tensors(self.path / HISTORIES, load_arrays)
        here = user_keys(own.user_ids if own is not None else ())
        row = dataset.catalog.index.rows(self.item_ids)
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


def _verify(folder: Path, record: Mapping[str, Any]) -> None:
    """Check every file against the hashes in ``run.json``."""
    for name, expected in record["files"].items():
        path = folder / name
        if not path.is_file():
            raise CheckpointError(f"expected {path}, found no such file", DAMAGED)
        if (found := sha256_file(path)) != expected:
            raise CheckpointError(f"expected {path} with sha256 {expected}, found {found}", DAMAGED)


def _load_shared(located: Located, given: Checkpoint | None, allow_download: bool, device: str) -> Run:
    """A run from what was pushed of it.

    Raises:
        CheckpointError: it is damaged, holds no items, or ``given`` is not its base.
        HubError: its base cannot be had.
    """
    adapter = Adapter.at(located)
    base = given or adapter.base_checkpoint(allow_download=allow_download, device=device)
    towers = adapter.on(base)
    record = shared_record(adapter, base)
    reference = located.pinned if located.commit else located.reference.name
    run = Run(located.folder, record, base, towers.to(device), reference, shared=True)
    if len(run.item_ids) != adapter.metrics["items"]["count"]:
        raise CheckpointError(
            f"expected {adapter.metrics['items']['count']} items in {located.folder}, found {len(run.item_ids)}",
            DAMAGED,
        )
    return run


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
            f"expected the feature spec that the run was trained on, {base['encoders']}, found {encoders}", DAMAGED
        )
    return found

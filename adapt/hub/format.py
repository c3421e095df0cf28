"""A checkpoint on disk: towers, feature spec, metrics, card and hashes; strict when it is read."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from adapt.config import config, parse, to_dict
from adapt.errors import CheckpointError
from adapt.features.adapted import FILES as ADAPTER_FILES
from adapt.features.base import EncoderSpec
from adapt.features.normalise import Normalisation, SourceStatistics
from adapt.files import atomic_folder, write_sums
from adapt.hub.card import render_card
from adapt.hub.golden import Golden, make_golden, read_golden
from adapt.hub.kinds import is_adapter
from adapt.hub.push import Pushed, PushOptions, push
from adapt.hub.resolve import locate
from adapt.hub.share import share_checkpoint
from adapt.hub.sums import ADAPTER_FOLDERS, verify_hashes
from adapt.model.content import ContentTowers
from adapt.model.inference import check_device
from adapt.model.mmsrec import AttentionKind, ItemTower, MMSRec
from adapt.model.towers import DualTower
from adapt.progress import SILENT, Progress

T = TypeVar("T")
FORMAT_VERSION = 1
_STATISTICS = ("basis", "mean", "covariance")


@config
class ContentConfig:
    """Arguments of :class:`~adapt.model.content.ContentTowers`."""

    features: dict[str, int]
    shared: int = 256
    private: dict[str, int] = field(default_factory=dict)
    depth: int = 1
    width: int = 128
    heads: int = 4
    hidden: int = 256
    max_length: int = 50
    dropout: float = 0.1
    landmarks: dict[str, int] = field(default_factory=dict)
    slack: bool = False


@config
class MMSRecConfig:
    """Arguments of :class:`~adapt.model.mmsrec.MMSRec`."""

    features: dict[str, int]
    dim: int = 512
    depth: int = 2
    heads: int = 8
    hidden: int = 1024
    max_length: int = 20
    dropout: float = 0.1
    item_tower: ItemTower = "shared"
    attention: AttentionKind = "bidirectional"


@config
class CheckpointConfig:
    """``config.json``: what the towers are."""

    format_version: int
    name: str
    summary: str
    architecture: Literal["content", "mmsrec"]
    towers: dict[str, Any]


@config
class FeatureSpec:
    """``feature_spec.json``: what the towers read, and how it is normalised."""

    format_version: int
    encoders: dict[str, EncoderSpec]
    normalisation: dict[str, Normalisation]


def build_towers(architecture: str, arguments: Mapping[str, Any], source: str) -> DualTower:
    """Untrained towers of one of the two architectures.

    Raises:
        CheckpointError: an argument is unknown, has the wrong type, or does not fit the others.
    """
    try:
        if architecture == "mmsrec":
            return MMSRec(**to_dict(parse(MMSRecConfig, dict(arguments), source, CheckpointError)))
        return ContentTowers(**to_dict(parse(ContentConfig, dict(arguments), source, CheckpointError)))
    except (ValueError, RuntimeError, ZeroDivisionError) as failure:  # what torch says to a width below one
        raise CheckpointError(f"{source} describes towers that cannot be built: {failure}") from failure


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """Pretrained towers with the spec of the features that they read.

    Attributes:
        config: name, summary and architecture.
        spec: encoders by identity and normalisation, by modality.
        towers: in eval mode.
        statistics: modality -> statistics of the pretraining catalogs.
        metrics: what ``metrics.json`` holds; the card is made from it.
        golden: outputs that the towers must reproduce; None where none were read.
        sha256: fingerprint over all files; empty for a checkpoint that was not read from disk.
    """

    config: CheckpointConfig
    spec: FeatureSpec
    towers: DualTower
    statistics: Mapping[str, SourceStatistics]
    metrics: Mapping[str, Any]
    sha256: str = ""
    golden: Golden | None = None

    @classmethod
    def from_pretrained(
        cls, reference: str, *, revision: str = "", device: str = "cpu", progress: Progress = SILENT
    ) -> Checkpoint:
        """Read a checkpoint and verify every byte of it.

        Args:
            reference: a folder, a bundled name, or ``org/name[@revision]`` on the Hub; of an adapter, its base with
                the adapter merged.
            revision: branch, tag or commit of a repository on the Hub, in place of one in ``reference``.
            device: where the towers go.
            progress: told when a branch or tag has moved since it was last fetched.

        Raises:
            CheckpointError: unknown, damaged, of a newer format, or with a key that is not known.
            HubError: the repository cannot be had.
            UsageError: there is no such device.
        """
        check_device(device)
        located = locate(reference, revision, progress)
        folder = located.folder
        if is_adapter(folder):
            from adapt.hub.adapter import Adapter

            return Adapter.at(located).checkpoint(device=device)
        fingerprint = verify_hashes(folder)
        written = _read_config(CheckpointConfig, folder / "config.json")
        spec = _with_adapters(_read_config(FeatureSpec, folder / "feature_spec.json"), folder)
        widths = _check_modalities(written, spec, folder)
        towers = build_towers(written.architecture, written.towers, str(folder / "config.json"))
        statistics = _load_weights(folder / "model.safetensors", towers, spec, widths)
        golden = read_golden(folder, towers, widths)
        metrics = _read_json(folder / "metrics.json")
        return cls(written, spec, towers.eval().to(device), statistics, metrics, fingerprint, golden)

    def save_pretrained(self, folder: str | Path, *, replace: bool = False) -> None:
        """Write the checkpoint as a folder, whole or not at all.

        Raises:
            OutputError: the folder exists with files in it and ``replace`` is false, or cannot be written.
        """
        tensors: dict[str, Tensor] = {f"towers.{name}": value for name, value in self.towers.state_dict().items()}
        for modality, statistics in self.statistics.items():
            for part in _STATISTICS:
                tensors[f"normalisation.{modality}.{part}"] = torch.from_numpy(getattr(statistics, part))
        with atomic_folder(Path(folder), replace=replace) as temporary:
            spec = to_dict(_copy_adapters(self.spec, temporary))
            save_file(
                {name: value.detach().cpu().contiguous() for name, value in tensors.items()},
                temporary / "model.safetensors",
            )
            for name, value in (
                ("config.json", to_dict(self.config)),
                ("feature_spec.json", spec),
                ("metrics.json", dict(self.metrics)),
            ):
                text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
                (temporary / name).write_text(text + "\n", encoding="utf-8")
            card = render_card(to_dict(self.config), spec, self.metrics)
            (temporary / "README.md").write_text(card, encoding="utf-8")
            self._golden().save(temporary)
            write_sums(temporary)

    def push_to_hub(
        self, repo_id: str, *, private: bool = False, commit_message: str = "", progress: Progress = SILENT
    ) -> Pushed:
        """Share the checkpoint as one commit; `adapt hub push` does the same with a folder.

        Args:
            repo_id: ``org/name``; made if it is not there.
            private: whether a repository that is made for it is private.
            commit_message: empty = one is made.
            progress: told what is to be known, and the bytes sent.

        Raises:
            UsageError: ``repo_id`` is no name, or something must not leave.
            HubError: there is no token, or the Hub refuses or cannot be reached.
        """
        options = PushOptions(private=private, message=commit_message)
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch) / "share"
            self.save_pretrained(folder)
            return push(share_checkpoint(folder, repo_id, options), repo_id, options, progress)

    def _golden(self) -> Golden:
        """Those that were read while they hold, so that a checkpoint that is copied on another machine keeps its
        fingerprint; else new ones."""
        widths = {name: part.dim for name, part in self.statistics.items()}
        if self.golden is not None and self.golden.holds(self.towers, widths):
            return self.golden
        return make_golden(self.towers, self.statistics, self.spec.normalisation)


def _copy_adapters(spec: FeatureSpec, folder: Path) -> FeatureSpec:
    """Copy the adapters of tuned encoders into a checkpoint folder; the spec then names them relative to it."""
    encoders = dict(spec.encoders)
    for modality, encoder in spec.encoders.items():
        if encoder.adapter:
            inside = ADAPTER_FOLDERS[modality]
            (folder / inside).mkdir(parents=True)
            for name in ADAPTER_FILES:
                shutil.copyfile(Path(encoder.adapter) / name, folder / inside / name)
            encoders[modality] = replace(encoder, adapter=inside)
    return replace(spec, encoders=encoders)


def _with_adapters(spec: FeatureSpec, folder: Path) -> FeatureSpec:
    """The spec of a checkpoint that was read, with the place of each adapter on this machine.

    Raises:
        CheckpointError: an adapter is named outside its folder in the checkpoint, or is not there.
    """
    encoders = dict(spec.encoders)
    for modality, encoder in spec.encoders.items():
        if encoder.adapter:
            inside = ADAPTER_FOLDERS.get(modality, "")
            if encoder.adapter != inside or not (folder / inside / ADAPTER_FILES[0]).is_file():
                raise CheckpointError(
                    f"expected the adapter of the {modality} encoder in {inside} of {folder}, found {encoder.adapter!r}"
                )
            encoders[modality] = replace(encoder, adapter=str((folder / inside).resolve()))
    return replace(spec, encoders=encoders)


def _read_config(cls: type[T], path: Path) -> T:
    """Read a JSON file of the checkpoint; a newer format is said to be one before its keys are found unknown."""
    value = _read_json(path)
    version = value.get("format_version", FORMAT_VERSION) if isinstance(value, dict) else FORMAT_VERSION
    if version != FORMAT_VERSION:
        raise CheckpointError(
            f"expected {path.name} of format_version {FORMAT_VERSION}, found {version!r} in {path.parent}",
            "Upgrade with `pip install --upgrade adapt-mmrec`, or take an older revision of the checkpoint.",
        )
    return parse(cls, value, str(path), CheckpointError)


def _check_modalities(written: CheckpointConfig, spec: FeatureSpec, folder: Path) -> dict[str, int]:
    """Modality -> width of its normalised features; the towers, the encoders and the normalisation must agree on them.

    Raises:
        CheckpointError: they name different modalities, or one that is neither text nor image.
    """
    widths = written.towers.get("features")
    named = sorted(widths) if isinstance(widths, dict) else []
    if not isinstance(widths, dict) or not named or not set(named) <= {"text", "image"}:
        raise CheckpointError(
            f"expected towers.features with the widths of text, image or both in {folder / 'config.json'}, "
            f"found {widths!r}"
        )
    for what, found in (("encoders", spec.encoders), ("normalisation", spec.normalisation)):
        if sorted(found) != named:
            raise CheckpointError(
                f"expected {what} of {' and '.join(named)} in {folder / 'feature_spec.json'}, as config.json has "
                f"towers for; found {', '.join(sorted(found)) or 'none'}"
            )
    return widths


def _load_weights(
    path: Path, towers: DualTower, spec: FeatureSpec, widths: Mapping[str, int]
) -> dict[str, SourceStatistics]:
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError) as failure:
        raise CheckpointError(f"expected safetensors in {path}, found: {failure}") from failure
    statistics = {}
    for modality, width in widths.items():
        features = spec.encoders[modality].dim or None
        parts = zip(_STATISTICS, ((features, width), (width,), (width, width)), strict=True)
        statistics[modality] = SourceStatistics(
            *(_statistic(tensors, f"normalisation.{modality}.{part}", shape, path) for part, shape in parts)
        )
    if foreign := [name for name in tensors if not name.startswith("towers.")]:
        raise CheckpointError(f"expected only towers and normalisation in {path}, found the tensor {foreign[0]}")
    try:
        towers.load_state_dict({name.removeprefix("towers."): value for name, value in tensors.items()})
    except RuntimeError as failure:
        raise CheckpointError(f"expected the weights in {path} to fit config.json; {failure}") from failure
    return statistics


def _statistic(tensors: dict[str, Tensor], name: str, shape: tuple[int | None, ...], path: Path) -> NDArray[np.float32]:
    """Take one tensor out of ``tensors``; None in ``shape`` stands for any size."""
    if name not in tensors:
        raise CheckpointError(f"expected the tensor {name} in {path}, found none")
    found = tensors.pop(name)
    fits = found.ndim == len(shape) and all(size in (None, n) for size, n in zip(shape, found.shape, strict=True))
    if not fits or found.dtype != torch.float32:
        wanted = tuple("any" if size is None else size for size in shape)
        raise CheckpointError(
            f"expected {name} as float32 {wanted} in {path}, found {found.dtype} {tuple(found.shape)}"
        )
    values: NDArray[np.float32] = found.numpy()
    return values


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as failure:
        raise CheckpointError(f"expected JSON in {path}, found: {failure}") from failure

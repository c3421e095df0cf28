"""The model of an index: what turns items, histories, texts and pictures into points of its space, never refitted."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from adapt.config import config, parse, to_dict
from adapt.data.catalog import Catalog
from adapt.data.images import open_image
from adapt.errors import CheckpointError, UsageError
from adapt.features.base import Encoder, Modality
from adapt.features.load import load_encoder
from adapt.features.normalise import Normalisation, Normaliser, SourceStatistics, fit_normaliser, unit
from adapt.features.store import Features
from adapt.files import sha256_bytes, write_json
from adapt.hub.format import Checkpoint
from adapt.index.description import ModelEntry, PartEntry
from adapt.index.generations import Writer
from adapt.index.sealed import REBUILD, SealedFolder, write_tensors
from adapt.index.segments import RawFeatures
from adapt.model.content import ContentTowers
from adapt.model.inference import embed_users
from adapt.model.items import ItemFeatures
from adapt.model.residual import ItemResidual
from adapt.progress import SILENT, Progress
from adapt.shards import Work, taken
from adapt.workflows import training_free
from adapt.workflows.embedding import embed_in_shards, encode_catalog, normalised_items
from adapt.workflows.run import Run

NORMALISATION, SETTINGS, QUERIES = "normalisation.safetensors", "normalisation.json", "queries.safetensors"
_PARTS = ("mean", "matrix")
_SOURCE = ("basis", "mean", "covariance")


@config
class _Frozen:
    """One modality of ``normalisation.json``."""

    settings: Normalisation
    sketch: int
    sketch_weight: float


@dataclass(frozen=True, eq=False)
class FrozenNormalisation:
    """The maps that every item and query of an index goes through, and what they were estimated with.

    Attributes:
        normalisers: modality -> map.
        sources: modality -> the statistics that it was shrunk towards.
        settings: modality -> how it was estimated.
        queries: float32 (n, dim) queries like those that will be asked, for measuring recall; none where they are
            drawn from the items.
    """

    normalisers: Mapping[str, Normaliser]
    sources: Mapping[str, SourceStatistics]
    settings: Mapping[str, Normalisation]
    queries: NDArray[np.float32]

    def write(self, writer: Writer) -> PartEntry:
        """Store it as a part of an index.

        Raises:
            OutputError: it cannot be written.
        """
        tensors: dict[str, NDArray[np.float32]] = {}
        written: dict[str, object] = {}
        for name, normaliser in self.normalisers.items():
            tensors |= {f"{name}.{part}": getattr(normaliser, part) for part in _PARTS}
            tensors |= {f"{name}.source.{part}": getattr(self.sources[name], part) for part in _SOURCE}
            written[name] = {
                "settings": asdict(self.settings[name]),
                "sketch": normaliser.sketch,
                "sketch_weight": normaliser.sketch_weight,
            }

        def fill(folder: Path) -> None:
            write_tensors(folder / NORMALISATION, tensors)
            write_json(folder / SETTINGS, written)
            write_tensors(folder / QUERIES, {"queries": self.queries})

        part = writer.part(fill)
        return PartEntry(name=part.name, sha256=part.sha256, role="model")

    @classmethod
    def read(cls, folder: SealedFolder) -> FrozenNormalisation:
        """What :meth:`write` stored.

        Raises:
            CheckpointError: it is damaged.
        """
        tensors = folder.tensors(NORMALISATION)
        normalisers, sources, settings = {}, {}, {}
        try:
            for name, value in dict(folder.json(SETTINGS)).items():
                frozen = parse(_Frozen, value, f"{folder.path / SETTINGS}: {name}", CheckpointError)
                source = SourceStatistics(*(tensors[f"{name}.source.{part}"] for part in _SOURCE))
                mean, matrix = (tensors[f"{name}.{part}"] for part in _PARTS)
                _check_maps(frozen, source, mean, matrix)
                normalisers[name] = Normaliser(source.basis, mean, matrix, frozen.sketch, frozen.sketch_weight)
                sources[name], settings[name] = source, frozen.settings
            queries = folder.tensors(QUERIES)["queries"]
            if queries.ndim != 2 or not np.isfinite(queries).all():
                raise ValueError(f"queries of shape {queries.shape}")
        except (KeyError, ValueError, TypeError) as error:
            raise CheckpointError(
                f"expected the normalisation of an index in {folder.path}: {error!r}", REBUILD
            ) from error
        return cls(normalisers, sources, settings, queries)

    def refitted(self, features: Mapping[str, RawFeatures]) -> dict[str, Normaliser]:
        """The maps as they would be estimated on these items today."""
        fitted = {}
        for name, source in self.sources.items():
            raw = features.get(name)
            values = np.zeros((0, source.basis.shape[0]), np.float32) if raw is None else raw.values
            rows = None if raw is None else np.flatnonzero(raw.present)
            fitted[name] = fit_normaliser(values, source, self.settings[name], rows)
        return fitted

    def drift(self, features: Mapping[str, RawFeatures]) -> dict[str, float]:
        """How far a catalog has moved from the maps: for each modality of it, 1 - the mean cosine between its items'
        features by the frozen map and by the one that would be estimated today. 0 = not at all.
        """
        fitted = self.refitted(features)
        found = {}
        for name, raw in features.items():
            there = raw.values[raw.present]
            if name in fitted and len(there):
                cosine = (self.normalisers[name](there) * fitted[name](there)).sum(axis=1).mean()
                found[name] = max(0.0, 1 - float(cosine))
        return found


def _check_maps(
    frozen: _Frozen, source: SourceStatistics, mean: NDArray[np.float32], matrix: NDArray[np.float32]
) -> None:
    """Raises ValueError where the parts of a map do not fit each other."""
    width, dim = source.basis.shape
    shapes = [source.mean.shape, source.covariance.shape, mean.shape, matrix.shape]
    if shapes != [(dim,), (dim, dim), (dim,), (dim, dim)] or not 0 <= frozen.sketch_weight <= 1:
        raise ValueError(f"a map from {width} to {dim} with parts of {shapes}")
    if frozen.sketch != frozen.settings.sketch or (frozen.sketch and not (0 < frozen.sketch < dim == width)):
        raise ValueError(f"a lexical sketch of {frozen.sketch} among {dim} of {width}")
    if not all(np.isfinite(part).all() for part in (source.basis, source.mean, source.covariance, mean, matrix)):
        raise ValueError("numbers that are not finite")


def frozen_from(
    checkpoint: Checkpoint, features: Mapping[str, RawFeatures], given: Mapping[str, Normaliser] | None = None
) -> FrozenNormalisation:
    """The maps of a new index: estimated on its catalog, for a modality that it lacks those of pretraining.

    Args:
        checkpoint: whose statistics the catalog's are shrunk towards.
        features: of the catalog.
        given: maps to use as they are, such as those of a fine-tuned run.
    """
    empty = FrozenNormalisation(
        {}, checkpoint.statistics, checkpoint.spec.normalisation, np.zeros((0, checkpoint.towers.dim), np.float32)
    )
    return replace(empty, normalisers={**empty.refitted(features), **(given or {})})


@dataclass(frozen=True, eq=False)
class IndexModel:
    """Towers, encoders and frozen maps.

    Attributes:
        checkpoint: whose towers and encoders are used; its ``sha256`` is the fingerprint of the index.
        frozen: the maps.
        residual: what a fine-tuned run knows of items beyond their content, by id; None = nothing.
        allow_download: whether an encoder may be fetched from the Hub.
        device: where encoders and towers run.
    """

    checkpoint: Checkpoint
    frozen: FrozenNormalisation
    residual: Callable[[Sequence[str]], ItemResidual | None] | None = None
    allow_download: bool = False
    device: str = "cpu"
    _encoders: dict[str, Encoder] = field(default_factory=dict)

    @property
    def fingerprint(self) -> str:
        """Identity of everything that embeds."""
        return self.checkpoint.sha256

    @property
    def reads_history_features(self) -> bool:
        """Whether the user tower reads features of a history's items beside their embeddings."""
        return self.checkpoint.towers.reads_history_features

    def encode(self, catalog: Catalog, progress: Progress = SILENT) -> dict[str, Features]:
        """Raw features of items; only what the cache does not hold is encoded.

        Raises:
            CheckpointError: an encoder cannot be had, or the items come with features that are not its own.
        """
        features, encoders = encode_catalog(
            self.checkpoint.spec,
            catalog,
            allow_download=self.allow_download,
            device=self.device,
            known=self._encoders,
            progress=progress,
        )
        self._encoders.update(encoders)
        return features

    def embed(self, ids: Sequence[str], features: Mapping[str, RawFeatures]) -> NDArray[np.float32]:
        """Item embeddings float32 (items, dim), unit rows; zero for an item without any feature."""
        residual = self.residual(ids) if self.residual is not None else None
        residual = residual.to(self.device) if residual is not None else None
        return embed_in_shards(self.checkpoint.towers, self._known(features), self.frozen.normalisers, Work(), residual)

    def states(
        self,
        histories: Sequence[NDArray[np.int64]],
        features: Mapping[str, RawFeatures],
        embeddings: NDArray[np.float32],
    ) -> NDArray[np.float32]:
        """What the user tower predicts after each history: float32 (histories, dim), unit rows.

        Args:
            histories: rows of ``embeddings``, oldest first, at least one each.
            features: of the same rows; not needed where :attr:`reads_history_features` is false.
            embeddings: float32 (rows, dim).
        """
        return embed_users(self.checkpoint.towers, histories, self._items(features), embeddings)

    def text(self, text: str) -> NDArray[np.float32]:
        """A free text as a query: float32 (1, dim).

        Raises:
            UsageError: the checkpoint reads no text, or the encoder knows nothing of it.
        """
        if not text.strip():
            raise UsageError("expected a text to search by, found none")
        encoded = self._encoder("text").encode([text])
        if not encoded.any():
            raise UsageError(f"expected a text with words that the encoder knows, found {text!r}")
        return self._query("text", encoded)

    def image(self, path: Path) -> NDArray[np.float32]:
        """A picture as a query: float32 (1, dim).

        Raises:
            UsageError: the checkpoint reads no images.
            DataError: the file is not a picture that can be decoded.
        """
        return self._query("image", self._encoder("image").encode([open_image(path)]))

    def as_queries(self, embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
        """Item embeddings as users would ask: without what says only that an item lacks a modality.

        Args:
            embeddings: float32 (n, dim) of items.

        Returns:
            float32 (n, dim), unit rows.
        """
        towers = self.checkpoint.towers
        if not isinstance(towers, ContentTowers) or not towers.has_slack:
            return embeddings
        asked = embeddings.copy()
        asked[:, towers.inner :] = 0
        return unit(asked)

    def _query(self, modality: str, encoded: NDArray[np.float32]) -> NDArray[np.float32]:
        return self.as_queries(self.embed([""], {modality: RawFeatures(encoded, np.ones(len(encoded), bool))}))

    def _encoder(self, modality: Modality) -> Encoder:
        spec = self.checkpoint.spec.encoders.get(modality)
        if spec is None or spec.kind == "precomputed":
            raise UsageError(
                f"expected a checkpoint that reads {modality}, found that {self.checkpoint.config.name} does not",
                "Search by history or by item instead.",
            )
        if modality not in self._encoders:
            self._encoders[modality] = load_encoder(spec, allow_download=self.allow_download, device=self.device)
        return self._encoders[modality]

    def _items(self, features: Mapping[str, RawFeatures]) -> ItemFeatures:
        return normalised_items(self._known(features), self.frozen.normalisers, Work())

    def _known(self, features: Mapping[str, RawFeatures]) -> dict[str, Features]:
        """The modalities that there are maps for."""
        return {
            name: Features(raw.values, raw.present, (), 0, 0.0)
            for name, raw in features.items()
            if name in self.frozen.normalisers
        }


def raw_features(features: Mapping[str, Features], rows: NDArray[np.int64] | None = None) -> dict[str, RawFeatures]:
    """What an index keeps of encoded features, of all rows or of some."""

    def some(part: Features) -> RawFeatures:
        if rows is None or len(rows) == len(part.present):
            return RawFeatures(part.values, part.present)
        return RawFeatures(taken(part.values, rows), part.present[rows])

    return {name: some(part) for name, part in features.items()}


def usable_rows(features: Mapping[str, Features]) -> NDArray[np.int64]:
    """The items that have at least one feature: int64, ascending."""
    present = [part.present for part in features.values()]
    return np.flatnonzero(np.any(present, axis=0)) if present else np.zeros(0, np.int64)


def load_model(
    entry: ModelEntry,
    frozen: FrozenNormalisation | None = None,
    *,
    allow_download: bool = False,
    device: str = "cpu",
) -> IndexModel:
    """The model that an entry of ``index.json`` refers to.

    Args:
        entry: with a reference; an empty fingerprint accepts any.
        frozen: the maps of the index; None for a model that makes a new one, which has none but those of its run.
        allow_download: whether an encoder may be fetched from the Hub.
        device: where it runs.

    Raises:
        CheckpointError: it cannot be had, or is not the one that is expected; says both fingerprints.
    """
    residual = None
    given: Mapping[str, Normaliser] = {}
    if entry.kind == "run":
        run = Run.load(entry.reference, device=device)
        checkpoint = replace(run.base, towers=run.towers, sha256=run.sha256)
        residual, given = run.residual, run.normalisers
    elif entry.reference == training_free.NAME:
        checkpoint = training_free.training_free_for(entry.given)
        recipe = json.dumps([to_dict(checkpoint.spec), to_dict(checkpoint.config)], sort_keys=True)
        checkpoint = replace(checkpoint, sha256=sha256_bytes(recipe.encode()))
    else:
        checkpoint = Checkpoint.from_pretrained(entry.reference, device=device)
    if entry.fingerprint and checkpoint.sha256 != entry.fingerprint:
        raise CheckpointError(
            f"expected the model of the index, {entry.name} with fingerprint {entry.fingerprint}, "
            f"found {checkpoint.config.name} with fingerprint {checkpoint.sha256}",
            "Use the checkpoint or run that the index was built with, or build the index again.",
        )
    maps = frozen or replace(frozen_from(checkpoint, {}), normalisers=given)
    return IndexModel(checkpoint, maps, residual, allow_download, device)

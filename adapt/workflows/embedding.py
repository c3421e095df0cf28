"""From a catalog to what the towers read, and to item embeddings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from adapt.data.catalog import Catalog, Dataset
from adapt.errors import CheckpointError, DataError
from adapt.features.base import Encoder
from adapt.features.load import load_encoder
from adapt.features.normalise import Normaliser, SourceStatistics, fit_normaliser
from adapt.features.store import Features, FeatureStore
from adapt.hub.format import Checkpoint, FeatureSpec
from adapt.model.inference import embed_items
from adapt.model.items import ItemFeatures
from adapt.model.residual import ItemResidual
from adapt.model.towers import DualTower
from adapt.progress import SILENT, Progress
from adapt.shards import Work, digest_of, is_mapped, release


@dataclass(frozen=True, eq=False)
class EmbeddedCatalog:
    """A catalog in the space of a checkpoint.

    Attributes:
        embeddings: float32 (items, dim) with unit rows; the row of an item that is not usable is zero.
        usable: bool (items,), the item has a usable modality: only these are candidates.
        items: what the towers read.
        normalisers: modality -> the map that this catalog's features went through.
        failures: (catalog row, reason) of images or texts that could not be encoded.
        encoders: modality -> the encoder, for queries.
        encoded: modality -> how many items were encoded anew, the others came from the cache.
    """

    embeddings: NDArray[np.float32]
    usable: NDArray[np.bool_]
    items: ItemFeatures
    normalisers: Mapping[str, Normaliser]
    failures: tuple[tuple[int, str], ...]
    encoders: Mapping[str, Encoder]
    encoded: Mapping[str, int]


def embed_catalog(
    checkpoint: Checkpoint,
    catalog: Catalog,
    *,
    base: Path | None = None,
    allow_download: bool = False,
    device: str = "cpu",
    normalisers: Mapping[str, Normaliser] | None = None,
    progress: Progress = SILENT,
    work: Work | None = None,
) -> EmbeddedCatalog:
    """Encode, normalise and embed a catalog, a block of items at a time.

    What does not fit memory is mapped from files; the item embeddings of a run with a folder are kept there.

    Args:
        checkpoint: whose encoders, normalisation and item tower are used.
        catalog: the items.
        base: folder that relative encoder names start from.
        allow_download: whether an encoder may be fetched from the Hub.
        device: where encoders and towers run.
        normalisers: modality -> a map that was fitted on another catalog and is used as it is; a modality that is not
            named gets one of its own.
        progress: told the items encoded.
        work: where matrices lie that do not fit memory, and what is told how long each stage takes.

    Raises:
        CheckpointError: an encoder is not the one the checkpoint was trained with, or cannot be had.
        DataError: no item has a modality that the checkpoint reads.
    """
    work = work or Work()
    with work.stages.stage("encode", len(catalog), "items"):
        features, encoders = encode_catalog(
            checkpoint.spec,
            catalog,
            base=base,
            allow_download=allow_download,
            device=device,
            progress=progress,
            work=work,
        )
    with work.stages.stage("normalise", len(catalog), "items"):
        used = fit_normalisers(features, checkpoint.spec, checkpoint.statistics, normalisers)
    items = normalised_items(features, used, work)
    failures = tuple(failure for part in features.values() for failure in part.failures)
    usable = items.any_present.numpy() if features else np.zeros(len(catalog), dtype=bool)
    if not usable.any():
        wanted = " or ".join(checkpoint.spec.encoders)
        raise DataError(
            f"expected at least one item with a usable {wanted}, found none among {len(catalog)} items",
            "`adapt data check` shows what was found; --text-col and --image-col name the columns.",
        )
    with work.stages.stage("embed", len(catalog), "items"):
        embeddings = embed_in_shards(checkpoint.towers, features, used, work)
    return EmbeddedCatalog(
        embeddings,
        usable,
        items,
        used,
        failures,
        encoders,
        {name: part.encoded for name, part in features.items()},
    )


def embed_in_shards(
    towers: DualTower,
    features: Mapping[str, Features],
    normalisers: Mapping[str, Normaliser],
    work: Work,
    residual: ItemResidual | None = None,
) -> NDArray[np.float32]:
    """Item embeddings float32 (items, dim), unit rows, zero for an item without features; see :func:`embed_catalog`.

    Args:
        towers: whose item tower is used.
        features: of the catalog, as the encoders gave them.
        normalisers: modality -> the map that its features go through.
        work: where embeddings that do not fit memory are kept.
        residual: what items have beyond their content; embeddings with it are not kept.
    """
    count = len(next(iter(features.values())).present)
    work = Work() if residual is not None else work
    found = work.rows("embeddings", _identity(towers, features, normalisers, work), (count, towers.dim))
    for shard in found.missing:
        present = {name: part.present[shard.rows] for name, part in features.items()}
        values = {
            name: torch.from_numpy(normalisers[name].where(present[name], part.values[shard.rows]))
            for name, part in features.items()
        }
        block = ItemFeatures(values, {name: torch.from_numpy(there) for name, there in present.items()})
        usable = block.any_present.numpy()
        embedded = embed_items(towers, block, usable)
        if residual is not None:
            rows = np.flatnonzero(usable)
            embedded[rows] = residual.moves(embedded[rows], shard.start + rows)
        found.write(shard, embedded)
        release(*(part.values for part in features.values()))
    found.wait()
    return found.values


def _identity(
    towers: DualTower, features: Mapping[str, Features], normalisers: Mapping[str, Normaliser], work: Work
) -> dict[str, Any]:
    """All that embeddings follow from; read only where they are kept."""
    if work.folder is None:
        return {}
    state = towers.state_dict()
    return {
        "towers": {name: digest_of(np.atleast_1d(state[name].cpu().numpy())) for name in sorted(state)},
        "features": {name: part.digest or digest_of(part.values) for name, part in features.items()},
        "normalisers": {name: digest_of(map_.basis, map_.mean, map_.matrix) for name, map_ in normalisers.items()},
    }


def encode_catalog(
    spec: FeatureSpec,
    catalog: Catalog,
    *,
    base: Path | None = None,
    allow_download: bool = False,
    device: str = "cpu",
    known: Mapping[str, Encoder] = MappingProxyType({}),
    progress: Progress = SILENT,
    work: Work | None = None,
) -> tuple[dict[str, Features], dict[str, Encoder]]:
    """The raw features of a catalog, by modality, from the cache where they are; only encoders with work are loaded.

    Args:
        spec: of the encoders.
        catalog: the items.
        base, allow_download, device: see :func:`adapt.features.load.load_encoder`.
        known: modality -> an encoder of ``spec`` that is used instead of loading it anew.
        progress: told the items encoded.
        work: where features lie that do not fit memory.

    Returns:
        By modality of the catalog, the features and the encoder.

    Raises:
        CheckpointError: an encoder cannot be had, or the items come with features that are not its own.
    """
    store = FeatureStore(work=work)
    features: dict[str, Features] = {}
    encoders: dict[str, Encoder] = {}
    for modality, encoder_spec in spec.encoders.items():
        given = catalog.text_features if modality == "text" else catalog.image_features
        if given is not None and encoder_spec.kind != "precomputed":
            raise CheckpointError(
                f"expected {modality} for the checkpoint's own encoder ({encoder_spec.kind}), "
                f"found precomputed {modality} features in the data set",
                "Use --checkpoint training-free, which reads any features, or leave them out.",
            )
        has = bool((catalog.has_text if modality == "text" else catalog.has_image).any())
        if not has and given is None:
            continue
        encoders[modality] = known.get(modality) or load_encoder(
            encoder_spec, base=base, allow_download=allow_download, device=device
        )
        features[modality] = store.features(encoders[modality], catalog, progress=progress)
    return features, encoders


def normalise_features(
    features: Mapping[str, Features],
    spec: FeatureSpec,
    statistics: Mapping[str, SourceStatistics],
    given: Mapping[str, Normaliser] | None = None,
) -> tuple[ItemFeatures, dict[str, Normaliser]]:
    """Normalise each modality by a given map, or else with the catalog's own statistics.

    Raises:
        CheckpointError: a given map is for features of another width.
    """
    normalisers = fit_normalisers(features, spec, statistics, given)
    return normalised_items(features, normalisers, Work()), normalisers


def fit_normalisers(
    features: Mapping[str, Features],
    spec: FeatureSpec,
    statistics: Mapping[str, SourceStatistics],
    given: Mapping[str, Normaliser] | None = None,
) -> dict[str, Normaliser]:
    """The map of each modality: the given one, or else one by the catalog's own statistics.

    Raises:
        CheckpointError: a given map is for features of another width.
    """
    found: dict[str, Normaliser] = {}
    for name, part in features.items():
        if given is None or name not in given:
            rows = np.flatnonzero(part.present)
            found[name] = fit_normaliser(part.values, statistics[name], spec.normalisation[name], rows)
            continue
        found[name] = given[name]
        if part.values.shape[1] != given[name].basis.shape[0]:
            raise CheckpointError(
                f"expected {name} features of width {given[name].basis.shape[0]}, as the catalog had that was "
                f"trained on, found {part.values.shape[1]}"
            )
    return found


def normalised_items(
    features: Mapping[str, Features], normalisers: Mapping[str, Normaliser], work: Work
) -> ItemFeatures:
    """What the towers read of a catalog; what does not fit memory is computed when it is first asked for."""
    present = {name: torch.from_numpy(np.array(part.present)) for name, part in features.items()}
    lazy = _Normalised(features, normalisers, work)
    large = any(is_mapped(part.values) for part in features.values())
    return ItemFeatures(lazy if large else dict(lazy), present)


class _Normalised(Mapping[str, torch.Tensor]):
    """Normalised features float32 (items, dim) by modality. Most towers read them only to embed the items, which goes
    block by block: of a catalog that does not fit memory they are written to a file for those that read more.
    """

    def __init__(self, features: Mapping[str, Features], normalisers: Mapping[str, Normaliser], work: Work) -> None:
        self._features, self._normalisers, self._work = features, normalisers, work
        self._found: dict[str, torch.Tensor] = {}

    def __getitem__(self, name: str) -> torch.Tensor:
        part, normaliser = self._features[name], self._normalisers[name]
        if name not in self._found:
            shape = (len(part.present), normaliser.basis.shape[1])
            rows = self._work.rows(f"normalised-{name}", {}, shape, keep=False)
            for shard in rows.shards:
                rows.write(shard, normaliser.where(part.present[shard.rows], part.values[shard.rows]))
                release(part.values)
            self._found[name] = torch.from_numpy(rows.values)
        return self._found[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._features)

    def __len__(self) -> int:
        return len(self._features)

    def __contains__(self, name: object) -> bool:
        return name in self._features


def events_of(data: Dataset) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Offsets (users + 1,) and catalog rows (events,) of a data set's histories; of no user for a catalog alone."""
    if data.interactions is None:
        return np.zeros(1, dtype=np.int64), np.zeros(0, dtype=np.int32)
    return data.interactions.offsets, data.interactions.items

"""From a catalog to what the towers read, and to item embeddings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
import torch
from numpy.typing import NDArray

from adapt.data.catalog import Catalog, Dataset
from adapt.errors import CheckpointError, DataError
from adapt.features.base import Encoder
from adapt.features.load import load_encoder
from adapt.features.normalise import Normaliser, SourceStatistics, normalise_catalog
from adapt.features.store import Features, FeatureStore
from adapt.hub.format import Checkpoint, FeatureSpec
from adapt.model.inference import embed_items
from adapt.model.items import ItemFeatures
from adapt.progress import SILENT, Progress


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
) -> EmbeddedCatalog:
    """Encode, normalise and embed a catalog.

    Args:
        checkpoint: whose encoders, normalisation and item tower are used.
        catalog: the items.
        base: folder that relative encoder names start from.
        allow_download: whether an encoder may be fetched from the Hub.
        device: where encoders and towers run.
        normalisers: modality -> a map that was fitted on another catalog and is used as it is; a modality that is not
            named gets one of its own.
        progress: told the items encoded.

    Raises:
        CheckpointError: an encoder is not the one the checkpoint was trained with, or cannot be had.
        DataError: no item has a modality that the checkpoint reads.
    """
    features, encoders = encode_catalog(
        checkpoint.spec, catalog, base=base, allow_download=allow_download, device=device, progress=progress
    )
    items, used = normalise_features(features, checkpoint.spec, checkpoint.statistics, normalisers)
    failures = tuple(failure for part in features.values() for failure in part.failures)
    usable = items.any_present.numpy() if features else np.zeros(len(catalog), dtype=bool)
    if not usable.any():
        wanted = " or ".join(checkpoint.spec.encoders)
        raise DataError(
            f"expected at least one item with a usable {wanted}, found none among {len(catalog)} items",
            "`adapt data check` shows what was found; --text-col and --image-col name the columns.",
        )
    return EmbeddedCatalog(
        embed_items(checkpoint.towers, items, usable),
        usable,
        items,
        used,
        failures,
        encoders,
        {name: part.encoded for name, part in features.items()},
    )


def encode_catalog(
    spec: FeatureSpec,
    catalog: Catalog,
    *,
    base: Path | None = None,
    allow_download: bool = False,
    device: str = "cpu",
    known: Mapping[str, Encoder] = MappingProxyType({}),
    progress: Progress = SILENT,
) -> tuple[dict[str, Features], dict[str, Encoder]]:
    """The raw features of a catalog, by modality, from the cache where they are; only encoders with work are loaded.

    Args:
        spec: of the encoders.
        catalog: the items.
        base, allow_download, device: see :func:`adapt.features.load.load_encoder`.
        known: modality -> an encoder of ``spec`` that is used instead of loading it anew.
        progress: told the items encoded.

    Returns:
        By modality of the catalog, the features and the encoder.

    Raises:
        CheckpointError: an encoder cannot be had, or the items come with features that are not its own.
    """
    store = FeatureStore()
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
        has = any(catalog.texts) if modality == "text" else any(catalog.images)
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
    values: dict[str, torch.Tensor] = {}
    normalisers: dict[str, Normaliser] = {}
    for name, part in features.items():
        if given is None or name not in given:
            normalised, normalisers[name] = normalise_catalog(
                part.values, part.present, statistics[name], spec.normalisation[name]
            )
        else:
            normalisers[name] = given[name]
            if part.values.shape[1] != given[name].basis.shape[0]:
                raise CheckpointError(
                    f"expected {name} features of width {given[name].basis.shape[0]}, as the catalog had that was "
                    f"trained on, found {part.values.shape[1]}"
                )
            normalised = np.zeros((len(part.present), given[name].basis.shape[1]), dtype=np.float32)
            normalised[part.present] = given[name](np.asarray(part.values[part.present]))
        values[name] = torch.from_numpy(normalised)
    present = {name: torch.from_numpy(np.array(part.present)) for name, part in features.items()}
    return ItemFeatures(values, present), normalisers


def events_of(data: Dataset) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Offsets (users + 1,) and catalog rows (events,) of a data set's histories; of no user for a catalog alone."""
    if data.interactions is None:
        return np.zeros(1, dtype=np.int64), np.zeros(0, dtype=np.int32)
    return data.interactions.offsets, data.interactions.items

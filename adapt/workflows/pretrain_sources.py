"""The data sets of a pretraining run, read once and turned into sources."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from adapt.data import Dataset, load_dataset
from adapt.errors import DataError, UsageError
from adapt.features.base import EncoderSpec
from adapt.features.load import load_encoder
from adapt.hub.format import FORMAT_VERSION, FeatureSpec
from adapt.progress import SILENT, Progress
from adapt.train.sources import PretrainingSource, RawFeatures, held_back, prepare_source, without
from adapt.workflows.embedding import encode_catalog, events_of
from adapt.workflows.recipe import Recipe


def read_datasets(paths: Sequence[str], progress: Progress = SILENT) -> list[Dataset]:
    """Read every data set.

    Raises:
        UsageError: there is none, or two have the same name, by which recipes and results tell them apart.
        DataError: one is unusable.
    """
    if not paths:
        raise UsageError("expected at least one --dataset, found none")
    datasets = [load_dataset(path, progress=progress) for path in paths]
    names = [dataset.name for dataset in datasets]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UsageError(
            f"expected data sets with different names, found {', '.join(twice)} more than once", "Rename its folder."
        )
    return datasets


def identified(
    encoders: Mapping[str, EncoderSpec], device: str, *, allow_download: bool = False
) -> dict[str, EncoderSpec]:
    """The encoders with their identities and widths filled in.

    Args:
        encoders: modality -> encoder.
        device: that they compute on.
        allow_download: whether weights that are not on this machine may be fetched.

    Raises:
        CheckpointError: an encoder is unknown, damaged or has another identity than the recipe says.
    """
    found = {}
    for name, spec in encoders.items():
        encoder = load_encoder(spec, device=device, allow_download=allow_download)
        found[name] = replace(spec, id=encoder.id, dim=encoder.dim)
    return found


def encode_sources(
    datasets: Sequence[Dataset],
    recipe: Recipe,
    encoders: Mapping[str, EncoderSpec],
    device: str,
    progress: Progress = SILENT,
) -> list[PretrainingSource]:
    """Every data set with its features.

    Raises:
        DataError: a data set has nothing that the encoders read.
        UsageError: the recipe holds items back of a data set that is not there.
    """
    if unknown := sorted(set(recipe.hold_back) - {data.name for data in datasets}):
        raise UsageError(f"expected hold_back to name data sets of this run, found {', '.join(unknown)}")
    spec = FeatureSpec(format_version=FORMAT_VERSION, encoders=dict(encoders), normalisation={})
    sources = []
    for data in datasets:
        features, _ = encode_catalog(spec, data.catalog, device=device, progress=progress)
        if not features:
            raise DataError(f"expected items with {' or '.join(encoders)} in {data.root}, found none")
        raw = {name: RawFeatures(np.asarray(part.values), np.asarray(part.present)) for name, part in features.items()}
        raw = without(raw, held_back(data.catalog.ids, recipe.hold_back.get(data.name, 0)))
        offsets, items = events_of(data)
        ordered = data.name not in recipe.unordered
        sources.append(
            prepare_source(data.name, raw, offsets, items, ordered=ordered, cases=recipe.cases, seed=recipe.seed)
        )
    return sources

"""A data set as it would be with one modality only."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from adapt.data import Dataset

Modalities = Literal["all", "text", "image"]
MODALITIES: tuple[Modalities, ...] = ("all", "text", "image")


def with_modalities(data: Dataset, kept: Modalities) -> Dataset:
    """The same items and histories; of texts and images only what is kept."""
    if kept == "all":
        return data
    catalog = data.catalog
    if kept == "text":
        catalog = replace(catalog, images=((),) * len(catalog), image_features=None)
    else:
        catalog = replace(catalog, texts=("",) * len(catalog), text_features=None)
    return replace(data, name=f"{data.name}, {kept} only", catalog=catalog)

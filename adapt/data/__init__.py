"""Data sets: read, checked, cleaned, split. Names are loaded when first used, so importing this costs nothing."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from adapt.data.catalog import Catalog as Catalog
    from adapt.data.catalog import Dataset as Dataset
    from adapt.data.catalog import Interactions as Interactions
    from adapt.data.check import DataReport as DataReport
    from adapt.data.columns import ColumnOptions as ColumnOptions
    from adapt.data.load import check_dataset as check_dataset
    from adapt.data.load import load_dataset as load_dataset

_HOMES = {
    "Catalog": "catalog",
    "ColumnOptions": "columns",
    "DataReport": "check",
    "Dataset": "catalog",
    "Interactions": "catalog",
    "check_dataset": "load",
    "load_dataset": "load",
}
__all__ = [  # noqa: PLE0604 - the names of the table above
    *_HOMES,
]


def __getattr__(name: str) -> object:
    if name in _HOMES:
        return getattr(import_module(f"adapt.data.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

"""What is in a data set, and what is wrong with it."""

from __future__ import annotations

from pathlib import Path

from adapt.data.check import DataReport
from adapt.data.columns import ColumnOptions
from adapt.data.load import check_dataset
from adapt.progress import SILENT, Progress


def data_check(
    path: str | Path,
    *,
    columns: ColumnOptions | None = None,
    images: bool = True,
    allow_download: bool = False,
    progress: Progress = SILENT,
) -> DataReport:
    """Read a data set as every other command would, and report on it.

    Args:
        path: a folder, a file, or a Hub data set ``org/name``.
        columns: column names that replace the automatic choice.
        images: decode every image, so that broken ones are found.
        allow_download: allow fetching a Hub data set.
        progress: who listens.

    Returns:
        The report; ``usable`` tells whether nothing found is an error.

    Raises:
        DataError: there is nothing at ``path``.
        HubError: the Hub could not be reached.
    """
    return check_dataset(path, columns=columns, check_images=images, allow_download=allow_download, progress=progress)

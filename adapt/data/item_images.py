"""The image files of each item."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from adapt.data.images import HugeImageError, ImageFinder, check_image, images_by_name
from adapt.data.item_rows import short
from adapt.data.problems import Example, ProblemLog
from adapt.data.tables import TableFile
from adapt.data.views import ImageFiles, Strings, image_files, no_image_files
from adapt.errors import DataError
from adapt.progress import Progress

_WHAT = {"image-missing": "there is no file", "image-url": "nothing is downloaded from"}


def find_images(
    file: TableFile,
    root: Path,
    ids: Strings,
    cells: tuple[str, Strings] | None,
    kept: NDArray[np.int64],
    log: ProblemLog,
) -> ImageFiles:
    """The image files of each item, from the image column, else from files named after the id.

    Args:
        file: the items file.
        root: the data set's folder, which no path may leave.
        ids: of the items.
        cells: name and values of the image column; None: there is none.
        kept: int64 (items,): the row of the file that each item is read from.
        log: where faults go.
    """
    column, values = cells if cells is not None else (None, _by_name(root, ids, log))
    if values is None:
        return no_image_files(len(ids))
    finder = ImageFinder(root)

    def found(row: int, value: str) -> Iterator[Path]:
        for part in filter(None, map(str.strip, value.split("|"))):
            image = finder.find(part)
            if isinstance(image, Path):
                yield image
                continue
            message = f"{_WHAT.get(image, 'outside the data set:')} {short(part)}"
            log.rows(image, file, [int(kept[row])], column, lambda _, message=message: message)  # type: ignore[misc]

    return image_files(tuple(dict.fromkeys(found(row, value))) if value else () for row, value in enumerate(values))


def _by_name(root: Path, ids: Strings, log: ProblemLog) -> Sequence[str] | None:
    by_name = images_by_name(root)
    values = [by_name.get(item_id, "") for item_id in ids] if by_name else []
    if count := sum(map(bool, values)):
        log.add("images-by-name", Example("images/", None, None, f"{count:,} of {len(values):,} items have one"))
        return values
    return None


def decodable(
    file: TableFile, root: Path, images: ImageFiles, kept: NDArray[np.int64], log: ProblemLog, progress: Progress
) -> ImageFiles:
    """The images without those that cannot be decoded, which are reported; arguments as above."""
    inside = f"{root.resolve()}/"

    def sound(row: int, image: Path) -> bool:
        try:
            check_image(image)
        except DataError as error:
            kind = "image-huge" if isinstance(error, HugeImageError) else "image-broken"
            message = error.message.replace(inside, "")
            log.rows(kind, file, [int(kept[row])], None, lambda _: message)
            return False
        finally:
            advance(1)
        return True

    if not images.filled().any():
        return images
    with progress.task("checking images", images.total(), "images") as advance:
        return image_files([image for image in found if sound(row, image)] for row, found in enumerate(images))

"""Precomputed features: an ``.npy`` file or a column of vectors, aligned with the rows of the items file."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from adapt.data.problems import Example, ProblemLog
from adapt.data.tables import TableFile

_ROWS = 1 << 14  # that are looked at at a time
_MAPPED = 1 << 20  # bytes of a file above which it is not read as a whole


def read_vectors(
    source: Path | None, file: TableFile, root: Path, log: ProblemLog, *, rows: int, kept: NDArray[np.int64]
) -> NDArray[np.float32] | None:
    """The features of the kept rows.

    Args:
        source: an ``.npy`` file (absolute, or relative to the working folder or to ``root``), or a column; None: none.
        file: the items file.
        root: the data set's folder.
        log: where faults go.
        rows: number of rows of the items file.
        kept: int64 (items,): the rows that became items, increasing.

    Returns:
        float32 (items, dim), NaN in the rows that are missing; None without ``source``.

    Raises:
        UnreadableError: there is no such file or column, or it does not fit.
    """
    if source is None:
        return None
    if str(source) in file.vectors:
        values, name = file.vector(str(source)), file.name
    else:
        path = next((path for path in (source, root / source) if path.is_file()), None)
        if path is None:
            known = f" (columns of vectors: {', '.join(sorted(file.vectors))})" if file.vectors else ""
            message = f"expected an .npy file or a column of vectors, found neither under {str(source)!r}{known}"
            log.fatal("bad-features", Example(file.name, None, str(source), message))
        values, name = _load(path, log), path.name
    if values.ndim != 2 or len(values) != rows or values.shape[1] == 0:
        message = f"expected shape ({rows}, dimension), one row for each row of {file.name}, found {values.shape}"
        log.fatal("bad-features", Example(name, None, None, message))
    features = np.empty((len(kept), values.shape[1]), dtype=np.float32)
    for start in range(0, rows, _ROWS):
        block = np.asarray(values[start : start + _ROWS], dtype=np.float32)
        missing = np.isnan(block).all(axis=1)
        wrong = np.flatnonzero(~np.isfinite(block).all(axis=1) & ~missing)
        if len(wrong):
            message = (
                "expected finite numbers, or a whole row of NaN for a missing item, "
                f"found neither in row {start + wrong[0] + 1}"
            )
            log.fatal("bad-features", Example(name, None, None, message))
        first, last = np.searchsorted(kept, (start, start + len(block)))
        features[first:last] = block[kept[first:last] - start]
    return features


def _load(path: Path, log: ProblemLog) -> NDArray[Any]:
    try:
        mapped: Literal["r"] | None = "r" if path.stat().st_size > _MAPPED else None
        values = np.load(path, mmap_mode=mapped, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        log.fatal("bad-features", Example(path.name, None, None, f"expected a numpy array of numbers: {error}"))
    if not isinstance(values, np.ndarray) or values.dtype.kind not in "fiu":
        found = getattr(values, "dtype", type(values).__name__)
        log.fatal("bad-features", Example(path.name, None, None, f"expected a numpy array of numbers, found {found}"))
    return values

"""What a run knows of the items that it was trained on: their ids, the map of their catalog, and their residuals."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file

from adapt.errors import CheckpointError
from adapt.features.normalise import Normaliser
from adapt.hub.format import Checkpoint
from adapt.hub.share import ITEM_FILES
from adapt.model.residual import ItemResidual
from adapt.workflows.finetuned import residual_for

Content = TypeVar("Content")
ITEMS, RESIDUAL, NORMALISER = ITEM_FILES
DAMAGED = "The run was changed or damaged: fine-tune again, or fetch it again."
_MAP = ("basis", "mean", "matrix")


@dataclass(frozen=True, eq=False)
class RunItems:
    """The items of a run.

    Attributes:
        ids: of the catalog that was trained on, by row.
        normalisers: modality -> the map of that catalog, which every catalog of the run goes through.
        rows: int64 (warm items,), rows of ``ids`` that have a residual.
        delta: float32 (warm items, width), their residuals.
        columns: int64 (width,), the dimensions of an embedding that these move.
        bound: longest residual; 0 = no bound. None = the run learned no residuals.
    """

    ids: tuple[str, ...]
    normalisers: Mapping[str, Normaliser]
    rows: NDArray[np.int64]
    delta: NDArray[np.float32]
    columns: NDArray[np.int64]
    bound: float | None

    def residual(self, item_ids: Sequence[str]) -> ItemResidual | None:
        """What items have beyond their content, by id; items that the run has not seen have none.

        Args:
            item_ids: row by row.

        Returns:
            None where the run learned no residuals.
        """
        if self.bound is None:
            return None
        known = {self.ids[row]: place for place, row in enumerate(self.rows.tolist())}
        return residual_for(item_ids, known, self.delta, self.columns, self.bound)


def read_items(
    folder: Path, sketches: Mapping[str, Mapping[str, Any]], bound: float | None, base: Checkpoint
) -> RunItems:
    """Read the items of a run, which somebody else may have made.

    Args:
        folder: that holds them.
        sketches: modality -> ``sketch`` and ``sketch_weight`` of its map.
        bound: of the residuals; None = there are none.
        base: the checkpoint that was fine-tuned.

    Raises:
        CheckpointError: a file is missing or damaged, or does not fit the others.
    """
    ids = _ids(folder / ITEMS)
    maps = read_tensors(folder / NORMALISER, load_file)
    names = {f"{modality}.{part}" for modality in sketches for part in _MAP}
    fits = set(maps) == names and set(sketches) <= set(base.statistics)
    _expect(fits, folder / NORMALISER, f"the maps of {', '.join(base.statistics)}", ", ".join(sorted(maps)))
    normalisers = {
        name: _normaliser(maps, name, sketch, base.statistics[name].basis.shape, folder / NORMALISER)
        for name, sketch in sketches.items()
    }
    if bound is None:
        none = np.zeros(0, np.int64)
        return RunItems(ids, normalisers, none, np.zeros((0, 0), np.float32), none, None)
    path = folder / RESIDUAL
    found = read_tensors(path, load_file)
    _expect(set(found) == {"rows", "delta", "columns"}, path, "rows, delta and columns", ", ".join(sorted(found)))
    rows, delta, columns = found["rows"], found["delta"], found["columns"]
    for name, values, below in (("rows", rows, len(ids)), ("columns", columns, base.towers.dim)):
        fits = values.dtype == np.int64 and values.ndim == 1 and len(np.unique(values)) == len(values)
        fits = fits and (not len(values) or (values.min() >= 0 and values.max() < below))
        _expect(fits, path, f"{name} as different int64 below {below}", f"{values.dtype} {values.shape}")
    _expect_floats(path, "delta", delta, (len(rows), len(columns)))
    return RunItems(ids, normalisers, rows, delta, columns, bound)


def read_tensors(path: Path, reader: Callable[[Path], dict[str, Content]]) -> dict[str, Content]:
    """A file of safetensors, by safetensors' reader for torch or for numpy.

    Raises:
        CheckpointError: it is none.
    """
    try:
        return reader(path)
    except (OSError, SafetensorError) as failure:
        raise CheckpointError(f"expected safetensors in {path}, found: {failure}", DAMAGED) from failure


def _ids(path: Path) -> tuple[str, ...]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as failure:
        raise CheckpointError(f"expected JSON in {path}, found: {failure}", DAMAGED) from failure
    fits = isinstance(found, list) and all(isinstance(one, str) for one in found) and len(set(found)) == len(found)
    _expect(fits, path, "a list of different item ids", f"{str(found)[:60]}")
    return tuple(found)


def _normaliser(
    maps: Mapping[str, NDArray[Any]], name: str, sketch: Mapping[str, Any], shape: tuple[int, ...], path: Path
) -> Normaliser:
    basis, mean, matrix = (maps[f"{name}.{part}"] for part in _MAP)
    width = shape[1]
    for part, values, fitting in zip(_MAP, (basis, mean, matrix), (shape, (width,), (width, width)), strict=True):
        _expect_floats(path, f"{name}.{part}", values, fitting)
    size, weight = int(sketch["sketch"]), float(sketch["sketch_weight"])
    _expect(0 <= size <= width and 0 <= weight <= 1, path, f"a sketch of at most {width} {name} features", f"{size}")
    return Normaliser(basis, mean, matrix, size, weight)


def _expect_floats(path: Path, name: str, values: NDArray[Any], shape: tuple[int, ...]) -> None:
    fits = values.dtype == np.float32 and values.shape == shape and bool(np.isfinite(values).all())
    _expect(fits, path, f"{name} as finite float32 {shape}", f"{values.dtype} {values.shape}")


def _expect(fits: bool, path: Path, expected: str, found: str) -> None:
    if not fits:
        raise CheckpointError(f"expected {expected} in {path}, found {found or 'none'}", DAMAGED)

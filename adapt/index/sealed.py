"""Folders whose files are listed with their hashes: no byte of one is used before it was checked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from adapt.errors import CheckpointError
from adapt.features.identity import read_header
from adapt.files import output_errors, sha256_bytes, sha256_file
from adapt.shards import IN_MEMORY, plan, release

SUMS = "SHA256SUMS"
REBUILD = "Build the index again from its checkpoint and data set."
_DTYPES = {"F32": np.float32, "F16": np.float16, "I8": np.int8, "U8": np.uint8, "I64": np.int64, "BOOL": np.bool_}


class SealedFolder:
    """A folder that :func:`seal` closed; each file is hashed when it is first asked for.

    Args:
        path: the folder.
        sha256: that :func:`seal` returned; None accepts any list of hashes.

    Raises:
        CheckpointError: there is no list of hashes, or it is another one.
    """

    def __init__(self, path: Path, sha256: str | None = None) -> None:
        self.path = path
        self._checked: set[str] = set()
        try:
            text = (path / SUMS).read_bytes()
            lines = text.decode().splitlines()
        except (OSError, ValueError) as error:
            raise CheckpointError(f"expected {SUMS} in {path}, found: {error}", REBUILD) from error
        self.sha256 = sha256_bytes(text)
        if sha256 is not None and sha256 != self.sha256:
            raise CheckpointError(
                f"expected {path / SUMS} with sha256 {sha256[:16]}..., found {self.sha256[:16]}...",
                f"The folder was changed or damaged after it was written. {REBUILD}",
            )
        self.listed = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}

    def __contains__(self, name: str) -> bool:
        return name in self.listed

    def file(self, name: str) -> Path:
        """The path of a file whose bytes are those that were sealed.

        Raises:
            CheckpointError: it is not listed, absent, or a byte differs.
        """
        path = self.path / name
        if name in self._checked:
            return path
        if name not in self.listed:
            raise CheckpointError(f"expected {name} to be listed in {self.path / SUMS}, found {sorted(self.listed)}")
        try:
            digest = sha256_file(path)
        except OSError as error:
            raise CheckpointError(f"expected {path}, found: {error.strerror}", REBUILD) from error
        if digest != self.listed[name]:
            raise CheckpointError(
                f"expected {path} with sha256 {self.listed[name][:16]}..., found {digest[:16]}...",
                f"The file was changed or damaged after it was written. {REBUILD}",
            )
        self._checked.add(name)
        return path

    def json(self, name: str) -> Any:
        """The value of a JSON file.

        Raises:
            CheckpointError: it is damaged or no JSON.
        """
        path = self.file(name)
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise CheckpointError(f"expected JSON in {path}, found: {error}", REBUILD) from error

    def strings(self, name: str, count: int) -> list[str]:
        """A JSON list of ``count`` strings.

        Raises:
            CheckpointError: it is not one.
        """
        values = self.json(name)
        if not isinstance(values, list) or len(values) != count or not all(isinstance(value, str) for value in values):
            found = f"{len(values)} values" if isinstance(values, list) else type(values).__name__
            raise CheckpointError(f"expected a list of {count} strings in {self.path / name}, found {found}", REBUILD)
        return values

    def tensors(self, name: str) -> dict[str, NDArray[Any]]:
        """The tensors of a safetensors file, in memory.

        Raises:
            CheckpointError: it is damaged or no safetensors file.
        """
        path = self.file(name)
        try:
            return dict(load_file(path))
        except (SafetensorError, OSError, ValueError) as error:
            raise CheckpointError(f"expected a safetensors file, found {path}: {error}", REBUILD) from error

    def mapped(self, name: str) -> dict[str, NDArray[Any]]:
        """The tensors of a safetensors file, memory-mapped: pages are read when they are used.

        Raises:
            CheckpointError: it is damaged or no safetensors file.
        """
        path = self.file(name)
        header, start = read_header(path)
        found: dict[str, NDArray[Any]] = {}
        try:
            for key, entry in header.items():
                dtype, shape = _DTYPES[entry["dtype"]], tuple(entry["shape"])
                first, last = entry["data_offsets"]
                if last - first != int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize:
                    raise ValueError(f"{key} has {last - first} bytes for the shape {shape}")
                # Copy-on-write, because torch warns of arrays that it could not write to; nobody writes.
                mapped = np.memmap(path, dtype, "c", start + first, shape) if last > first else np.zeros(shape, dtype)
                found[key] = np.asarray(mapped)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CheckpointError(f"expected tensors in {path}, found: {error!r}", REBUILD) from error
        return found


def seal(folder: Path) -> str:
    """Write the hashes of every file of a folder, and return the hash of that list.

    Raises:
        OutputError: it cannot be written.
    """
    with output_errors(folder / SUMS):
        names = sorted(path.name for path in folder.iterdir() if path.is_file() and path.name != SUMS)
        text = "".join(f"{sha256_file(folder / name)}  {name}\n" for name in names)
        (folder / SUMS).write_bytes(text.encode())
    return sha256_bytes(text.encode())


def write_tensors(path: Path, tensors: dict[str, NDArray[Any]]) -> None:
    """Write a safetensors file.

    Raises:
        OutputError: it cannot be written.
    """
    with output_errors(path):
        if sum(value.nbytes for value in tensors.values()) > IN_MEMORY:
            _write_large(path, tensors)
        else:
            save_file({name: np.ascontiguousarray(value) for name, value in tensors.items()}, path)


def _write_large(path: Path, tensors: dict[str, NDArray[Any]]) -> None:
    """The same in blocks: safetensors itself makes a copy of all of them in memory first."""
    header: dict[str, Any] = {}
    place = 0
    names = {np.dtype(kind).str: name for name, kind in _DTYPES.items()}
    order = sorted(tensors, key=lambda name: (-tensors[name].dtype.itemsize, name))  # each begins where it is aligned
    for name in order:
        value = tensors[name]
        stop = place + value.nbytes
        header[name] = {"dtype": names[value.dtype.str], "shape": list(value.shape), "data_offsets": [place, stop]}
        place = stop
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as handle:
        handle.write(len(text).to_bytes(8, "little") + text)
        for name in order:
            for shard in plan(len(tensors[name])):
                handle.write(np.ascontiguousarray(tensors[name][shard.rows]).data.cast("B"))
                release(tensors[name])

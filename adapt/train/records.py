"""What was measured, as JSON that gives back the same numbers to the bit, the same kinds of keys and the same order."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from adapt.errors import CheckpointError
from adapt.files import atomic_write


def pack(value: Any) -> Any:
    """Nested dicts, lists, tuples, float arrays and plain values as values that JSON holds.

    >>> pack({(800, 0.5): np.array([0.1])})
    {'map': [[{'tuple': [800, 0.5]}, {'array': [0.1]}]]}
    """
    if isinstance(value, dict):
        return {"map": [[pack(key), pack(part)] for key, part in value.items()]}
    if isinstance(value, tuple):
        return {"tuple": [pack(part) for part in value]}
    if isinstance(value, list):
        return [pack(part) for part in value]
    if isinstance(value, np.ndarray):
        return {"array": value.astype(np.float64).tolist()}
    return value


def unpack(value: Any) -> Any:
    """The inverse of :func:`pack`; arrays come back as float64.

    >>> unpack(pack({(800, 0.5): [1, None]}))
    {(800, 0.5): [1, None]}
    """
    if isinstance(value, list):
        return [unpack(part) for part in value]
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind == "map":
        return {unpack(key): unpack(part) for key, part in content}
    if kind == "tuple":
        return tuple(unpack(part) for part in content)
    if kind == "array":
        return np.array(content, dtype=np.float64)
    raise ValueError(f"an unknown kind of value: {kind!r}")


def write_record(path: Path, value: Any) -> None:
    """Write ``value`` to ``path``, whole or not at all.

    Raises:
        OutputError: it could not be written.
    """
    with atomic_write(path) as handle:
        handle.write(json.dumps(pack(value)) + "\n")


def read_record(path: Path) -> Any:
    """What :func:`write_record` wrote.

    Raises:
        CheckpointError: the file is no such record.
    """
    try:
        return unpack(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as failure:
        raise CheckpointError(
            f"expected a record of a run in {path}, found: {failure}", f"Delete {path}: it is measured again."
        ) from failure

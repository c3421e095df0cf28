"""Frozen, strictly checked configuration, and the one way to read it from JSON or YAML."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as _pydantic_dataclass
from typing_extensions import dataclass_transform

from adapt.errors import AdaptError, UsageError

T = TypeVar("T")


@dataclass_transform(frozen_default=True, kw_only_default=True)
def config(cls: type[T]) -> type[T]:
    """Decorator: a frozen, keyword-only dataclass whose fields are type-checked and that refuses unknown keys."""
    return _pydantic_dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))(cls)  # type: ignore[return-value]


def parse(cls: type[T], value: Any, source: str, error: type[AdaptError] = UsageError) -> T:
    """Build the config class ``cls`` from plain values.

    Args:
        cls: a class made with :func:`config`.
        value: what was read, usually a dict.
        source: the file or option it came from, named in the error.
        error: the kind of error to raise.

    Raises:
        AdaptError: of the kind ``error``: a key is unknown or missing, or a value has the wrong type; says which.
    """
    try:
        return TypeAdapter(cls).validate_python(value)
    except ValidationError as failure:
        lines = [
            f"  {'.'.join(str(part) for part in problem['loc']) or '(top level)'}: {problem['msg']}, "
            f"found {problem['input']!r:.80}"
            for problem in failure.errors()
        ]
        raise error(f"{source} does not fit {cls.__name__}:\n" + "\n".join(lines)) from failure


def read_yaml(path: Path) -> Any:
    """Plain values of a YAML file.

    Raises:
        UsageError: the file is absent or is not YAML; says the line.
    """
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as failure:
        raise UsageError(f"expected a readable YAML file, found: {path}: {failure.strerror}") from failure
    except yaml.YAMLError as failure:
        raise UsageError(f"{path} is not valid YAML: {failure}") from failure


def to_dict(value: Any) -> dict[str, Any]:
    """The plain, JSON-ready values of a config object, defaults included."""
    return dataclasses.asdict(value)

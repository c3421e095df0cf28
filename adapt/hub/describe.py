"""All that is known of a checkpoint, from its files, without building its towers."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from adapt.errors import CheckpointError
from adapt.files import read_object, sha256_file
from adapt.hub.card import never_trained_on
from adapt.hub.resolve import resolve
from adapt.hub.sums import verify_hashes


@dataclass(frozen=True)
class CheckpointFacts:
    """A checkpoint, described.

    Attributes:
        reference: as given.
        folder: on this machine.
        sha256: its fingerprint, over all files.
        config: ``config.json``.
        feature_spec: ``feature_spec.json``: the encoders by identity, and the normalisation.
        parameters: of its towers.
        files: (name, size in bytes, sha256).
        trained_on: names of data sets.
        never_trained_on: names of the data sets that measured it and that it was not trained on.
        metrics: ``metrics.json``.
    """

    reference: str
    folder: str
    sha256: str
    config: dict[str, Any]
    feature_spec: dict[str, Any]
    parameters: int
    files: tuple[tuple[str, int, str], ...]
    trained_on: tuple[str, ...]
    never_trained_on: tuple[str, ...]
    metrics: dict[str, Any]

    @property
    def size_bytes(self) -> int:
        """Of all files."""
        return sum(size for _, size, _ in self.files)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        files = [{"name": name, "size_bytes": size, "sha256": digest} for name, size, digest in self.files]
        return {**asdict(self), "size_bytes": self.size_bytes, "files": files}


def describe(reference: str) -> CheckpointFacts:
    """Verify a checkpoint and read what its files say.

    Args:
        reference: a folder, a bundled name, or ``org/name[@revision]`` on the Hub.

    Raises:
        CheckpointError: unknown or damaged.
        HubError: the repository cannot be had.
    """
    folder = resolve(reference)
    fingerprint = verify_hashes(folder)
    config, spec, metrics = (
        read_object(folder / name) for name in ("config.json", "feature_spec.json", "metrics.json")
    )
    pretraining = metrics.get("pretraining", {})
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return CheckpointFacts(
        reference=reference,
        folder=str(folder),
        sha256=fingerprint,
        config=config,
        feature_spec=spec,
        parameters=_parameters(folder / "model.safetensors"),
        files=tuple((str(path.relative_to(folder)), path.stat().st_size, sha256_file(path)) for path in paths),
        trained_on=tuple(pretraining.get("trained_on", [])),
        never_trained_on=tuple(never_trained_on(pretraining, metrics.get("targets", {}))),
        metrics=metrics,
    )


def _parameters(path: Path) -> int:
    """Number of weights of the towers, from the header of the file alone."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as tensors:
            names = [name for name in tensors.keys() if name.startswith("towers.")]  # noqa: SIM118
            shapes = [tensors.get_slice(name).get_shape() for name in names]
    except (SafetensorError, OSError) as failure:
        raise CheckpointError(f"expected safetensors in {path}, found: {failure}") from failure
    return sum(math.prod(shape) for shape in shapes)

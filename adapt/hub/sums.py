"""The files of a checkpoint, checked against their sums."""

from __future__ import annotations

from pathlib import Path

from adapt.errors import CheckpointError
from adapt.features.adapted import FILES as ADAPTER_FILES
from adapt.files import SUMS, check_sums, read_sums

GOLDEN = "golden.safetensors"
ADAPTER_FOLDERS = {"text": "encoders/text", "image": "encoders/image"}
_FILES = ("README.md", "config.json", "feature_spec.json", "metrics.json", "model.safetensors")
_ADAPTER_FILES = {f"{folder}/{name}" for folder in ADAPTER_FOLDERS.values() for name in ADAPTER_FILES}


def verify_hashes(folder: Path) -> str:
    """Check every file of a checkpoint against ``SHA256SUMS``.

    Returns:
        The fingerprint: the sha256 of ``SHA256SUMS``.

    Raises:
        CheckpointError: a file is missing, unlisted in the sums, or has a byte changed; says which.
    """
    listed = read_sums(folder)
    if not set(_FILES) <= set(listed) <= {*_FILES, GOLDEN} | _ADAPTER_FILES:
        raise CheckpointError(
            f"expected {SUMS} to list {', '.join(_FILES)}, and nothing else but {GOLDEN} and the files of encoders' "
            f"adapters; found {', '.join(sorted(listed)) or 'nothing'}"
        )
    return check_sums(folder, listed)

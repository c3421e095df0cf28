"""From a reference to a folder on this machine."""

from __future__ import annotations

import difflib
from pathlib import Path

from adapt.errors import CheckpointError, HubError
from adapt.features.adapted import FILES as ADAPTER_FILES
from adapt.hub.bundled import bundled_entries
from adapt.hub.ref import Reference, parse_reference

WANTED_FILES = [
    *("config.json", "feature_spec.json", "model.safetensors", "metrics.json", "README.md", "SHA256SUMS"),
    "golden.safetensors",
    *(f"encoders/{modality}/{name}" for modality in ("text", "image") for name in ADAPTER_FILES),
]
"""All that is ever fetched of a repository: safetensors, JSON and text."""

_CACHE: str | None = None  # the Hub's own cache, which HF_HOME moves


def resolve(reference: str) -> Path:
    """The folder of a checkpoint, fetched from the Hub if the reference says so.

    Raises:
        CheckpointError: there is no such folder or bundled name; the hint lists the names.
        HubError: the repository cannot be had.
        UsageError: the reference has none of the known forms.
    """
    parsed = parse_reference(reference)
    if parsed.kind == "hub":
        return _download(parsed)
    if parsed.kind == "path":
        folder = Path(parsed.name)
        try:
            there = folder.is_dir()
        except OSError as failure:  # a name too long, or a folder that may not be looked into
            raise CheckpointError(f"expected a checkpoint folder at {folder}, found: {failure.strerror}") from failure
        if not there:
            raise CheckpointError(f"expected a checkpoint folder, found nothing at {folder}", "Check the path.")
        return folder
    folders = {entry.name: Path(entry.path) for entry in bundled_entries() if entry.kind == "checkpoint"}
    if parsed.name not in folders:
        close = difflib.get_close_matches(parsed.name, folders, 1)
        suggestion = f"Did you mean {close[0]}? " if close else ""
        raise CheckpointError(
            f"expected a bundled checkpoint ({', '.join(folders)}) or a folder, found {parsed.name!r}",
            f"{suggestion}A checkpoint on the Hub is named org/name.",
        )
    return folders[parsed.name]


def _download(reference: Reference) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    failures: tuple[type[Exception], ...] = (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError)
    prefix = f"{reference.subfolder}/" if reference.subfolder else ""
    try:
        folder = snapshot_download(
            reference.name,
            revision=reference.revision or None,
            allow_patterns=[prefix + name for name in WANTED_FILES],
            cache_dir=_CACHE,
        )
    except failures + _transport_errors() as failure:
        at = f"@{reference.revision}" if reference.revision else ""
        raise HubError(
            f"expected to fetch {reference.name}{at} from the Hub, found: {_first_line(failure)}",
            f"Check the name, the network and HF_TOKEN; `hf download {reference.name}` shows more.",
        ) from failure
    return Path(folder) / reference.subfolder


def _transport_errors() -> tuple[type[Exception], ...]:
    """What a broken connection raises in a huggingface_hub that stands on httpx; before, it was an ``OSError``."""
    try:
        from httpx import HTTPError
    except ImportError:
        return ()
    return (HTTPError,)


def _first_line(failure: Exception) -> str:
    return next((line for line in str(failure).splitlines() if line.strip()), type(failure).__name__)

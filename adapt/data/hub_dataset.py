"""Data sets of the Hugging Face Hub, brought to a local folder without any guess at the types of ids."""

from __future__ import annotations

import re
from pathlib import Path

from adapt import files
from adapt.errors import DataError, HubError

_ID = re.compile(r"(?:hf://(?:datasets/)?)?([\w.-]+/[\w.-]+)(?:@([\w.\-/]+))?")
_ROWS = 10_000  # that are written at a time
_OURS = ("items.*", "interactions.*", "*.item", "*.inter", "images/**")


def hub_id(text: str) -> tuple[str, str | None] | None:
    """Repository and revision of ``org/name``, ``org/name@revision`` or ``hf://datasets/org/name``; None for others.

    >>> hub_id("hf://datasets/org/shop@v1")
    ('org/shop', 'v1')
    """
    match = _ID.fullmatch(text)
    if match is None or match[1].startswith(("./", "../", "-")):
        return None
    return match[1], match[2]


def fetch(name: tuple[str, str | None], allow_download: bool) -> Path:
    """A local folder or file with the data set.

    Files laid out as a local data set is (``items.csv``, ``interactions.parquet`` ...) are fetched as they are: ids
    stay what was uploaded. Anything else goes through ``datasets`` and its Arrow types, when they are not guessed
    from text.

    Args:
        name: repository and revision.
        allow_download: whether anything may be fetched.

    Raises:
        DataError: nothing may be fetched, or the data set has no form that keeps ids as they are.
        HubError: the Hub could not be reached, or has no such data set.
    """
    repository, revision = name
    if not allow_download:
        raise DataError(
            f"expected a folder or a file, found nothing at {repository}; a Hub data set is only fetched when allowed",
            "Add --allow-download (in Python: allow_download=True) to fetch it from the Hugging Face Hub.",
        )
    import huggingface_hub
    from huggingface_hub.errors import HfHubHTTPError

    try:
        folder = Path(
            huggingface_hub.snapshot_download(
                repository, repo_type="dataset", revision=revision, allow_patterns=list(_OURS)
            )
        )
    except (HfHubHTTPError, OSError, ValueError) as error:
        raise HubError(
            f"expected the Hub data set {repository}, found: {str(error.__cause__ or error).strip()}",
            "Check the name, the network and HF_ENDPOINT; a private one needs `hf auth login`.",
        ) from error
    if any(next(folder.glob(pattern), None) is not None for pattern in _OURS[:4]):
        return folder
    return _through_datasets(repository, revision)


def _through_datasets(repository: str, revision: str | None) -> Path:
    """The train split as one parquet file in the cache; Arrow types are written and read unchanged."""
    import datasets
    from pyarrow import parquet

    try:
        builder = datasets.load_dataset_builder(repository, revision=revision)
        kind = type(builder).__name__.lower()
        if not any(typed in kind for typed in ("parquet", "arrow")):
            raise DataError(
                f"expected parquet files, or items.* at the top of {repository}, found a data set of kind {kind}",
                "Its ids would go through a guess of types (007 -> 7). Download the files and give their path.",
            )
        data = datasets.load_dataset(repository, split="train", revision=revision)
        fingerprint = files.sha256_bytes(f"{repository}@{revision}:{data._fingerprint}".encode())[:16]
    except (OSError, ValueError) as error:
        raise HubError(
            f"expected the Hub data set {repository}, found: {error}", "Check its name and splits."
        ) from error
    target = files.cache_dir() / "hub-datasets" / fingerprint / f"{repository.rsplit('/', 1)[-1]}.parquet"
    if not target.is_file():
        typed = data.with_format("arrow")
        with files.atomic_write(target, "wb") as handle, parquet.ParquetWriter(handle, typed[:0].schema) as writer:
            for table in typed.iter(_ROWS):
                writer.write_table(table)
    return target

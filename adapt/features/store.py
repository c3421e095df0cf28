"""The feature store: each text and each image is encoded once by an encoder, whatever catalog it is in."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from adapt.data.catalog import Catalog
from adapt.data.images import open_image
from adapt.errors import CheckpointError, DataError
from adapt.features.base import Batched, Encoder, FloatArray, PixelEncoder
from adapt.features.decode import decode_batches
from adapt.features.lazy import in_memory, loaded
from adapt.features.shards import KEY_BYTES, ShardFolder
from adapt.files import cache_dir, sha256_file
from adapt.progress import SILENT, Progress

_CHUNK = {"text": 64, "image": 32}
_SHARD_SECONDS = 20.0
_FEW = 64  # texts that a table of token vectors in memory encodes sooner than they are looked up on disk

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Features:
    """One modality of a catalog.

    Attributes:
        values: float32 (items, dim); what the row of an absent item holds does not matter.
        present: bool (items,).
        failures: (catalog row, reason) of what could not be read.
        encoded: number of texts or images that were encoded anew.
        seconds: that it took.
    """

    values: NDArray[np.float32]
    present: NDArray[np.bool_]
    failures: tuple[tuple[int, str], ...]
    encoded: int
    seconds: float


class FeatureStore:
    """A cache of features by encoder identity and content.

    Work is written to disk every 20 seconds, so that an interrupted run continues where it was. A few texts for a
    static encoder that is in memory are encoded at once and not kept.

    Args:
        folder: of the cache; None is ``features`` in :func:`adapt.files.cache_dir`.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or cache_dir() / "features"

    def features(
        self, encoder: Encoder, catalog: Catalog, *, progress: Progress = SILENT, workers: int | None = None
    ) -> Features:
        """The features of every item of a catalog in the encoder's modality.

        Args:
            encoder: what encodes; its identity names the cache.
            catalog: the items.
            progress: told each item encoded.
            workers: processes that decode images; see :func:`adapt.features.decode.decode_batches`.

        Raises:
            OutputError: the cache cannot be written.
        """
        started = time.monotonic()
        given = catalog.text_features if encoder.modality == "text" else catalog.image_features
        if given is not None:
            present = np.asarray(np.isfinite(given).all(axis=1))
            return Features(np.nan_to_num(given, posinf=0.0, neginf=0.0), present, (), 0, time.monotonic() - started)
        shards = ShardFolder(self.folder / encoder.id.replace(":", "-"), encoder.dim)
        if encoder.modality == "text":
            return _texts(encoder, shards, catalog.texts, progress, started)
        return _images(encoder, shards, catalog.images, progress, workers, started)


def _texts(encoder: Encoder, shards: ShardFolder, texts: Sequence[str], progress: Progress, started: float) -> Features:
    rows = [row for row, text in enumerate(texts) if text.strip()]
    # JSON can hold half a character; no tokenizer takes it.
    distinct, inverse = _distinct([texts[row].encode("utf-8", "replace").decode() for row in rows])
    keys = [hashlib.blake2b(text.encode(), digest_size=KEY_BYTES).digest() for text in distinct]
    if len(keys) <= _FEW and encoder.id.startswith("static:") and in_memory(encoder):
        found = encoder.encode(distinct)
        _check(found, len(distinct), encoder.dim)
        return _text_features(texts, rows, found[inverse], len(distinct), started)
    found, known = shards.find(keys)
    todo = np.flatnonzero(~known)
    todo = todo[np.argsort([len(distinct[number]) for number in todo], kind="stable")]  # alike lengths pad little
    if len(todo):
        encoder = loaded(encoder)
    batches = _batches(encoder, todo)

    def encoded() -> Iterator[tuple[NDArray[np.int64], FloatArray]]:
        for batch in batches:
            yield batch, encoder.encode([distinct[number] for number in batch])

    _encode(encoded(), len(todo), shards, keys, found, progress, "texts")
    return _text_features(texts, rows, found[inverse], len(todo), started)


def _text_features(
    texts: Sequence[str], rows: Sequence[int], found: FloatArray, encoded: int, started: float
) -> Features:
    """Features of all texts, of which ``rows`` have those that were found."""
    values = np.zeros((len(texts), found.shape[1]), dtype=np.float32)
    present = np.zeros(len(texts), dtype=bool)
    values[rows] = found
    present[rows] = np.abs(found).sum(axis=1) > 0  # a text in which the encoder knows nothing says nothing
    failures = tuple((row, "the text holds nothing that the encoder knows") for row in rows if not present[row])
    return Features(values, present, failures, encoded, time.monotonic() - started)


def _images(
    encoder: Encoder,
    shards: ShardFolder,
    images: Sequence[tuple[Path, ...]],
    progress: Progress,
    workers: int | None,
    started: float,
) -> Features:
    owners = [row for row, paths in enumerate(images) for _ in paths]
    paths, path_of = _distinct([path for paths in images for path in paths])
    contents, content_of_path = _distinct([_content_key(path) for path in paths])
    content_of = content_of_path[path_of]
    file_of = dict(zip(content_of_path[::-1].tolist(), reversed(paths), strict=True))  # the first file of a content
    keys = [key if isinstance(key, bytes) else bytes(KEY_BYTES) for key in contents]
    reasons = {number: key for number, key in enumerate(contents) if isinstance(key, str)}
    found, known = shards.find(keys)
    todo = np.array([number for number in np.flatnonzero(~known) if number not in reasons], dtype=np.int64)
    unreadable = len(reasons)
    if len(todo):
        encoder = loaded(encoder)
    batches = _batches(encoder, todo)

    def encoded() -> Iterator[tuple[NDArray[np.int64], FloatArray]]:
        files = [[file_of[int(number)] for number in batch] for batch in batches]
        for batch, opened in zip(batches, _load(encoder, files, workers), strict=True):
            bad = {int(n): item for n, item in zip(batch, opened, strict=True) if isinstance(item, str)}
            reasons.update(bad)
            read = [item for item in opened if not isinstance(item, str)]
            if not read:
                vectors = np.zeros((0, encoder.dim), np.float32)
            elif isinstance(encoder, PixelEncoder):
                vectors = encoder.encode_pixels(np.stack(read))
            else:
                vectors = encoder.encode(read)
            yield np.array([n for n in batch if int(n) not in bad], dtype=np.int64), vectors

    _encode(encoded(), len(todo), shards, keys, found, progress, "images")
    values, count = _item_means(found, owners, content_of, set(reasons), len(images))
    failures = tuple(
        (row, reasons[int(number)]) for row, number in zip(owners, content_of, strict=True) if int(number) in reasons
    )
    new = len(todo) - (len(reasons) - unreadable)
    return Features(values, count > 0, failures, new, time.monotonic() - started)


def _item_means(
    found: FloatArray, owners: Sequence[int], contents: NDArray[np.int64], broken: set[int], items: int
) -> tuple[FloatArray, NDArray[np.int64]]:
    """Mean over the readable images of each item, float32 (items, dim), and their number, int64 (items,)."""
    usable = np.array([int(number) not in broken for number in contents], dtype=bool)
    rows, numbers = np.array(owners, dtype=np.int64)[usable], contents[usable]
    count = np.bincount(rows, minlength=items)
    values = np.zeros((items, found.shape[1]), dtype=np.float32)
    np.add.at(values, rows, found[numbers])
    values /= np.maximum(count, 1)[:, None].astype(np.float32)
    return values, count


def _content_key(path: Path) -> bytes | str:
    """The key of a file's bytes, or why they cannot be read."""
    try:
        return bytes.fromhex(sha256_file(path))[:KEY_BYTES]
    except OSError as error:
        return f"expected a readable file, found: {error.strerror or error}: {path}"


def _load(encoder: Encoder, batches: Sequence[Sequence[Path]], workers: int | None) -> Iterator[list[Any]]:
    """Prepared pixels for an encoder that takes them, opened pictures for any other; a string says why not."""
    if isinstance(encoder, PixelEncoder):
        yield from decode_batches(batches, encoder.preprocess, workers)
        return
    for batch in batches:
        opened: list[Any] = []
        for path in batch:
            try:
                opened.append(open_image(path))
            except DataError as error:
                opened.append(error.message)
        yield opened


def _encode(
    encoded: Iterator[tuple[NDArray[np.int64], FloatArray]],
    total: int,
    shards: ShardFolder,
    keys: Sequence[bytes],
    found: FloatArray,
    progress: Progress,
    unit: str,
) -> None:
    """Fill ``found`` and write shards as the vectors come; what came before an interrupt is written too."""
    waiting: list[int] = []
    written = time.monotonic()

    def flush() -> None:
        if waiting:
            shards.add([keys[number] for number in waiting], found[waiting])
            waiting.clear()

    if not total:
        return
    with progress.task(f"encoding {unit}", total, unit) as advance:
        try:
            for numbers, vectors in encoded:
                _check(vectors, len(numbers), found.shape[1])
                found[numbers] = vectors
                waiting.extend(int(number) for number in numbers)
                advance(len(numbers))
                if time.monotonic() - written > _SHARD_SECONDS:
                    flush()
                    written = time.monotonic()
        finally:
            flush()


def _check(vectors: FloatArray, count: int, dim: int) -> None:
    """Nothing that is not a feature vector enters the cache."""
    if vectors.shape != (count, dim) or not np.isfinite(vectors).all():
        raise CheckpointError(
            f"expected {count} finite vectors of width {dim} from the encoder, found shape {vectors.shape}"
            + ("" if np.isfinite(vectors).all() else " with NaN or infinity"),
            "The encoder's weights are damaged, or the device computes wrongly: try --device cpu.",
        )


def _batches(encoder: Encoder, numbers: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    size = encoder.chunk if isinstance(encoder, Batched) else _CHUNK[encoder.modality]
    return [numbers[start : start + size] for start in range(0, len(numbers), size)]


def _distinct(values: list[T]) -> tuple[list[T], NDArray[np.int64]]:
    """The distinct values in order of appearance, and the number of each value among them."""
    numbers: dict[T, int] = {}
    inverse = np.array([numbers.setdefault(value, len(numbers)) for value in values], dtype=np.int64)
    return list(numbers), inverse

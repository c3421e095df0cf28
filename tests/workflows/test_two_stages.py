"""Encoder stage before towers: one recipe, one command, one checkpoint that carries its tuned encoder."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from adapt.data import load_dataset
from adapt.features.base import EncoderSpec
from adapt.features.load import load_encoder
from adapt.hub.format import Checkpoint
from adapt.workflows.embedding import embed_catalog
from adapt.workflows.pretrain import PretrainOptions, PretrainResult, pretrain
from tests.tiny_models import save_bert
from tests.workflows.pretrain_cases import COLOURS, THINGS, write_followers

ENCODER = """
name: tuned
stage: encoder
summary: For tests.
encoders:
  text: {{kind: transformers, modality: text, name: "{bert}", max_length: 12}}
structure: {{power: [0.5], recency: [0.4]}}
objectives: {{batch_size: 32, negatives: 8}}
tuning: {{rank: 4, alpha: 8, window: 3, max_length: 12}}
loop: {{steps: 40, learning_rate: 0.003, evaluate_every: 20, checkpoint_every: 5}}
leave_out: [one+two]
mixtures: [0.5, 1.0]
cases: 120
"""
TOWERS = """
name: towers
summary: For tests.
encoder_recipe: {encoder}
encoders:
  text: {{kind: transformers, modality: text, name: "{bert}", max_length: 12}}
structure_encoders:
  text: {{kind: transformers, modality: text, name: "{bert}", max_length: 12}}
dims: {{text: 16}}
towers: {{shared: 16, width: 16, heads: 2, hidden: 16, max_length: 8}}
structure: {{power: [0.5], recency: [0.4]}}
objectives: {{batch_size: 32, negatives: 32}}
loop: {{steps: 4, learning_rate: 0.01, evaluate_every: 4}}
cases: 60
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[PretrainOptions, PretrainResult]:
    folder = tmp_path_factory.mktemp("stages")
    bert = save_bert(folder / "bert", [*THINGS, *COLOURS], dim=32, layers=2)
    (folder / "encoder.yaml").write_text(ENCODER.format(bert=bert))
    (folder / "towers.yaml").write_text(TOWERS.format(bert=bert, encoder=folder / "encoder.yaml"))
    datasets = tuple(write_followers(folder / name, seed) for seed, name in enumerate(("one", "two", "three")))
    options = PretrainOptions(recipe=str(folder / "towers.yaml"), datasets=datasets, output=str(folder / "run"))
    return options, pretrain(options)


def test_the_encoder_moves_as_far_as_the_left_out_domains_agree(run: tuple[PretrainOptions, PretrainResult]) -> None:
    _, result = run
    metrics = json.loads((result.folder / "metrics.json").read_text())
    encoder = metrics["pretraining"]["text_encoder"]
    assert encoder["trained_on"] == ["one", "two", "three"]
    assert encoder["steps"] > 0  # every domain follows the same rule: it must be learned
    captions = [table["caption"] for table in metrics["left_out"]]
    assert len(captions) >= 3  # the encoder's folds, the structure, the towers' folds
    assert [row[0] for row in metrics["left_out"][0]["rows"]] == ["one", "two"]


def test_the_checkpoint_carries_the_encoder(run: tuple[PretrainOptions, PretrainResult], tmp_path: Path) -> None:
    options, result = run
    moved = shutil.copytree(result.folder, tmp_path / "elsewhere")
    checkpoint = Checkpoint.from_pretrained(str(moved))
    spec = checkpoint.spec.encoders["text"]
    assert spec.id != load_encoder(EncoderSpec(kind="transformers", modality="text", name=spec.name, max_length=12)).id
    assert "encoders/text" in (moved / "feature_spec.json").read_text()
    data = load_dataset(options.datasets[0])
    embedded = embed_catalog(checkpoint, data.catalog)
    expected = embed_catalog(result.checkpoint, data.catalog)
    np.testing.assert_array_equal(embedded.embeddings, expected.embeddings)


def test_resuming_a_finished_run_gives_the_same_encoder(run: tuple[PretrainOptions, PretrainResult]) -> None:
    options, result = run
    before = {path.name: path.read_bytes() for path in (result.folder / "encoders" / "text").iterdir()}

    again = pretrain(replace(options, resume=True))
    assert {path.name: path.read_bytes() for path in (again.folder / "encoders" / "text").iterdir()} == before

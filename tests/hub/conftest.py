"""A small checkpoint without images, quick to make and to write."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from adapt.features.base import EncoderSpec
from adapt.features.normalise import Normalisation, SourceStatistics
from adapt.hub.format import FORMAT_VERSION, Checkpoint, CheckpointConfig, FeatureSpec, build_towers


@pytest.fixture
def checkpoint() -> Checkpoint:
    arguments = {"features": {"text": 8}, "shared": 8, "depth": 1, "width": 8, "heads": 2, "hidden": 8, "max_length": 6}
    torch.manual_seed(0)
    towers = build_towers("content", arguments, "test").eval()
    for parameter in towers.parameters():
        torch.nn.init.normal_(parameter)
    random = np.random.default_rng(0)
    matrix = random.normal(size=(8, 8)).astype(np.float32)
    spec = EncoderSpec(kind="static", modality="text", name="bundled:static-minilm-256", id="static:0", dim=8)
    metrics = {
        "pretraining": {"trained_on": ["a", "b"], "steps": 3, "command": "adapt pretrain"},
        "left_out": [{"caption": "Left out.", "columns": ["domain", "NDCG@10"], "rows": [["a", "0.1"]]}],
        "benchmarks": [
            {
                "caption": "Targets.",
                "columns": ["data set", "NDCG@10"],
                "rows": [["t", "0.2"]],
                "entries": [{"dataset": "t", "model_index": {"ndcg@10": 0.2}}],
                "command": "python benchmark.py",
            }
        ],
    }
    return Checkpoint(
        CheckpointConfig(
            format_version=FORMAT_VERSION, name="tiny", summary="For tests.", architecture="content", towers=arguments
        ),
        FeatureSpec(
            format_version=FORMAT_VERSION, encoders={"text": spec}, normalisation={"text": Normalisation(power=0.5)}
        ),
        towers,
        {"text": SourceStatistics(np.eye(8, dtype=np.float32), matrix[0], matrix @ matrix.T)},
        metrics,
    )


@pytest.fixture
def folder(checkpoint: Checkpoint, tmp_path: Path) -> Path:
    path = tmp_path / "tiny"
    checkpoint.save_pretrained(path)
    return path

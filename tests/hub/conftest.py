"""A small checkpoint without images, quick to make and to write; a fine-tune of one; a Hub on loopback."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from adapt import load_dataset
from adapt.features.base import EncoderSpec
from adapt.features.normalise import Normalisation, SourceStatistics
from adapt.hub.format import FORMAT_VERSION, Checkpoint, CheckpointConfig, FeatureSpec, build_towers
from adapt.workflows.finetune import finetune
from adapt.workflows.run import Run
from tests.tiny_towers import make_tiny
from tests.workflows.finetune_cases import QUICK, write_walkers

from .fake_hub import FakeHub
from .fake_store import Account

TOKEN = "hf_" + "Token4Tests" * 3


def target(name: str, setting: str, ours: float, best: float) -> dict[str, object]:
    """The figures of the checkpoint ``tiny`` and two baselines on a target."""
    figures = {"tiny": ours, "content-kNN raw": best, "popularity": best / 2}
    return {
        "target": name,
        "setting": setting,
        "users": 1200,
        "methods": {method: {"recall@10": 2 * ndcg, "ndcg@10": ndcg} for method, ndcg in figures.items()},
        "best_baseline": "content-kNN raw",
        "change_percent": round(100 * (ours / best - 1), 2),
        "difference_95": [0.01, 0.19],
    }


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
        "pretraining": {"trained_on": ["a", "b"], "steps": 3, "licences": ["Free."], "notes": ["A note."]},
        "left_out": [{"caption": "Left out.", "columns": ["domain", "NDCG@10"], "rows": [["a", "0.1"]]}],
        "run": {"command": "adapt pretrain", "date": "2026-01-02", "machine": "abacus, 2 cores", "seconds": 600},
        "targets": {
            "caption": "Targets.",
            "command": "python benchmark.py",
            "results": [target("t", "text", 0.2, 0.1), target("t", "both", 0.3, 0.25)],
        },
        "benchmarks": [{"caption": "Others.", "columns": ["x"], "rows": [["0.7"]]}],
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


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """A Hub on loopback for this process: an empty cache, and the token of somebody who may write to ``org/``."""
    with loopback_hub(tmp_path, monkeypatch) as fake:
        yield fake


@contextlib.contextmanager
def loopback_hub(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """See :func:`hub`; the cache is below ``home``."""
    from huggingface_hub import constants

    with FakeHub().running() as fake:
        fake.accounts[TOKEN] = Account("me", ("org",))
        template = fake.endpoint + "/{repo_id}/resolve/{revision}/{filename}"
        for name, value in {
            "ENDPOINT": fake.endpoint,
            "HUGGINGFACE_CO_URL_TEMPLATE": template,
            "HF_HUB_OFFLINE": False,
            "HF_HUB_DISABLE_XET": True,
            "DOWNLOAD_CHUNK_SIZE": 1 << 14,
            "HF_HUB_CACHE": str(home / "hub-cache" / "hub"),
            "HF_TOKEN_PATH": str(home / "hub-cache" / "token"),
        }.items():
            monkeypatch.setattr(constants, name, value)
        for name, value in fake.environment(home / "hub-cache", TOKEN).items():
            monkeypatch.setenv(name, value)
        impatient = SimpleNamespace(**{**vars(time), "sleep": lambda _: None})  # no waiting between attempts
        for module in ("file_download", "utils._http"):
            monkeypatch.setattr(f"huggingface_hub.{module}.time", impatient)
        yield fake


@pytest.fixture(scope="session")
def walk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set whose users follow one another's steps."""
    return Path(write_walkers(tmp_path_factory.mktemp("walk") / "walk"))


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small checkpoint in a folder of this machine."""
    folder = tmp_path_factory.mktemp("base") / "tiny"
    make_tiny().save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def run(walk: Path, base: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A fine-tune of it."""
    checkpoint = Checkpoint.from_pretrained(str(base))
    return finetune(
        checkpoint, load_dataset(walk), QUICK, tmp_path_factory.mktemp("runs") / "walk", reference=str(base)
    )


@pytest.fixture
def commit(hub: FakeHub, base: Path) -> str:
    """The small checkpoint, shared."""
    return hub.put("org/tiny", base)

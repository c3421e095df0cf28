"""Tuning a transformer by LoRA: it starts as the encoder, learns what belongs together, and moves nothing else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from adapt import lora
from adapt.features.normalise import Normalisation
from adapt.features.transformers import TransformersEncoder, load_transformers
from adapt.seeds import generator
from adapt.train.loop import LoopOptions, run_loop
from adapt.train.sources import PretrainingSource, RawFeatures, prepare_source
from adapt.train.transformer_tuning import TokenisedSource, TransformerTuning, TunedTransformer, tokenised
from tests.tiny_models import save_bert

THINGS = ("anchor", "violin", "tractor", "pepper", "helmet", "candle")
COLOURS = ("red", "blue", "green", "black", "white")
TEXTS = [f"{colour} {thing}" for thing in THINGS for colour in COLOURS]
SETTINGS = Normalisation(power=0.5, prior_count=32.0)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> TransformersEncoder:
    """A small BERT with random, but saved, weights."""
    folder = save_bert(tmp_path_factory.mktemp("bert"), [*THINGS, *COLOURS], dim=32, layers=2, positions=16)
    return load_transformers(folder)


def make_source(encoder: TransformersEncoder, ordered: bool = True) -> PretrainingSource:
    """Users who after one thing take its partner, in any colour: nothing that untuned words say."""
    random = generator(0)
    histories = []
    for _ in range(200):
        thing = int(random.integers(len(THINGS)))
        histories.append([part * len(COLOURS) + int(random.integers(len(COLOURS))) for part in (thing, thing ^ 1)])
    features = {"text": RawFeatures(encoder.encode(TEXTS), np.ones(len(TEXTS), dtype=bool))}
    flat = np.array(histories, dtype=np.int32).ravel()
    offsets = np.arange(0, 2 * 200 + 1, 2, dtype=np.int64)
    return prepare_source("pairs", features, offsets, flat, ordered=ordered, cases=200, seed=0)


def make_tokens(encoder: TransformersEncoder, ordered: bool = True) -> TokenisedSource:
    return tokenised(encoder, TEXTS, make_source(encoder, ordered), SETTINGS, 8)


def make_task(encoder: TransformersEncoder, tokens: TokenisedSource) -> TransformerTuning:
    torch.manual_seed(0)
    module = TunedTransformer(encoder, 4, 8.0, 0.4, 0.1)
    return TransformerTuning(module, [tokens], 16, 4, 4, 0, SETTINGS, 0.4)


def test_it_starts_as_the_whitened_encoder(encoder: TransformersEncoder) -> None:
    tokens = make_tokens(encoder)
    module = make_task(encoder, tokens).module.train()
    values = F.normalize(torch.from_numpy(encoder.encode(TEXTS)), dim=-1)
    expected = F.normalize((values - tokens.mean) @ tokens.matrix, dim=-1)
    rows = [7, 3, 29, 3]
    torch.testing.assert_close(module.embed(tokens, rows), expected[rows], atol=1e-5, rtol=0)


@pytest.mark.parametrize("ordered", [True, False])
def test_it_learns_what_belongs_together(encoder: TransformersEncoder, tmp_path: Path, ordered: bool) -> None:
    task = make_task(encoder, make_tokens(encoder, ordered))
    task.left_out, task.mixtures = [replace(make_tokens(encoder))], (0.0, 1.0)
    task.batch_size = 64
    run_loop(task, LoopOptions(steps=60, learning_rate=0.003, evaluate_every=60), tmp_path, device="cpu")
    (found,) = task.measured
    assert found["pairs"][1.0]["text"].mean() > found["pairs"][0.0]["text"].mean() + 0.1


def test_only_the_adapter_moves_and_the_encoder_stays_as_it_was(encoder: TransformersEncoder, tmp_path: Path) -> None:
    before = encoder.encode(TEXTS)
    task = make_task(encoder, make_tokens(encoder))
    start = {name: value.clone() for name, value in task.module.state_dict().items()}
    run_loop(task, LoopOptions(steps=3, learning_rate=0.02), tmp_path, device="cpu")
    moved = {name for name, value in task.module.state_dict().items() if not torch.equal(value, start[name])}
    assert any("lora_B" in name for name in moved)
    assert all("lora_" in name or name in ("log_recency", "log_temperature") for name in moved)
    np.testing.assert_array_equal(encoder.encode(TEXTS), before)


def test_an_item_is_no_negative_where_the_user_has_it_already(encoder: TransformersEncoder) -> None:
    tokens = make_tokens(encoder)
    task = make_task(encoder, tokens)
    batch = task.batch(0, 0, 1, torch.device("cpu"))
    embedded = task.module.embed(tokens, batch.rows).detach()
    temperature = task.module.log_temperature.exp().item()
    losses = []
    for window in batch.windows.tolist():
        items = [item for item in window if item >= 0]
        for place in range(1, len(items)):
            weights = torch.tensor([np.exp(-0.4 * (place - 1 - age)) for age in range(place)], dtype=torch.float32)
            user = F.normalize(weights @ embedded[items[:place]], dim=-1)
            logits = user @ embedded.T / temperature - batch.log_q
            keep = [c for c in range(len(embedded)) if c not in items[:place] or c == items[place]]
            losses.append(F.cross_entropy(logits[keep], torch.tensor(keep.index(items[place]))).item())
    assert task.module(batch)["total"].item() == pytest.approx(np.mean(losses), rel=1e-4)


def test_the_same_seed_gives_the_same_adapter(encoder: TransformersEncoder, tmp_path: Path) -> None:
    found = []
    for name in ("one", "two"):
        task = make_task(encoder, make_tokens(encoder))
        run_loop(task, LoopOptions(steps=4, learning_rate=0.02), tmp_path / name, device="cpu")
        found.append({key: value.clone() for key, value in task.module.state_dict().items() if "lora_" in key})
    assert all(torch.equal(value, found[1][key]) for key, value in found[0].items())


def test_a_mixture_is_that_part_of_the_way(encoder: TransformersEncoder, tmp_path: Path) -> None:
    tokens = make_tokens(encoder)
    task = make_task(encoder, tokens)
    run_loop(task, LoopOptions(steps=5, learning_rate=0.02), tmp_path, device="cpu")
    plain = task.module.embed(tokens, [0, 1]).detach()
    with lora.scaled(task.module.model, 0.0):
        start = task.module.embed(tokens, [0, 1]).detach()
    with lora.scaled(task.module.model, 0.5):
        half = task.module.embed(tokens, [0, 1]).detach()
    torch.testing.assert_close(task.module.embed(tokens, [0, 1]).detach(), plain)
    assert 0 < (half - start).norm() < (plain - start).norm()

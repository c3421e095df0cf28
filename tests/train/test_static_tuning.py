"""Tuning a static table: it learns which words belong together, the same way on every run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from adapt.features.normalise import Normalisation
from adapt.features.static import StaticEncoder, load_static
from adapt.files import bundled
from adapt.seeds import generator
from adapt.train.loop import LoopOptions, run_loop
from adapt.train.sources import PretrainingSource, RawFeatures, prepare_source
from adapt.train.static_tuning import StaticTuning, TunedTable, token_lists

THINGS = ("anchor", "violin", "tractor", "pepper", "helmet", "candle")
COLOURS = ("red", "blue", "green", "black", "white")
TEXTS = [f"{colour} {thing}" for thing in THINGS for colour in COLOURS]
SETTINGS = Normalisation(power=0.5, prior_count=32.0)


@pytest.fixture(scope="module")
def encoder() -> StaticEncoder:
    return load_static(bundled("pretrained") / "static-minilm-256")


def make_source(encoder: StaticEncoder, ordered: bool = True) -> PretrainingSource:
    """Users who like one colour, whatever the thing: the opposite of what the untuned words say."""
    random = generator(0)
    histories = []
    for _ in range(120):
        colour = int(random.integers(len(COLOURS)))
        histories.append([thing * len(COLOURS) + colour for thing in random.permutation(len(THINGS))[:5]])
    offsets = np.arange(0, 5 * 120 + 1, 5, dtype=np.int64)
    values = encoder.encode(TEXTS)
    features = {"text": RawFeatures(values, np.ones(len(TEXTS), dtype=bool))}
    flat = np.array(histories, dtype=np.int32).ravel()
    return prepare_source("colours", features, offsets, flat, ordered=ordered, cases=120, seed=0)


def make_task(encoder: StaticEncoder, source: PretrainingSource) -> StaticTuning:
    return StaticTuning(
        module=TunedTable(encoder.table, 0.4, 0.1),
        sources=[token_lists(encoder, TEXTS, source, SETTINGS)],
        batch_size=32,
        length=6,
        seed=0,
        encoder=encoder,
        settings=SETTINGS,
        recency=0.4,
    )


def test_the_item_embeddings_start_as_the_encoders_whitened_features(encoder: StaticEncoder) -> None:
    source = make_source(encoder)
    lists = token_lists(encoder, TEXTS, source, SETTINGS)
    embedded = lists.embed(torch.from_numpy(encoder.table), torch.arange(len(TEXTS))).numpy()
    white = (encoder.encode(TEXTS) - lists.mean.numpy()) @ lists.matrix.numpy()
    np.testing.assert_allclose(embedded, white / np.linalg.norm(white, axis=1, keepdims=True), atol=1e-4)


@pytest.mark.parametrize("ordered", [True, False])
def test_it_learns_what_belongs_together(encoder: StaticEncoder, tmp_path: Path, ordered: bool) -> None:
    source = make_source(encoder, ordered)
    task = make_task(encoder, source)
    other = make_source(encoder)
    before = task.measure(encoder.table, other, TEXTS).mean()
    options = LoopOptions(steps=40, learning_rate=0.02, weight_decay=0.0, clip=100.0)
    run_loop(task, options, tmp_path, device="cpu")
    assert task.measure(task.module.table.detach().numpy(), other, TEXTS).mean() > before + 0.2


def test_only_rows_of_tokens_that_occur_move(encoder: StaticEncoder, tmp_path: Path) -> None:
    task = make_task(encoder, make_source(encoder))
    run_loop(task, LoopOptions(steps=3, learning_rate=0.02, weight_decay=0.0), tmp_path, device="cpu")
    moved = np.abs(task.module.table.detach().numpy() - encoder.table).sum(axis=1) > 0
    tokens = {token for text in TEXTS for token in encoder.tokenizer.encode(text, add_special_tokens=False).ids}
    assert set(np.flatnonzero(moved)) <= tokens
    assert moved.any()


def test_the_same_seed_gives_the_same_table(encoder: StaticEncoder, tmp_path: Path) -> None:
    tables = []
    for name in ("one", "two"):
        task = make_task(encoder, make_source(encoder))
        run_loop(task, LoopOptions(steps=4, learning_rate=0.02), tmp_path / name, device="cpu")
        tables.append(task.module.table.detach().clone())
    assert torch.equal(*tables)


def test_a_mixture_of_zero_measures_the_untuned_table(encoder: StaticEncoder, tmp_path: Path) -> None:
    task = replace(make_task(encoder, make_source(encoder)))
    other = make_source(encoder)
    task.left_out, task.mixtures = [(other, TEXTS)], (0.0, 1.0)
    run_loop(task, LoopOptions(steps=4, learning_rate=0.05, evaluate_every=4), tmp_path, device="cpu")
    (found,) = task.measured
    np.testing.assert_array_equal(found["colours"][0.0]["text"], task.measure(encoder.table, other, TEXTS))

"""What is held back of a pretraining source: chosen by id, and nothing is learned from it."""

from __future__ import annotations

import hashlib

import numpy as np

from adapt.data.batches import SequenceSampler
from adapt.features.normalise import Normalisation
from adapt.train.sources import (
    PretrainingSource,
    RawFeatures,
    held_back,
    normalised,
    prepare_source,
    statistics_of,
    without,
)

IDS = [f"item {number}" for number in range(60)]


def test_held_back_items_depend_on_their_ids_alone() -> None:
    held = held_back(IDS, 20)
    assert held.sum() == 20
    order = np.random.default_rng(0).permutation(len(IDS))
    assert (held_back([IDS[row] for row in order], 20) == held[order]).all()
    assert (held_back(IDS, 10) <= held).all()
    largest = max(hashlib.sha256(IDS[row].encode()).hexdigest() for row in np.flatnonzero(held))
    assert all(hashlib.sha256(IDS[row].encode()).hexdigest() > largest for row in np.flatnonzero(~held))


def test_none_and_more_than_all_can_be_held_back() -> None:
    assert not held_back(IDS, 0).any()
    assert held_back(IDS, 100).all()


def make_source(values: np.ndarray) -> PretrainingSource:
    random = np.random.default_rng(1)
    features = {"text": RawFeatures(values, np.ones(len(IDS), dtype=bool))}
    offsets = np.arange(0, 20 * 8 + 1, 8, dtype=np.int64)
    items = random.integers(len(IDS), size=20 * 8).astype(np.int32)
    kept = without(features, held_back(IDS, 20))
    return prepare_source("things", kept, offsets, items, ordered=True, cases=50, seed=0)


def test_nothing_is_learned_from_what_is_held_back() -> None:
    values = np.random.default_rng(2).normal(size=(len(IDS), 6)).astype(np.float32)
    held = held_back(IDS, 20)
    other = values.copy()
    other[held] = 100.0
    results = []
    for features in (values, other):
        source = make_source(features)
        statistics = statistics_of([source], {})
        results.append((statistics["text"], normalised(source, statistics, {"text": Normalisation()}).values["text"]))
    (first, items), (second, same) = results
    assert np.array_equal(first.mean, second.mean)
    assert np.array_equal(first.covariance, second.covariance)
    assert np.array_equal(items.numpy(), same.numpy())


def test_held_back_items_are_no_candidates_targets_or_history() -> None:
    source = make_source(np.ones((len(IDS), 6), dtype=np.float32))
    held = set(np.flatnonzero(held_back(IDS, 20)).tolist())
    sampler = SequenceSampler([source.histories], batch_size=8, max_length=8, negatives=64)
    drawn = np.concatenate([sampler.batch(step).rows for step in range(20)])
    assert len(set(drawn.tolist())) == len(IDS) - len(held)
    assert not held & set(drawn.tolist())
    assert len(source.targets)
    assert not held & {*source.targets.tolist(), *np.concatenate(source.known).tolist()}

"""How modalities go together, chosen by leaving sources out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from adapt.errors import UsageError
from adapt.features.normalise import unit
from adapt.model.content import ContentTowers
from adapt.seeds import generator
from adapt.train.records import read_record, write_record
from adapt.train.sources import PretrainingSource, RawFeatures, prepare_source, statistics_of
from adapt.train.structure import Structure, StructureGrid, StructureSearch, pack_structure, unpack_structure

ITEMS, GROUPS, WIDTH = 120, 6, 8


def make_source(name: str, seed: int) -> PretrainingSource:
    """Users stay within a group; texts tell the groups apart and pictures are noise."""
    random = generator(seed)
    centres = generator(99).normal(size=(GROUPS, WIDTH))
    texts = centres[np.arange(ITEMS) % GROUPS] + 0.3 * random.normal(size=(ITEMS, WIDTH))
    pictures = random.normal(size=(ITEMS, WIDTH))
    present = np.ones(ITEMS, dtype=bool)
    features = {
        "text": RawFeatures(texts.astype(np.float32), present),
        "image": RawFeatures(pictures.astype(np.float32), present),
    }
    groups = np.arange(100) % GROUPS
    items = np.concatenate([group + GROUPS * random.permutation(ITEMS // GROUPS)[:6] for group in groups])
    offsets = np.arange(0, 601, 6, dtype=np.int64)
    return prepare_source(name, features, offsets, items.astype(np.int32), ordered=True, cases=100, seed=0)


def make_search(slack: bool) -> StructureSearch:
    sources = [make_source("one", 0), make_source("two", 1)]
    statistics = statistics_of(sources, {})

    def build() -> ContentTowers:
        widths = {name: part.dim for name, part in statistics.items()}
        private = {"image": WIDTH}
        return ContentTowers(widths, WIDTH, private, 1, 8, 2, 8, landmarks={"image": 60}, slack=slack)

    return StructureSearch(sources, statistics, build, 16.0)


GRID = StructureGrid(power=[0.5], recency=[0.3], weight=[0.1], shared=[0.3], alone=[1.0, 0.3])


def test_pictures_that_say_nothing_are_worth_less_alone() -> None:
    search = make_search(slack=True)
    structure, choices = search.run(GRID)
    assert structure.alone == {"image": 0.3}
    scores = choices[-1].scores
    assert scores[0.1, 0.3, 0.3]["one", "mixed"] > scores[0.1, 0.3, 1.0]["one", "mixed"]
    towers = search.towers(structure, search.items(structure))
    assert (float(towers.alone["image"]), float(towers.alone["text"])) == pytest.approx((0.3, 1.0))


def test_shorter_items_need_slack() -> None:
    with pytest.raises(UsageError, match="slack"):
        make_search(slack=False).run(GRID)
    structure, _ = make_search(slack=False).run(replace(GRID, alone=[1.0]))
    assert structure.alone == {"image": 1.0}


def test_a_structure_comes_back_from_its_record(tmp_path: Path) -> None:
    structure = Structure({"text": 0.5}, 0.2, {"image": 0.1}, {"image": 0.7}, {"image": 0.5})
    write_record(tmp_path / "structure.json", pack_structure((structure, [])))
    assert unpack_structure(read_record(tmp_path / "structure.json")) == (structure, [])


def test_a_sketch_that_says_nothing_gets_a_small_share() -> None:
    sources = [make_source("one", 0), make_source("two", 1)]
    for number, source in enumerate(sources):
        texts = source.features["text"]
        noise = generator(number).normal(size=(ITEMS, 4)).astype(np.float32)
        values = np.concatenate([unit(texts.values), unit(noise)], axis=1) * np.float32(0.5**0.5)
        sources[number] = replace(source, features={"text": RawFeatures(values, texts.present)})

    def build() -> ContentTowers:
        return ContentTowers({"text": WIDTH + 4}, WIDTH + 4, {}, 1, 8, 2, 8)

    search = StructureSearch(sources, statistics_of(sources, {}), build, 16.0, {"text": 4})
    structure, choices = search.run(replace(GRID, sketch=[0.1, 0.9]))
    assert choices[1].names == ("sketch",)
    assert structure.sketch == 0.1
    assert search.normalisation(structure)["text"].sketch_weight == 0.1

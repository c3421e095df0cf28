"""The benchmarks of scale: the generator gives the same data set for the same seed, and readers are compared on it."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from adapt.data import load_dataset

FOLDER = Path(__file__).resolve().parents[2] / "recipes" / "benchmarks"


@pytest.fixture
def benchmarks(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[ModuleType, ModuleType]]:
    monkeypatch.syspath_prepend(str(FOLDER))
    yield importlib.import_module("scale_data"), importlib.import_module("data_check")
    for name in ("scale_data", "data_check"):
        sys.modules.pop(name, None)


def test_a_seed_gives_one_data_set(tmp_path: Path, benchmarks: tuple[ModuleType, ModuleType]) -> None:
    scale, _ = benchmarks
    for name, form, seed in (("a", "csv", 1), ("b", "csv", 1), ("c", "parquet", 1), ("d", "csv", 2)):
        scale.make(tmp_path / name, items=5000, interactions=20_000, users=900, form=form, seed=seed)
    first, again, other = ((tmp_path / name / "interactions.csv").read_bytes() for name in "abd")
    assert first == again != other
    data, typed = load_dataset(tmp_path / "a"), load_dataset(tmp_path / "c")
    assert data.catalog.texts == typed.catalog.texts
    assert data.interactions is not None
    assert typed.interactions is not None
    assert np.array_equal(data.interactions.items, typed.interactions.items)
    assert (len(data.catalog), data.interactions.n_users, len(data.interactions)) == (5000, 900, 20_000)
    assert not data.report.problems


def test_places_in_a_category_can_be_undone(benchmarks: tuple[ModuleType, ModuleType]) -> None:
    shop = benchmarks[0].Shop(9000, 0)
    items = np.arange(9000)
    category, number = shop.place(items)
    assert np.array_equal(shop.item(category, number), items)
    assert (number < shop.sizes[category]).all()
    assert len(np.unique(benchmarks[0].mixed(items))) == 9000


def test_popular_items_take_most(benchmarks: tuple[ModuleType, ModuleType]) -> None:
    table = next(benchmarks[0].Shop(5000, 0).interactions(50_000, 5000))
    counts = np.sort(np.unique(table["item_id"].to_numpy(zero_copy_only=False), return_counts=True)[1])[::-1]
    assert counts[:250].sum() > 0.2 * counts.sum()  # a fifth goes to a twentieth of the items
    lengths = np.unique(table["user_id"].to_numpy(zero_copy_only=False), return_counts=True)[1]
    assert lengths.min() >= 1
    assert np.median(lengths) < lengths.mean()  # a long tail


def test_readers_are_compared(benchmarks: tuple[ModuleType, ModuleType], capsys: pytest.CaptureFixture[str]) -> None:
    assert benchmarks[1].main(["--largest", "1000", "--rounds", "1"]) == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert [(row["items"], row["form"]) for row in result["rows"]] == [(1000, "csv"), (1000, "parquet")]
    assert all(row["interactions_vs_pyarrow"] > 0 and row["adapt_peak_mb"] > 0 for row in result["rows"])

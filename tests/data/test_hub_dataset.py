from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from adapt.data import load_dataset
from adapt.data.hub_dataset import fetch
from adapt.errors import DataError, HubError
from tests.data.conftest import MakeData


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], dict[str, Any]]:
    """A function that makes a folder what the Hub returns; it gives back what was asked for."""
    import huggingface_hub

    asked: dict[str, Any] = {}

    def serve(folder: Path) -> dict[str, Any]:
        def download(repository: str, **options: Any) -> str:
            asked.update(options, repository=repository)
            return str(folder)

        monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
        return asked

    return serve


def test_nothing_is_fetched_unless_allowed() -> None:
    with pytest.raises(DataError, match="only fetched when allowed") as caught:
        load_dataset("some-org/some-shop")
    assert "--allow-download" in caught.value.hint


@pytest.mark.parametrize("reference", ["org/name@v2", "hf://datasets/org/name@v2", "hf://org/name@v2"])
def test_files_laid_out_as_ours_are_read_as_they_are(
    make_data: MakeData, hub: Callable[[Path], dict[str, Any]], reference: str
) -> None:
    asked = hub(make_data({"items.csv": "item_id,title\n007,A\n"}))
    data = load_dataset(reference, allow_download=True)
    assert data.catalog.ids == ("007",)
    assert (asked["repository"], asked["revision"], asked["repo_type"]) == ("org/name", "v2", "dataset")


def test_an_unreachable_hub_is_a_hub_error(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    def fail(*_: Any, **__: Any) -> str:
        raise OSError("no route to host")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fail)
    with pytest.raises(HubError, match="no route to host"):
        load_dataset("org/name", allow_download=True)


def test_other_data_sets_go_through_arrow_types_or_not_at_all(
    tmp_path: Path, hub: Callable[[Path], dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    (tmp_path / "empty").mkdir()
    hub(tmp_path / "empty")
    typed, guessed = tmp_path / "typed", tmp_path / "guessed"
    typed.mkdir()
    guessed.mkdir()
    pq.write_table(pa.table({"item_id": ["007", "NA"], "title": ["A", "B"]}), typed / "train-0.parquet")
    (guessed / "train.csv").write_text("item_id,title\n007,A\n")
    assert load_dataset(fetch((str(typed), None), allow_download=True)).catalog.ids == ("007", "NA")
    with pytest.raises(DataError, match="kind csv"):
        fetch((str(guessed), None), allow_download=True)

from __future__ import annotations

import datetime
import decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from adapt.data import ColumnOptions, check_dataset, load_dataset
from adapt.errors import DataError
from tests.data.conftest import MakeData, kinds, problem


def parquet(folder: Path, name: str = "items.parquet", **columns: Any) -> Path:
    folder.mkdir(exist_ok=True)
    pq.write_table(pa.table(columns), folder / name)
    return folder / name


@pytest.mark.parametrize(
    ("values", "ids"),
    [
        (pa.array([7, 2**62 + 1], pa.int64()), ("7", str(2**62 + 1))),
        (pa.array([7, 2**64 - 1], pa.uint64()), ("7", str(2**64 - 1))),
        (pa.array(["007", "NA"]), ("007", "NA")),
        (pa.array(["007", "NA"], pa.large_string()), ("007", "NA")),
        (pa.array(["007", "NA"]).dictionary_encode(), ("007", "NA")),
        (pa.array([b"007", b"NA"]), ("007", "NA")),
        (pa.array([decimal.Decimal("7"), decimal.Decimal("12345678901234567890")]), ("7", "12345678901234567890")),
        (pa.array([7.0, 8.0]), ("7", "8")),
    ],
)
def test_parquet_ids_become_exact_text(tmp_path: Path, values: Any, ids: tuple[str, ...]) -> None:
    assert load_dataset(parquet(tmp_path, item_id=values, title=["A", "B"])).catalog.ids == ids


def test_parquet_ids_that_are_fractions_are_refused(tmp_path: Path) -> None:
    path = parquet(tmp_path, item_id=[1.0, 1.5], title=["A", "B"])
    with pytest.raises(DataError, match=r"row 2: .*1\.5"):
        load_dataset(path)


def test_integer_ids_of_parquet_meet_text_ids_of_csv(make_data: MakeData) -> None:
    folder = make_data({"interactions.csv": "user_id,item_id\nu,12\nu,7\n"})
    parquet(folder, item_id=[7, 12], title=["A", "B"])
    interactions = load_dataset(folder).interactions
    assert interactions is not None
    assert interactions.items.tolist() == [1, 0]


def test_parquet_timestamps_and_dates(tmp_path: Path) -> None:
    moment = datetime.datetime(2024, 5, 1, 12, tzinfo=datetime.timezone.utc)
    for kind, values in ((pa.timestamp("ms", "UTC"), [moment]), (pa.timestamp("ns"), [moment.replace(tzinfo=None)])):
        folder = tmp_path / str(kind)[:12].replace("[", "")
        parquet(folder, item_id=["a"], title=["A"])
        parquet(folder, "interactions.parquet", user_id=["u"], item_id=["a"], timestamp=pa.array(values, kind))
        interactions = load_dataset(folder).interactions
        assert interactions is not None
        assert interactions.timestamps is not None
        assert interactions.timestamps.tolist() == [moment.timestamp()]


def test_parquet_problems_name_the_row(tmp_path: Path) -> None:
    report = check_dataset(parquet(tmp_path, item_id=["a", None, "c"], title=["A", "B", ""], price=[1.5, None, 2]))
    assert problem(report, "empty-id").examples[0].message.startswith("row 2: ")
    assert problem(report, "no-modality").examples[0].message.startswith("row 3: ")
    assert report.text_template == ("title",)


def test_a_broken_parquet_file_is_reported(make_data: MakeData) -> None:
    report = check_dataset(make_data({"items.parquet": b"PAR1 no, not really"}))
    assert problem(report, "unreadable").examples[0].file == "items.parquet"


def test_lists_in_parquet_are_images_text_and_vectors(make_data: MakeData) -> None:
    folder = make_data({"images/a.png": b"", "images/b.png": b""})
    vectors = pa.array([[1.0, 2.0], None], pa.list_(pa.float32()))
    parquet(
        folder,
        item_id=["1", "2"],
        image=[["images/a.png", "images/b.png"], []],
        category=[["Camping", "Tents"], ["Kitchen"]],
        clip=vectors,
    )
    data = load_dataset(folder, columns=ColumnOptions(image_features=Path("clip")))
    assert [path.name for path in data.catalog.images[0]] == ["a.png", "b.png"]
    assert data.catalog.texts == ("Camping, Tents", "Kitchen")
    assert data.catalog.image_features is not None
    assert data.catalog.image_features[0].tolist() == [1.0, 2.0]
    assert np.isnan(data.catalog.image_features[1]).all()
    assert data.report.with_image == 1
    assert "unused-features" in kinds(check_dataset(folder))


def test_images_inside_a_table_are_reported(tmp_path: Path) -> None:
    image = pa.array([{"bytes": b"x", "path": "a.png"}])
    report = check_dataset(parquet(tmp_path, item_id=["a"], title=["A"], image=image))
    assert problem(report, "image-embedded").count == 1
    assert report.with_image == 0


def test_json_numbers_keep_their_digits(make_data: MakeData) -> None:
    lines = [
        '\ufeff{"item_id": 7, "title": "A"}',
        "",
        '{"title": "B", "item_id": "007"}',
        '{"item_id": 1e5, "title": null, "tags": ["x", "y"]}',
    ]
    catalog = load_dataset(make_data({"items.jsonl": "\n".join(lines)})).catalog
    assert catalog.ids == ("7", "007", "1e5")
    assert catalog.texts == ("A", "B", "x, y")
    assert catalog.columns["tags"] == ("", "", "x|y")


def test_json_lines_that_are_no_objects_are_named(make_data: MakeData) -> None:
    lines = '{"item_id": "a", "title": "A"}\n{"item_id": "b"\n[1]\n{"item_id": "\\ud800", "title": "B"}\n'
    report = check_dataset(make_data({"items.jsonl": lines}))
    assert [example.line for example in problem(report, "bad-json").examples] == [2, 3, 4]
    assert not report.usable


def test_features_from_an_npy_file_follow_the_rows(make_data: MakeData) -> None:
    folder = make_data({"items.csv": "item_id,price\na,1\nb,2\na,1\nc,3\n"})
    values = np.array([[1, 1], [2, 2], [1, 1], [np.nan, np.nan]], dtype=np.float64)
    np.save(folder / "text.npy", values)
    data = load_dataset(folder, columns=ColumnOptions(text_features=Path("text.npy")))
    assert data.catalog.text_features is not None
    assert data.catalog.text_features.dtype == np.float32
    assert data.catalog.text_features[:2].tolist() == [[1, 1], [2, 2]]
    assert (data.report.with_text, data.report.with_neither) == (2, 1)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (np.zeros((3, 2)), "(2, dimension)"),
        (np.zeros(2), "(2, dimension)"),
        (np.array([[1.0, np.nan], [1.0, 1.0]]), "row 1"),
        (np.array([["a"], ["b"]]), "numbers"),
        (np.array([[{}], [{}]], dtype=object), "numbers"),
    ],
)
def test_features_that_do_not_fit_are_refused(make_data: MakeData, values: Any, words: str) -> None:
    folder = make_data({"items.csv": "item_id,title\na,A\nb,B\n"})
    np.save(folder / "x.npy", values, allow_pickle=True)
    report = check_dataset(folder, columns=ColumnOptions(text_features=folder / "x.npy"))
    assert words in problem(report, "bad-features").examples[0].message

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from adapt.data import ColumnOptions, check_dataset, load_dataset
from adapt.data.load import look
from adapt.errors import DataError
from tests.data.conftest import MakeData, problem


def test_a_folder_is_read_whole(make_data: MakeData) -> None:
    folder = make_data(
        {
            "items.jsonl": "".join(f'{{"item_id": "{item}", "title": "T"}}\n' for item in "abc"),
            "interactions.tsv": "user_id\titem_id\ttimestamp\nu\ta\t1714564800\nu\tb\t1714564900\nv\tc\t1714564700\n",
        }
    )
    data = load_dataset(str(folder) + "/")
    report = data.report
    assert (data.name, data.root) == ("shop", folder.resolve())
    assert (report.items, report.users, report.interactions) == (3, 2, 3)
    assert report.files == ("items.jsonl", "interactions.tsv")
    assert report.time_span == (1714564700.0, 1714564900.0)
    assert report.history_lengths is not None
    assert (report.history_lengths.min, report.history_lengths.mean, report.history_lengths.max) == (1, 1.5, 2)
    assert json.loads(json.dumps(report.to_dict()))["usable"] is True
    assert report.problems == ()


def test_what_is_not_there_is_an_error(tmp_path: Path) -> None:
    for action in (load_dataset, check_dataset):
        with pytest.raises(DataError, match="found nothing at"):
            action(tmp_path / "absent")


@pytest.mark.parametrize(
    ("files", "kind", "words"),
    [
        ({"notes.txt": "x"}, "no-files", "found notes.txt"),
        ({"products.csv": "id,title\n1,A\n"}, "no-files", "items.csv"),
        ({"items.csv": "item_id,title\n1,A\n", "items.parquet": "x"}, "ambiguous-files", "items.parquet"),
        ({"a.item": "x", "b.item": "y"}, "ambiguous-files", "a.item, b.item"),
    ],
)
def test_folders_that_are_no_data_set(
    make_data: MakeData, files: dict[str, str | bytes], kind: str, words: str
) -> None:
    report = check_dataset(make_data(files))
    assert words in problem(report, kind).examples[0].message


def test_a_file_of_another_kind_is_refused(make_data: MakeData) -> None:
    with pytest.raises(DataError, match=r"found items\.xlsx"):
        load_dataset(make_data({"items.xlsx": b"PK\x03\x04"}) / "items.xlsx")


def test_strict_refuses_warnings_but_not_notes(make_data: MakeData) -> None:
    noted = make_data({"items.csv": "item_id,title\na,A\na,A\n"})
    assert load_dataset(noted, strict=True).report.items == 1
    warned = make_data({"items.csv": "item_id,title\na,A\nb,\n"})
    assert load_dataset(warned).report.items == 2
    with pytest.raises(DataError, match=r"items\.csv:3: item 'b' has no text and no image"):
        load_dataset(warned, strict=True)


def test_every_error_of_a_data_set_is_in_the_message(make_data: MakeData) -> None:
    folder = make_data(
        {
            "items.csv": "item_id,title\na,A\na,B\nc\n",
            "interactions.csv": "user_id,item_id,timestamp\nu,a,2024-01-01\nu,a,soon\n",
        }
    )
    with pytest.raises(DataError) as caught:
        load_dataset(folder)
    for words in ("items.csv:3: item 'a'", "items.csv:4: expected 2 fields", "interactions.csv:3: expected a number"):
        assert words in caught.value.message
    assert caught.value.exit_code == 3


def test_what_could_be_read_is_reported_when_the_rest_cannot(make_data: MakeData) -> None:
    folder = make_data({"items.csv": "item_id,title\na,A\n", "interactions.csv": 'user_id,item_id\n"u,a\n'})
    report = check_dataset(folder)
    assert report.items == 1
    assert problem(report, "unclosed-quote").examples[0].file == "interactions.csv"
    assert not report.usable


def test_importing_and_checking_needs_no_torch(make_data: MakeData) -> None:
    folder = make_data({"items.csv": "item_id,title\na,A\n"})
    program = (
        "import sys; from adapt.workflows.data_check import data_check; report = data_check(sys.argv[1]);"
        "print(report.items, [name for name in ('torch', 'datasets', 'transformers') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program, str(folder)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "1 []"


def test_all_missing_columns_of_interactions_are_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "items.csv").write_text("nr,title\na,shoe\n")
    (tmp_path / "interactions.csv").write_text("who,nr,day\nu,a,1\n")
    with pytest.raises(DataError, match=r"user ids \(user_id\) and item ids \(item_id\), found who, nr, day") as raised:
        look(tmp_path)
    assert "--user-col NAME --item-col NAME" in raised.value.hint
    assert len(load_dataset(tmp_path, columns=ColumnOptions(item="nr", user="who")).catalog) == 1


def test_a_column_of_picture_names_that_is_not_used_is_noted(tmp_path: Path) -> None:
    (tmp_path / "items.csv").write_text("item_id,title,my shots\na,shoe,a.png\nb,boot,\nc,sock,c.JPG\n")
    notes = [problem for problem in check_dataset(tmp_path).problems if problem.kind == "unused-images"]
    assert [note.hint for note in notes] == ["Name it: --image-col 'my shots'"]
    named = check_dataset(tmp_path, columns=ColumnOptions(image="my shots"))
    assert "unused-images" not in [problem.kind for problem in named.problems]


def test_the_example_shop_has_a_name_and_a_near_name_is_suggested(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert len(load_dataset("example").catalog) == 62
    (tmp_path / "example").mkdir()
    with pytest.raises(DataError, match=r"items\.csv"):  # a folder of that name comes first
        load_dataset("example")
    with pytest.raises(DataError) as raised:
        look("exmple")
    assert "Did you mean example?" in raised.value.hint

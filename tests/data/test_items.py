from __future__ import annotations

import pytest

from adapt.data import ColumnOptions, check_dataset, load_dataset
from adapt.errors import DataError
from tests.data.conftest import MakeData, kinds, problem


def test_an_item_repeated_in_identical_rows_is_one_item(make_data: MakeData) -> None:
    data = load_dataset(make_data({"items.csv": "item_id,title\na,A\nb,B\na,A\n"}))
    assert data.catalog.ids == ("a", "b")
    repeated = problem(data.report, "duplicate-item")
    assert (repeated.severity, repeated.examples[0].line) == ("note", 4)
    assert "line 2" in repeated.examples[0].message


def test_contradicting_rows_are_an_error_with_both_lines(make_data: MakeData) -> None:
    folder = make_data({"items.csv": 'item_id,title,brand\na,"A\n",X\nb,B,Y\n\na,"A\n",Z\n'})
    conflict = problem(check_dataset(folder), "conflicting-item")
    assert conflict.examples[0].line == 6
    assert conflict.examples[0].message.startswith("item 'a' has brand 'Z' here and 'X' on line 2")
    with pytest.raises(DataError, match=r"items\.csv:6: item 'a' has brand 'Z' here and 'X' on line 2"):
        load_dataset(folder)


def test_rows_without_an_id_are_reported_and_left_out(make_data: MakeData) -> None:
    data = load_dataset(make_data({"items.csv": "title,item_id\nA,a\nB,\nC,c\nD,\n"}))
    assert data.catalog.ids == ("a", "c")
    assert data.catalog.texts == ("A", "C")
    assert [example.line for example in problem(data.report, "empty-id").examples] == [3, 5]


def test_one_file_of_interactions_with_item_columns(make_data: MakeData) -> None:
    rows = (
        "uid,ASIN,name,price,quantity,when_,ts\n"
        "u1,B1,Tent,10,1,x,2024-01-02\nu2,B2,Stove,20,1,x,2024-01-01\nu1,B2,Stove,20,3,y,2024-01-01\n,B3,Mug,5,1,x,2024-01-01\n"
    )
    data = load_dataset(make_data({"log.csv": rows}) / "log.csv")
    assert data.name == "log"
    assert data.report.layout == "interactions file with item columns"
    assert data.catalog.ids == ("B1", "B2", "B3")
    assert data.catalog.texts == ("Tent", "Stove", "Mug")
    assert set(data.catalog.columns) == {"name", "price"}
    assert {example.column for example in problem(data.report, "varying-column").examples} == {"quantity", "when_"}
    assert data.interactions is not None
    assert data.interactions.user_ids == ("u1", "u2")
    assert data.interactions.history(0).tolist() == [1, 0]
    assert problem(data.report, "empty-id").count == 1


def test_titles_that_contradict_each_other_in_such_a_file_are_an_error(make_data: MakeData) -> None:
    report = check_dataset(make_data({"log.csv": "user,item_id,title\nu,a,A\nv,a,B\n"}) / "log.csv")
    assert problem(report, "conflicting-item").examples[0].line == 3


def test_a_file_of_items_alone(make_data: MakeData) -> None:
    data = load_dataset(make_data({"products.tsv": "sku\tname\n007\tTent\n"}) / "products.tsv")
    assert data.report.layout == "items file"
    assert data.interactions is None
    assert data.report.history_lengths is None
    assert (data.catalog.ids, data.catalog.titles) == (("007",), ("Tent",))


@pytest.mark.parametrize(
    ("header", "item", "title"),
    [
        ("id,movie", "id", "movie"),
        ("movie,genre", "movie", None),
        ("movieId,title,genres", "movieId", "title"),
        ("Item ID,Product-Name", "Item ID", "Product-Name"),
        ("asin,item_id,name", "item_id", "name"),
        ("id,sku,name", "sku", "name"),
    ],
)
def test_usual_names_are_recognised(make_data: MakeData, header: str, item: str, title: str | None) -> None:
    columns = header.split(",")
    values = ",".join(f"value of {column}" for column in columns)
    catalog = load_dataset(make_data({"items.csv": f"{header}\n{values}\n"})).catalog
    assert catalog.ids == (f"value of {item}",)
    assert title is None or catalog.titles == (f"value of {title}",)
    assert not any("sku" in name or "asin" in name for name in catalog.text_template)


def test_named_columns_replace_the_usual_ones(make_data: MakeData) -> None:
    folder = make_data(
        {
            "items.csv": "item_id,key,words\nx,1,Tent\ny,2,Mug\n",
            "interactions.csv": "user_id,who,key,item_id,day,stars_\nu,w,2,x,5,3\n",
        }
    )
    options = ColumnOptions(item="key", user="who", time="day", rating="stars_")
    data = load_dataset(folder, columns=options)
    assert data.catalog.ids == ("1", "2")
    assert data.interactions is not None
    assert data.interactions.user_ids == ("w",)
    assert data.interactions.items.tolist() == [1]
    assert data.interactions.ratings is not None
    assert data.interactions.ratings.tolist() == [3.0]


@pytest.mark.parametrize("role", ["item", "user", "time", "rating", "image", "text"])
def test_a_named_column_that_is_absent_is_an_error(make_data: MakeData, role: str) -> None:
    folder = make_data({"items.csv": "item_id,title\na,A\n", "interactions.csv": "user_id,item_id\nu,a\n"})
    options = ColumnOptions(**{role: ("no_such",) if role == "text" else "no_such"})
    report = check_dataset(folder, columns=options)
    assert "'no_such'" in problem(report, "missing-column").examples[0].message


def test_an_ambiguous_choice_is_said_aloud(make_data: MakeData) -> None:
    report = check_dataset(make_data({"items.csv": "asin,item_id,title\nx,a,A\n"}))
    assert problem(report, "other-column").examples[0].message == "'item_id' is the item, not 'asin'"
    assert kinds(report) == {"other-column"}


def test_looking_up_an_item_that_is_absent_names_a_similar_one(make_data: MakeData) -> None:
    catalog = load_dataset(make_data({"items.csv": "item_id,title\n007,A\nB00CAT,B\n"})).catalog
    assert catalog.row("007") == 0
    assert catalog.rows(["B00CAT", "007"]).tolist() == [1, 0]
    for wanted, similar in (("7", "007"), ("b00cat", "B00CAT"), ("B00CAR", "B00CAT")):
        with pytest.raises(DataError) as caught:
            catalog.row(wanted)
        assert similar in caught.value.hint

from __future__ import annotations

import pytest

from adapt.data import ColumnOptions, load_dataset
from adapt.data.text import is_text
from tests.data.conftest import MakeData


def test_the_template_has_a_stated_order_and_leaves_out_what_is_no_text(make_data: MakeData) -> None:
    header = "price,colour,description,item_id,in_stock,released,link,Title,brand,seller_id,categories,rating,photo\n"
    row = '"$1,299.00",green,For <b>two</b> &amp; a dog.,1,yes,2024-05-01,https://x.y/z,Tent,Nordlicht,S9X,Camp|Tents,4.5,a.jpg\n'
    data = load_dataset(make_data({"items.csv": header + row}))
    assert data.catalog.text_template == ("Title", "brand", "categories", "description", "colour")
    assert data.catalog.texts == ("Tent. Nordlicht. Camp, Tents. For two & a dog. green",)
    assert data.catalog.titles == ("Tent",)
    assert data.catalog.columns["price"] == ("$1,299.00",)
    assert data.report.text_example == data.catalog.texts[0]


def test_empty_parts_are_skipped(make_data: MakeData) -> None:
    items = "item_id,title,brand,description\n1,Tent,, \n2,,B,D\n3,,,\n"
    catalog = load_dataset(make_data({"items.csv": items})).catalog
    assert catalog.texts == ("Tent", "B. D", "")
    assert catalog.titles == ("Tent", "B", "3")


def test_named_text_columns_replace_the_automatic_order(make_data: MakeData) -> None:
    folder = make_data({"items.csv": "item_id,title,price,note\n1,Tent,12,light\n"})
    catalog = load_dataset(folder, columns=ColumnOptions(text=("note", "price"))).catalog
    assert catalog.texts == ("light. 12",)
    assert catalog.titles == ("Tent",)


def test_titles_that_are_numbers_are_titles(make_data: MakeData) -> None:
    catalog = load_dataset(make_data({"items.csv": "item_id,title\n1,1984\n2,300\n"})).catalog
    assert catalog.texts == ("1984", "300")


@pytest.mark.parametrize(
    ("name", "values", "expected"),
    [
        ("x", ["12", "1e5", "-3.5", "1,299"], False),
        ("x", ["4.5 €", "80 %", "$12", "300 ml"], False),
        ("x", ["2024-05-01", "2024-05-01T10:00:00Z", "1.5.2024"], False),
        ("x", ["http://a.b/c?d=e", "www.a.b"], False),
        ("x", ["images/1.jpg", "b.PNG"], False),
        ("x", ["true", "False", "yes", "N"], False),
        ("x", ["", " "], False),
        ("product_id", ["abc", "def"], False),
        ("categoryId", ["abc", "def"], False),
        ("x", ["red", "12"], True),
        ("size", ["S", "M"], True),
        ("solid", ["oak"], True),
        ("x", ["9 " * 20_000], True),
    ],
)
def test_what_is_text(name: str, values: list[str], expected: bool) -> None:
    assert is_text(name, values) is expected

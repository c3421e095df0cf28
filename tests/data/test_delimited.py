from __future__ import annotations

from pathlib import Path

import pytest

from adapt.data import check_dataset, load_dataset
from tests.data.conftest import MakeData, kinds, problem

ITEMS = "item_id,title\n007,Tent\nNA,Stove\n1e5,Mug\n"


def test_ids_stay_as_they_are_written(make_data: MakeData) -> None:
    data = load_dataset(
        make_data({"items.csv": ITEMS, "interactions.csv": "user_id,item_id\n01,NA\nnull,007\n1e5,1e5\n"})
    )
    assert data.catalog.ids == ("007", "NA", "1e5")
    assert data.interactions is not None
    assert data.interactions.user_ids == ("01", "null", "1e5")
    assert [data.catalog.ids[row] for row in data.interactions.items] == ["NA", "007", "1e5"]


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", ["", "end"])
def test_line_ends_and_byte_order_marks_are_no_part_of_the_data(
    make_data: MakeData, newline: str, mark: bytes, end: str
) -> None:
    text = ITEMS.replace("\n", newline)
    content = mark + (text + newline * 2 if end else text.rstrip("\r\n")).encode()
    assert load_dataset(make_data({"items.csv": content})).catalog.columns == {"title": ("Tent", "Stove", "Mug")}


def test_quoted_fields_hold_separators_quotes_and_line_breaks(make_data: MakeData) -> None:
    text = 'item_id,title\n"a,b","say ""hi"""\n"line\nbreak","two\r\nlines"\nc,5" pipe\n'
    catalog = load_dataset(make_data({"items.csv": text})).catalog
    assert catalog.ids == ("a,b", "line\nbreak", "c")
    assert catalog.columns["title"] == ('say "hi"', "two\r\nlines", '5" pipe')
    assert catalog.texts[1] == "two lines"


def test_lines_count_quoted_line_breaks_and_empty_lines(make_data: MakeData) -> None:
    items = 'item_id,title\na,"one\ntwo\nthree"\n\n\nb,B\n\nc,\n'
    report = check_dataset(make_data({"items.csv": items}))
    assert problem(report, "no-modality").examples[0].line == 9


def test_the_quick_reader_gives_the_lines_of_the_exact_one(make_data: MakeData) -> None:
    rows = "user_id,item_id,timestamp\nu,007,1\n\nu,gone,2\r\nu,NA,3\nu,lost,4\n"
    report = check_dataset(make_data({"items.csv": ITEMS, "interactions.csv": rows}))
    unknown = problem(report, "unknown-item")
    assert [example.line for example in unknown.examples] == [4, 6]
    assert "'gone'" in unknown.examples[0].message
    assert report.interactions == 2
    assert report.usable


def test_a_ragged_row_is_an_error_with_its_line(make_data: MakeData) -> None:
    report = check_dataset(make_data({"items.csv": "item_id,title\na,A\nb,B,extra\nc\nd,D\n"}))
    ragged = problem(report, "ragged-row")
    assert [(example.line, example.message) for example in ragged.examples] == [
        (3, "expected 2 fields, found 3"),
        (4, "expected 2 fields, found 1"),
    ]
    assert ragged.count == 2
    assert not report.usable
    assert report.items == 2


@pytest.mark.parametrize(
    ("content", "kind", "line", "words"),
    [
        (b"item_id,title\na,A\nb,caf\xe9\n", "encoding", 3, "0xe9"),
        (b'item_id,title\na,"A\nB"\nb,"caf\xe9"\n', "encoding", 4, "0xe9"),
        (b"item_id,title\na,A\nb,B\0\n", "encoding", 3, "NUL"),
        ("item_id,title\na,A\n".encode("utf-16"), "encoding", None, "UTF-16"),
        (b"PK\x03\x04rest", "encoding", None, "Excel"),
        (b'item_id,title\na,A\nb,"never closed\nc,C\n', "unclosed-quote", 3, "closing quote"),
        (b"", "empty-file", None, "nothing"),
        (b"\xef\xbb\xbf\n\n", "empty-file", None, "nothing"),
        (b"item_id,title\n", "no-items", None, "at least one row"),
        (b"item_id,title,title\na,A,B\n", "duplicate-column", 1, "'title' twice"),
        (b"item_id;title\na;A\n", "missing-column", None, "item_id;title"),
        (b"color,title\nred,A\n", "missing-column", None, "color, title"),
    ],
)
def test_a_file_that_cannot_be_read_says_where_and_why(
    make_data: MakeData, content: bytes, kind: str, line: int | None, words: str
) -> None:
    report = check_dataset(make_data({"items.csv": content}))
    found = problem(report, kind)
    assert found.severity == "error"
    assert found.examples[0].line == line
    assert words in found.examples[0].message
    assert not report.usable
    assert report.items == 0


def test_a_long_field_is_read_whole(make_data: MakeData) -> None:
    text = "word " * 60_000
    catalog = load_dataset(make_data({"items.csv": f'item_id,title\na,"{text}"\n'})).catalog
    assert catalog.columns["title"] == (text,)


def test_tab_separated_files(make_data: MakeData) -> None:
    catalog = load_dataset(make_data({"items.tsv": 'item_id\ttitle\n1\tA, B\n2\t"C\tD"\n'})).catalog
    assert catalog.columns["title"] == ("A, B", "C\tD")


def test_recbole_files_with_typed_headers(make_data: MakeData) -> None:
    folder = make_data(
        {
            "ml.item": "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n"
            "007\tToy Story\t1995\tFun Kids\n",
            "ml.inter": "user_id:token\titem_id:token\trating:float\ttimestamp:float\n1\t007\t5\t881250949\n",
        }
    )
    for path in (folder, folder / "ml.inter", folder / "ml.item"):
        data = load_dataset(path)
        assert data.report.layout == "recbole"
        assert data.report.files == ("ml.item", "ml.inter")
        assert data.catalog.ids == ("007",)
        assert data.catalog.texts == ("Toy Story. Fun Kids",)
        assert data.interactions is not None
        assert data.interactions.ratings is not None
        assert data.interactions.ratings.tolist() == [5.0]


def test_a_plain_interactions_file_has_nothing_to_report(make_data: MakeData, tmp_path: Path) -> None:
    data = make_data({"items.csv": ITEMS, "interactions.csv": "user_id,item_id,timestamp\nu,007,1\nu,NA,2\n"})
    assert kinds(check_dataset(data)) == set()

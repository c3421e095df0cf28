"""Ids with any characters survive every format, and the two CSV readers agree."""

from __future__ import annotations

import csv
import io
import json
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapt.data import delimited, load_dataset, quoting
from adapt.data.delimited import DelimitedFile
from adapt.data.problems import ProblemLog
from adapt.data.tables import text_schema
from adapt.errors import DataError

ID = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=8)
HARD = st.sampled_from(["007", "NA", "null", "1e5", " x ", '"', "a\r\nb", "\ufeff", "😀"])
IDS = st.lists(ID | HARD, min_size=1, unique=True)
QUICK = settings(max_examples=60, deadline=None)


def _written(ids: list[str], folder: Path, form: str) -> Path:
    path = folder / f"items.{form}"
    titles = [f"Title {number}" for number in range(len(ids))]
    if form in {"csv", "tsv"}:
        with path.open("w", newline="", encoding="utf-8") as handle:
            writer = csv.writer(handle, delimiter="," if form == "csv" else "\t")
            writer.writerows([("item_id", "title"), *zip(ids, titles, strict=True)])
    elif form == "jsonl":
        records = [{"item_id": item_id, "title": title} for item_id, title in zip(ids, titles, strict=True)]
        path.write_text("\n".join(map(json.dumps, records)), encoding="utf-8")
    else:
        pq.write_table(pa.table({"item_id": ids, "title": titles}), path)
    return path


@given(IDS, st.sampled_from(["csv", "tsv", "jsonl", "parquet"]))
@QUICK
def test_ids_survive(ids: list[str], form: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        assert load_dataset(_written(ids, Path(folder), form)).catalog.ids == tuple(ids)


@given(st.lists(st.tuples(ID | HARD, ID | HARD), min_size=1), st.booleans())
@QUICK
def test_interactions_keep_their_users_and_items(rows: list[tuple[str, str]], quoted: bool) -> None:
    items = list(dict.fromkeys(item for _, item in rows))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _written(items, folder, "csv")
        with (folder / "interactions.csv").open("w", newline="", encoding="utf-8") as handle:
            # with "\n" alone, older csv writers leave "\r" in a field unquoted, which no reader can undo
            writer = csv.writer(handle, quoting=csv.QUOTE_ALL if quoted else csv.QUOTE_MINIMAL)
            writer.writerows([("user_id", "item_id"), *rows])
        data = load_dataset(folder)
    assert data.interactions is not None
    found = {
        user_id: [data.catalog.ids[row] for row in data.interactions.history(user)]
        for user, user_id in enumerate(data.interactions.user_ids)
    }
    expected: dict[str, list[str]] = {}
    for user, item in rows:
        expected.setdefault(user, []).append(item)
    assert found == expected
    assert list(found) == list(expected)


LINE = st.text(st.sampled_from('ab,;" \té0\ufeff'), max_size=8)
FIELD = st.sampled_from(["a", '"b"', '""', '"c, d"', '"say ""no"""', '"x\ny"', '"x\r\ny"', '"\ufeff"', "", "é"])
QUOTED = st.tuples(FIELD, FIELD).map(",".join)


@given(
    st.lists(LINE | QUOTED, max_size=12),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.booleans(),
    st.sampled_from([1, 5, 999]),
)
@settings(max_examples=300, deadline=None)
def test_the_readers_of_csv_agree_with_the_csv_module(lines: list[str], newline: str, last: bool, piece: int) -> None:
    """On any text: the rows, and the line on which each begins, are those of Python's csv module."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(delimited, "_CHUNK", piece)
        patch.setattr(quoting, "_PIECE", piece)
        _check_agreement(lines, newline, last)


def _check_agreement(lines: list[str], newline: str, last: bool) -> None:
    text = newline.join(["x,y", *lines]) + newline * last
    expected, line = [], 1
    reader = csv.reader(io.StringIO(text, newline=""))
    for row in reader:
        if len(row) == 2:
            expected.append((line, row))
        line = reader.line_num + 1
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "items.csv"
        path.write_bytes(text.encode())
        log = ProblemLog()
        try:
            file = DelimitedFile(path, "items.csv", ",", log)
            table = pa.Table.from_batches(file.batches(["x", "y"], ids=["x"]), text_schema(["x", "y"]))
        except DataError:
            assert "unclosed-quote" in {entry.kind for entry in log.problems()}
            return
        found = [list(row.values()) for row in table.to_pylist()]
        assert found == [row for _, row in expected[1:]]
        assert [file.line(row) for row in range(len(table))] == [line for line, _ in expected[1:]]


@pytest.mark.parametrize(
    ("content", "style"),
    [
        ("x,y\na,b\r\n", "plain"),
        ('x,y\n"a","b ""c"""\n', "quoted"),
        ('"x","y"\r\n"a\r\nb",""', "quoted"),
        ('x,y\na,5" pipe\n', "other"),
        ('x,y\n"a" ,b\n', "other"),
        ('x,y\n"a,b\n', "other"),
        ("x,y\na\rb,c\n", "other"),
        ("x,y\na,b\r", "other"),
    ],
)
def test_how_a_file_is_written(content: str, style: str) -> None:
    for size in (1, 2, 100):
        finder = quoting.StyleFinder(",")
        for start in range(0, len(content), size):
            finder.add(content[start : start + size].encode())
        assert finder.style() == style

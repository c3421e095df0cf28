"""CSV and TSV files, with and without the typed header of RecBole (``item_id:token``).

A file without a quote character, NUL or lone carriage return is split by pyarrow, which then can only split where
Python's csv module would; every other file, and every file in which pyarrow finds a fault, is read by the csv module,
which knows the line of each row. Quoting is that of RFC 4180: a field that starts with ``"`` ends at the next single
``"``, and ``""`` inside it is a quote; a quote further in is an ordinary character.
"""

from __future__ import annotations

import csv
import functools
import secrets
from collections.abc import Collection, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from adapt.data.problems import Example, ProblemLog
from adapt.data.tables import Table, encode

_CHUNK = 1 << 20
_BATCH = 1 << 16  # rows that are Python objects at a time
_BLOCK = 1 << 22  # bytes that pyarrow splits at a time
_LONGEST_FIELD = 2**31 - 1  # the csv module's own limit, 128 KiB, is shorter than some descriptions
_END = secrets.token_hex(16)  # a row that can only be ours: met inside a field, a quote was never closed
_RECBOLE_TYPES = ("token", "token_seq", "float", "float_seq")
_SIGNATURES = (
    (b"\xff\xfe", "UTF-16 text"),
    (b"\xfe\xff", "UTF-16 text"),
    (b"PK\x03\x04", "a zip archive or Excel workbook"),
    (b"\x1f\x8b", "gzip-compressed data"),
    (b"PAR1", "a parquet file"),
)


class DelimitedFile:
    """A CSV or TSV file.

    Args:
        path: the file.
        name: its name in messages.
        delimiter: one character.
        log: where faults go.
        typed_header: whether header fields are ``name:type``.

    Raises:
        UnreadableError: it is empty, is not UTF-8 text or has two columns of the same name.
    """

    def __init__(self, path: Path, name: str, delimiter: str, log: ProblemLog, *, typed_header: bool = False) -> None:
        self.path, self.name = path, name
        self._delimiter = delimiter
        self._log = log
        self._rows_reported = False
        self._plain = self._inspect()
        csv.field_size_limit(_LONGEST_FIELD)
        first = next(self._records(), None)
        if first is None or not any(first[1]):
            log.fatal("empty-file", Example(name, None, None, "expected a line of column names, found nothing"))
        self._header_line, header = first
        types = dict(_typed(field) for field in header) if typed_header else {}
        names = [_typed(field)[0] for field in header] if typed_header else header
        self.columns = tuple(name.strip() or f"column {number}" for number, name in enumerate(names, 1))
        self.numeric = frozenset(name for name, kind in types.items() if kind.startswith("float"))
        self.vectors: frozenset[str] = frozenset()
        for column in self.columns:
            if self.columns.count(column) > 1:
                message = f"expected different column names, found {column!r} twice"
                log.fatal("duplicate-column", Example(name, self._header_line, column, message))

    def read(self, columns: Sequence[str], encoded: Collection[str] = ()) -> Table:
        """The named columns of all well-formed rows; a malformed row is noted (once) and left out."""
        chunked = (self._read_plain(columns, encoded) if self._plain else None) or self._read_exact(columns)
        count = len(next(iter(chunked.values()))) if chunked else 0
        ids = {column: encode(chunked[column]) for column in encoded}
        return Table(count, {column: array for column, array in chunked.items() if column not in ids}, ids)

    def vector(self, column: str) -> NDArray[np.float32]:
        """Not possible: a text file holds no vectors."""
        raise NotImplementedError(column)

    def line(self, row: int) -> int | None:
        """The physical line on which a well-formed row begins."""
        return int(self._lines[row])

    @functools.cached_property
    def _lines(self) -> NDArray[np.int64]:
        width = len(self.columns)
        return np.fromiter((line for line, row in self._rows() if len(row) == width), dtype=np.int64)

    def _inspect(self) -> bool:
        """Whether pyarrow may split the file; stops at files that are not text."""
        plain, previous = True, b""
        with self.path.open("rb") as handle:
            start = handle.read(4)
            for signature, meaning in _SIGNATURES:
                if start.startswith(signature):
                    message = f"expected UTF-8 text, found {meaning}"
                    self._log.fatal("encoding", Example(self.name, None, None, message))
            handle.seek(0)
            while chunk := handle.read(_CHUNK):
                if b"\0" in chunk:
                    message = "expected UTF-8 text, found a NUL byte"
                    self._log.fatal("encoding", Example(self.name, self._line_of(b"\0"), None, message))
                if plain:
                    ends = chunk.count(b"\r\n") + (previous.endswith(b"\r") and chunk.startswith(b"\n"))
                    returns = chunk.count(b"\r") + previous.endswith(b"\r") - chunk.endswith(b"\r")
                    plain = b'"' not in chunk and ends == returns
                previous = chunk[-1:]
        return plain and previous != b"\r"

    def _line_of(self, byte: bytes) -> int:
        with self.path.open("rb") as handle:
            return next(number for number, line in enumerate(handle, 1) if byte in line)

    def _records(self) -> Iterator[tuple[int, list[str]]]:
        """First line and fields of every record, the header included; empty lines are skipped."""
        with self.path.open(encoding="utf-8-sig", newline="") as handle:
            reader = csv.reader(chain(handle, [_END]), delimiter=self._delimiter)
            line = 1
            while True:
                try:
                    row = next(reader)
                except UnicodeDecodeError:
                    self._not_utf8()
                except csv.Error as error:
                    self._log.fatal("unreadable", Example(self.name, line, None, str(error)))
                if row == [_END]:
                    return
                if row and row[-1].endswith(_END):
                    message = "expected a closing quote, found the end of the file"
                    self._log.fatal("unclosed-quote", Example(self.name, line, None, message))
                if row:
                    yield line, row
                line = reader.line_num + 1

    def _rows(self) -> Iterator[tuple[int, list[str]]]:
        records = self._records()
        next(records, None)
        return records

    def _not_utf8(self) -> NoReturn:
        with self.path.open("rb") as handle:
            line = 1
            for raw in handle:
                try:
                    raw.decode("utf-8")
                except UnicodeDecodeError as error:
                    line += raw[: error.start].replace(b"\r\n", b"").count(b"\r")
                    message = f"expected UTF-8 text, found byte {raw[error.start]:#04x}"
                    self._log.fatal("encoding", Example(self.name, line, None, message))
                line += 1 + raw.replace(b"\r\n", b"").count(b"\r")
        self._log.fatal("encoding", Example(self.name, None, None, "expected UTF-8 text"))

    def _read_plain(self, columns: Sequence[str], encoded: Collection[str]) -> dict[str, Any] | None:
        """The columns as pyarrow splits them; None where it found a fault, whose line only the csv module knows."""
        import pyarrow as pa
        from pyarrow import csv as arrow_csv

        if self._header_line != 1:
            return None
        text, ids = pa.string(), pa.dictionary(pa.int32(), pa.string())
        try:
            table = arrow_csv.read_csv(
                str(self.path),
                read_options=arrow_csv.ReadOptions(
                    column_names=list(self.columns), skip_rows=1, block_size=_BLOCK, encoding="utf8"
                ),
                parse_options=arrow_csv.ParseOptions(
                    delimiter=self._delimiter, quote_char=False, escape_char=False, newlines_in_values=False
                ),
                convert_options=arrow_csv.ConvertOptions(
                    column_types={column: ids if column in encoded else text for column in self.columns},
                    include_columns=list(columns),
                    strings_can_be_null=False,
                    check_utf8=True,
                ),
            )
        except pa.ArrowInvalid:
            return None
        return {column: table.column(column) for column in columns}

    def _read_exact(self, columns: Sequence[str]) -> dict[str, Any]:
        """The columns as the csv module splits them, turned into arrays a batch of rows at a time."""
        import pyarrow as pa

        places = [self.columns.index(column) for column in columns]
        width, ragged = len(self.columns), 0
        chunks: list[list[Any]] = [[] for _ in places]
        batch: list[list[str]] = []

        def flush() -> None:
            for place, column_chunks in zip(places, chunks, strict=True):
                column_chunks.append(pa.array([row[place] for row in batch], pa.string()))
            batch.clear()

        for line, row in self._rows():
            if len(row) != width:
                ragged += 1
                self._ragged(line, len(row), ragged)
                continue
            batch.append(row)
            if len(batch) == _BATCH:
                flush()
        flush()
        self._rows_reported = True
        return {column: pa.chunked_array(parts) for column, parts in zip(columns, chunks, strict=True)}

    def _ragged(self, line: int, found: int, number: int) -> None:
        if self._rows_reported:
            return
        message = f"expected {len(self.columns)} fields, found {found}"
        example = Example(self.name, line, None, message)
        self._log.extend("ragged-row", [example] if number <= 5 else [], count=1)


def _typed(field: str) -> tuple[str, str]:
    """Name and type of a RecBole header field.

    >>> _typed("item_id:token"), _typed("plain")
    (('item_id', 'token'), ('plain', ''))
    """
    name, separator, kind = field.rpartition(":")
    return (name, kind) if separator and kind in _RECBOLE_TYPES else (field, "")

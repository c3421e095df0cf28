"""CSV and TSV files, with and without the typed header of RecBole (``item_id:token``).

A file that pyarrow splits as Python's csv module would (:mod:`adapt.data.quoting`) is split by pyarrow, a piece at a
time, until it finds a fault; the rest, and every other file, is read by the csv module, which knows the line of each
row. Quoting is that of RFC 4180; a quote further in a field is an ordinary character.
"""

from __future__ import annotations

import csv
import secrets
from array import array
from codecs import BOM_UTF8
from collections.abc import Collection, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from adapt.data.problems import Example, ProblemLog
from adapt.data.quoting import Style, StyleFinder, pieces
from adapt.data.tables import BATCH_BYTES, BATCH_ROWS, text_batch

_CHUNK = 1 << 20
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
        self._style = self._inspect()
        csv.field_size_limit(_LONGEST_FIELD)
        first = next(self._records(), None)
        if first is None or not any(first[1]):
            log.fatal("empty-file", Example(name, None, None, "expected a line of column names, found nothing"))
        header_line, header = first
        types = dict(_typed(field) for field in header) if typed_header else {}
        names = [_typed(field)[0] for field in header] if typed_header else header
        self.columns = tuple(name.strip() or f"column {number}" for number, name in enumerate(names, 1))
        self.numeric = frozenset(name for name, kind in types.items() if kind.startswith("float"))
        self.vectors: frozenset[str] = frozenset()
        self._starts = self._after_header(header) if header_line == 1 else None
        self._lines = array("q")
        self._well_formed = (line for line, row in self._rows() if len(row) == len(self.columns))
        for column in self.columns:
            if self.columns.count(column) > 1:
                message = f"expected different column names, found {column!r} twice"
                log.fatal("duplicate-column", Example(name, header_line, column, message))

    def batches(self, columns: Sequence[str], ids: Collection[str] = ()) -> Iterator[Any]:  # noqa: ARG002
        """The named columns of all well-formed rows; a malformed row is noted (once) and left out."""
        import pyarrow as pa

        split = 0
        if self._starts is not None:
            try:
                for piece, spread in pieces(self.path, self._starts):
                    for batch in self._split(piece, columns, spread).to_batches():
                        split += len(batch)
                        yield batch
            except pa.ArrowInvalid:
                pass  # whose line only the csv module knows
            else:
                return
        yield from self._read(columns, split)

    def vector(self, column: str) -> NDArray[np.float32]:
        """Not possible: a text file holds no vectors."""
        raise NotImplementedError(column)

    def line(self, row: int) -> int | None:
        """The physical line on which a well-formed row begins."""
        while len(self._lines) <= row:
            self._lines.append(next(self._well_formed))
        return self._lines[row]

    def _inspect(self) -> Style:
        """How the file is written; stops at files that are not text."""
        finder = StyleFinder(self._delimiter)
        with self.path.open("rb") as handle:
            start = handle.read(4)
            for signature, meaning in _SIGNATURES:
                if start.startswith(signature):
                    message = f"expected UTF-8 text, found {meaning}"
                    self._log.fatal("encoding", Example(self.name, None, None, message))
            handle.seek(len(BOM_UTF8) if start.startswith(BOM_UTF8) else 0)
            while chunk := handle.read(_CHUNK):
                if b"\0" in chunk:
                    message = "expected UTF-8 text, found a NUL byte"
                    self._log.fatal("encoding", Example(self.name, self._line_of(b"\0"), None, message))
                finder.add(chunk)
        return finder.style()

    def _after_header(self, header: list[str]) -> int | None:
        """The byte after the line of column names; None where it is not the first line, or pyarrow may not split."""
        with self.path.open("rb") as handle:
            line = handle.readline()
        if self._style == "other" or next(csv.reader([line.decode("utf-8-sig")], delimiter=self._delimiter)) != header:
            return None
        return len(line)

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

    def _split(self, piece: memoryview, columns: Sequence[str], spread: bool) -> Any:
        """The columns of a piece as pyarrow splits it; ``spread``: it has fields of several lines."""
        import pyarrow as pa
        from pyarrow import csv as arrow_csv

        first = b"-\n"  # a line to skip: at the start of a file pyarrow would drop U+FEFF, which here belongs to an id
        return arrow_csv.read_csv(
            pa.BufferReader(b"".join([first, piece])),
            read_options=arrow_csv.ReadOptions(
                column_names=list(self.columns), skip_rows=1, block_size=BATCH_BYTES, encoding="utf8"
            ),
            parse_options=arrow_csv.ParseOptions(
                delimiter=self._delimiter,
                quote_char='"' if self._style == "quoted" else False,
                escape_char=False,
                newlines_in_values=spread,
            ),
            convert_options=arrow_csv.ConvertOptions(
                column_types=dict.fromkeys(self.columns, pa.string()),
                include_columns=list(columns),
                strings_can_be_null=False,
                check_utf8=True,
            ),
        )

    def _read(self, columns: Sequence[str], skip: int) -> Iterator[Any]:
        """The columns as the csv module splits them, without the first ``skip`` well-formed rows."""
        places = [self.columns.index(column) for column in columns]
        width, ragged = len(self.columns), 0
        rows: list[list[str]] = []
        for line, row in self._rows():
            if len(row) != width:
                ragged += 1
                self._ragged(line, len(row), ragged)
            elif skip:
                skip -= 1
            else:
                rows.append(row)
                if len(rows) == BATCH_ROWS:
                    yield text_batch(columns, [[row[place] for row in rows] for place in places])
                    rows.clear()
        if rows:
            yield text_batch(columns, [[row[place] for row in rows] for place in places])
        self._rows_reported = True

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

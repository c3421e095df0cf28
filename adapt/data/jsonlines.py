"""JSON Lines: one object a line. Numbers keep the digits they are written with."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adapt.data.problems import Example, ProblemLog
from adapt.data.tables import Table, encode

_DECODER = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=str)


class JsonLinesFile:
    """A file with one JSON object a line; columns are the keys in order of first appearance.

    Args:
        path: the file.
        name: its name in messages.
        log: where faults go: a line that is no object is noted and left out.

    Raises:
        UnreadableError: it is empty or not UTF-8.
    """

    def __init__(self, path: Path, name: str, log: ProblemLog) -> None:
        import pyarrow as pa

        self.path, self.name = path, name
        self._log = log
        self.numeric: frozenset[str] = frozenset()
        self.vectors: frozenset[str] = frozenset()
        values: dict[str, list[str]] = {}
        lines: list[int] = []
        for line, record in self._records():
            for key, value in record.items():
                if key not in values:
                    values[key] = [""] * len(lines)
                values[key].append(_text(value))
            lines.append(line)
            for column in values.values():
                if len(column) < len(lines):
                    column.append("")
        if not values:
            log.fatal("empty-file", Example(name, None, None, "expected one JSON object a line, found none"))
        self.columns = tuple(values)
        self._lines = lines
        self._cells = {key: pa.chunked_array([pa.array(values.pop(key), pa.string())]) for key in self.columns}

    def read(self, columns: Sequence[str], encoded: Collection[str] = ()) -> Table:
        """The named columns of all rows."""
        ids = {column: encode(self._cells[column]) for column in encoded}
        return Table(len(self._lines), {name: self._cells[name] for name in columns if name not in ids}, ids)

    def vector(self, column: str) -> NDArray[np.float32]:
        """Not possible: vectors are read from parquet or ``.npy``."""
        raise NotImplementedError(column)

    def line(self, row: int) -> int | None:
        """The line of a row."""
        return self._lines[row]

    def _records(self) -> Iterator[tuple[int, dict[str, Any]]]:
        with self.path.open("rb") as handle:
            for line, raw in enumerate(handle, 1):
                try:
                    text = raw.decode("utf-8-sig" if line == 1 else "utf-8").strip()
                except UnicodeDecodeError as error:
                    message = f"expected UTF-8 text, found byte {raw[error.start]:#04x}"
                    self._log.fatal("encoding", Example(self.name, line, None, message))
                if not text:
                    continue
                try:
                    record = _DECODER.decode(text)
                    if "\\u" in text:  # half of a surrogate pair is valid JSON, but no text
                        json.dumps(record, ensure_ascii=False).encode()
                except (ValueError, RecursionError) as error:
                    self._log.add("bad-json", Example(self.name, line, None, f"expected one JSON object: {error}"))
                    continue
                if isinstance(record, dict):
                    yield line, record
                else:
                    message = f"expected one JSON object, found a {type(record).__name__}"
                    self._log.add("bad-json", Example(self.name, line, None, message))


def _text(value: Any) -> str:
    """A JSON value as a cell: null is empty, a list of plain values is joined by ``|``."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list) and all(isinstance(part, str) for part in value):
        return "|".join(value)
    return json.dumps(value, ensure_ascii=False)

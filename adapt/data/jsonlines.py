"""JSON Lines: one object a line. Numbers keep the digits they are written with."""

from __future__ import annotations

import itertools
import json
from array import array
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adapt.data.problems import Example, ProblemLog
from adapt.data.spool import store
from adapt.data.tables import BATCH_BYTES, BATCH_ROWS, text_batch

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
        self.path, self.name = path, name
        self._log = log
        self.numeric: frozenset[str] = frozenset()
        self.vectors: frozenset[str] = frozenset()
        self._lines = array("q")
        columns: dict[str, None] = {}
        parts = itertools.groupby(self._converted(columns), lambda batch: batch.schema)  # a new key begins another
        self._parts = [store(schema, part) for schema, part in parts]
        if not columns:
            log.fatal("empty-file", Example(name, None, None, "expected one JSON object a line, found none"))
        self.columns = tuple(columns)

    def batches(self, columns: Sequence[str], ids: Collection[str] = ()) -> Iterator[Any]:  # noqa: ARG002
        """The named columns of all rows."""
        for part in self._parts:
            known = part.table.column_names
            for batch in part.batches():
                cells = [batch.column(name) if name in known else [""] * len(batch) for name in columns]
                yield text_batch(columns, cells)

    def vector(self, column: str) -> NDArray[np.float32]:
        """Not possible: vectors are read from parquet or ``.npy``."""
        raise NotImplementedError(column)

    def line(self, row: int) -> int | None:
        """The line of a row."""
        return self._lines[row]

    def _converted(self, columns: dict[str, None]) -> Iterator[Any]:
        """All records in batches, whose columns are the keys that were met so far; adds new ones to ``columns``."""
        records: list[dict[str, str]] = []
        size = 0

        def batch() -> Any:
            return text_batch(list(columns), [[record.get(key, "") for record in records] for key in columns])

        for line, found in self._records():
            record = {key: _text(value) for key, value in found.items()}
            columns.update(dict.fromkeys(record))
            records.append(record)
            self._lines.append(line)
            size += sum(map(len, record.values()))
            if columns and (len(records) >= BATCH_ROWS or size > BATCH_BYTES):
                yield batch()
                records.clear()
                size = 0
        if records and columns:
            yield batch()

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

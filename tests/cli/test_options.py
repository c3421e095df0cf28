"""Ids given on the command line arrive as they stand."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapt.cli.options import read_user_ids, split_history
from adapt.cli.output import clean
from adapt.errors import UsageError


def test_user_ids_are_kept_as_they_stand(tmp_path: Path) -> None:
    path = tmp_path / "users.txt"
    path.write_bytes("\ufeff007\r\nNA\n\n1e5\n a b \nü\u2028x".encode())
    assert read_user_ids(path) == ("007", "NA", "1e5", " a b ", "ü\u2028x")


@pytest.mark.parametrize("content", [b"", b"\n\r\n", b"\xff\xfea\n"])
def test_a_file_without_readable_ids_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "users.txt"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=r"users\.txt"):
        read_user_ids(path)


def test_history_with_quoted_commas() -> None:
    assert split_history('007, "a,b",NA ') == ("007", "a,b", "NA")
    assert split_history(None) == ()
    with pytest.raises(UsageError):
        split_history('"open')


@given(st.lists(st.from_regex(r"[A-Za-z0-9._:/-]{1,12}", fullmatch=True), min_size=1, max_size=8))
def test_any_plain_ids_come_back(ids: list[str]) -> None:
    assert split_history(",".join(ids)) == tuple(ids)


@given(st.text())
def test_what_is_shown_cannot_drive_the_terminal(text: str) -> None:
    assert not set(clean(text)) & {chr(code) for code in [*range(32), *range(127, 160), 0x202E, 0x2066]}

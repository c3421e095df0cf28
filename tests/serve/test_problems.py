"""Paths are hidden in what is told."""

from __future__ import annotations

import pytest

from adapt.errors import ConflictError, DataError, NotFoundError, UsageError
from adapt.serve.problems import ProblemError, of_error, without_paths


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("found /srv/shop/index, none", "found (a path), none"),
        ("found '/home/a b/index'", "found '(a path) b/index'"),
        ("in C:\\Users\\me\\index.json", "in (a path)"),
        ("price<=50 and/or 1/2", "price<=50 and/or 1/2"),
        ("PosixPath('/a/b/c')", "PosixPath('(a path)')"),
        ("application/json", "application/json"),
        ("/v1", "/v1"),
    ],
)
def test_without_paths(text: str, told: str) -> None:
    assert without_paths(text) == told


@pytest.mark.parametrize(
    ("error", "status", "slug"),
    [
        (NotFoundError("m", "h"), 404, "not-found"),
        (ConflictError("m", "h"), 409, "conflict"),
        (UsageError("m", "h"), 422, "invalid"),
        (DataError("m", "h"), 422, "invalid"),
    ],
)
def test_what_a_caller_can_mend_is_told(error: UsageError, status: int, slug: str) -> None:
    document = of_error(error).document()
    assert (document["status"], document["detail"], document["hint"]) == (status, "m", "h")
    assert document["type"] == f"urn:adapt:problem:{slug}"


def test_hints_and_fields_hide_paths_too() -> None:
    document = ProblemError(422, "x", "look in /etc/adapt/keys", [("#/a", "in /tmp/x/y")]).document()
    assert "/etc" not in str(document)
    assert "/tmp" not in str(document)

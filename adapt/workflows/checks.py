"""One thing that was looked at, and what was found."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Attributes:
        name: what.
        passed: whether it is as it should be; None = it could not be looked at.
        detail: what was found.
    """

    name: str
    passed: bool | None
    detail: str

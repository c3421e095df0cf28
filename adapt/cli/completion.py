"""What the shell completes for options whose values are names and not files."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

from adapt.errors import AdaptError


def checkpoints(incomplete: str) -> list[str]:
    """Bundled checkpoints."""
    from adapt.hub.bundled import bundled_entries

    with contextlib.suppress(AdaptError):
        return _beginning([entry.name for entry in bundled_entries() if entry.kind == "checkpoint"], incomplete)
    return []


def recipes(incomplete: str) -> list[str]:
    """Bundled recipes."""
    from adapt.workflows.recipe_files import recipe_names

    with contextlib.suppress(AdaptError):
        return _beginning(recipe_names(), incomplete)
    return []


def datasets(incomplete: str) -> list[str]:
    """The example shop; the shell adds files and folders."""
    return _beginning(["example"], incomplete)


def devices(incomplete: str) -> list[str]:
    """Where torch may compute."""
    return _beginning(["cpu", "cuda", "mps"], incomplete)


def methods(incomplete: str) -> list[str]:
    """What is evaluated: the names after the last comma, but for those that are named already."""
    from adapt.cli.evaluate import METHOD_NAMES

    named, comma, last = incomplete.rpartition(",")
    return [f"{named}{comma}{name}" for name in _beginning(METHOD_NAMES, last) if name not in named.split(",")]


def _beginning(names: Iterable[str], incomplete: str) -> list[str]:
    return [name for name in names if name.startswith(incomplete)]

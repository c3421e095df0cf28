"""Where recipes are: files, and those that come with the package."""

from __future__ import annotations

from pathlib import Path

from adapt.errors import UsageError, did_you_mean
from adapt.files import bundled


def recipe_names() -> list[str]:
    """Names of the recipes that come with the package."""
    return sorted(path.stem for path in bundled("recipes").glob("*.yaml"))


def recipe_path(reference: str) -> Path:
    """The file of a recipe, given by a path or by the name of one that comes with the package.

    Raises:
        UsageError: neither exists; lists the names.
    """
    if reference.endswith((".yaml", ".yml")):
        if not Path(reference).is_file():
            raise UsageError(
                f"expected a recipe, found no file {reference}", "`adapt pretrain --list` shows the bundled ones."
            )
        return Path(reference)
    names = recipe_names()
    if reference not in names:
        raise UsageError(
            f"expected a recipe out of {', '.join(names)}, or a .yaml file; found {reference!r}",
            f"{did_you_mean(reference, names)}`adapt pretrain --list` shows them.",
        )
    return bundled("recipes") / f"{reference}.yaml"

"""A folder to begin a checkpoint of one's own in: a recipe that knows where it will be shared, and the steps."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from adapt.errors import OutputError
from adapt.files import atomic_folder, bundled
from adapt.hub.push import check_repo

_TEMPLATE = "own_data"
_STEPS = """\
# {repo}

A checkpoint in the making. Fill in `summary`, `license`, `licences` and `notes` of `recipe.yaml`: the card is made from
them and from what the training measures. Then, in this folder:

{commands}

`--dry-run` lists what would go and refuses what may not; without it the folder goes up as one commit.
"""


@dataclass(frozen=True)
class NewFolder:
    """What was made.

    Attributes:
        folder: of it.
        repo: ``org/name``.
        commands: the steps from here to the Hub, to be run in the folder.
    """

    folder: Path
    repo: str
    commands: tuple[str, ...]


def new_folder(repo: str, folder: str | Path = "") -> NewFolder:
    """Make a folder with a recipe for ``org/name`` and the commands that lead to it.

    Args:
        repo: ``org/name``.
        folder: new or empty; by default ``name`` where the command runs.

    Raises:
        UsageError: ``repo`` is no name of a repository.
        OutputError: the folder exists with files in it, or cannot be written.
    """
    name = check_repo(repo).partition("/")[2]
    path = Path(folder or name)
    if path.is_file():
        raise OutputError(f"expected a new or empty folder, found the file {path}", "Choose another with --output.")
    from adapt.workflows.recipe import load_recipe  # it imports torch, and a wrong name is told before

    commands = (
        "adapt data check DATASET",
        "adapt pretrain --recipe recipe.yaml --dataset DATASET --output run",
        f"adapt hub verify run/{name}",
        f"adapt hub push run/{name} {repo} --dry-run",
        f"adapt hub push run/{name} {repo}",
    )
    with atomic_folder(path) as temporary:
        recipe = temporary / "recipe.yaml"
        recipe.write_text(_recipe(repo, name), encoding="utf-8")
        load_recipe(str(recipe))  # what is handed out can be run
        steps = "\n".join(("```bash", *commands, "```"))
        (temporary / "README.md").write_text(_STEPS.format(repo=repo, commands=steps), encoding="utf-8")
    return NewFolder(path, repo, commands)


def _recipe(repo: str, name: str) -> str:
    """The recipe for data sets of one's own under another name."""
    text = (bundled("recipes") / f"{_TEMPLATE}.yaml").read_text(encoding="utf-8")
    body = text[re.search(r"^name:", text, re.MULTILINE).start() :]  # type: ignore[union-attr]
    _, _, settings = body.partition("\nencoders:")
    head = [
        f"# {repo}: see README.md beside this file for the steps.",
        f'name: "{name}"',
        "summary: >-",
        "  What it is and what it is for, in a sentence or two.",
        f'repository: "{repo}"',
        "license: apache-2.0",
        "licences: []  # sentences on the licences of the data sets and encoders",
        "notes: []  # sentences that whoever uses it should read",
    ]
    return "\n".join(head) + "\nencoders:" + settings

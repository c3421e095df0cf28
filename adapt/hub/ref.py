"""References to checkpoints: a path, a bundled name, or a repository on the Hub with an optional revision."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from adapt.errors import UsageError

_HUB = re.compile(
    r"(?:hf://)?(?P<repo>[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?:/(?P<subfolder>\w[\w.-]*(?:/\w[\w.-]*)*))?(?:@(?P<revision>[\w./-]+))?"
)
TRAINING_FREE = "training-free"
"""Names the towers that are made for a data set where a checkpoint is asked for; there is no such folder."""

_NAME = re.compile(r"[A-Za-z0-9][\w.-]*")


@dataclass(frozen=True)
class Reference:
    """Where a checkpoint is.

    Attributes:
        kind: ``"path"``, ``"bundled"`` or ``"hub"``.
        name: the path, the bundled name, or ``org/name``.
        revision: of a Hub repository: branch, tag or commit; empty = its main branch.
        subfolder: of a Hub repository, or empty.
    """

    kind: Literal["path", "bundled", "hub"]
    name: str
    revision: str = ""
    subfolder: str = ""

    def at(self, revision: str) -> Reference:
        """The same at another revision."""
        return replace(self, revision=revision)

    def __str__(self) -> str:
        """As it is written.

        >>> str(parse_reference("hf://org/name/towers@main")), str(parse_reference("hf://org/name"))
        ('hf://org/name/towers@main', 'org/name')
        """
        if self.kind != "hub":
            return self.name
        place = f"hf://{self.name}/{self.subfolder}" if self.subfolder else self.name
        return f"{place}@{self.revision}" if self.revision else place


def parse_reference(text: str) -> Reference:
    """Tell what a reference is; a folder that exists is a path before it is anything else.

    Raises:
        UsageError: it is none of the forms.

    >>> parse_reference("adapt-mini").kind
    'bundled'
    >>> parse_reference("org/name@v1")
    Reference(kind='hub', name='org/name', revision='v1', subfolder='')
    >>> parse_reference("hf://org/name/towers@main").subfolder
    'towers'
    """
    if text.startswith(("/", "./", "../", "~")) or _is_folder(text):
        return Reference("path", str(Path(os.path.expanduser(text))))  # noqa: PTH111, Path.expanduser fails on an unknown user
    if _NAME.fullmatch(text):
        return Reference("bundled", text)
    if (found := _HUB.fullmatch(text)) and (text.startswith("hf://") or not found["subfolder"]):
        return Reference("hub", found["repo"], found["revision"] or "", found["subfolder"] or "")
    raise UsageError(
        f"expected a checkpoint: a folder, a bundled name, or org/name[@revision] on the Hub; found {text!r}",
        "`adapt hub list` shows the bundled ones.",
    )


def is_on_hub(reference: str | Path) -> bool:
    """Whether a reference names a repository on the Hub; a path, and what there is on this machine, does not.

    >>> is_on_hub("org/name@v1"), is_on_hub("adapt-mini"), is_on_hub(Path("org/name"))
    (True, False, False)
    """
    try:
        return isinstance(reference, str) and parse_reference(reference).kind == "hub"
    except UsageError:
        return False


def _is_folder(text: str) -> bool:
    """Is there a folder of this name? A name that no file system can hold is none."""
    try:
        return bool(text) and Path(text).is_dir()
    except OSError:
        return False

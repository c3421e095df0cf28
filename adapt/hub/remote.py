"""What an organisation or a person shares on the Hub that this package reads."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import Any

from adapt.errors import UsageError
from adapt.hub.failures import explained

LIBRARY = "adapt"
_ORG = re.compile(r"[A-Za-z0-9][\w.-]*")


@dataclass(frozen=True)
class RemoteEntry:
    """One repository.

    Attributes:
        name: ``org/name``.
        kind: ``"checkpoint"``, ``"adapter"`` or ``"index"``, as its card says.
        commit: the newest.
        updated: day and time in ISO 8601; empty where the Hub does not say.
        private: whether only members see it.
    """

    name: str
    kind: str
    commit: str
    updated: str
    private: bool

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return asdict(self)


def remote_entries(org: str) -> tuple[RemoteEntry, ...]:
    """The repositories of an organisation whose card names this package as their library, by name.

    Raises:
        UsageError: ``org`` is no name.
        HubError: the Hub refuses or cannot be reached.
    """
    if not _ORG.fullmatch(org):
        raise UsageError(f"expected the name of an organisation or a person, found {org!r}")
    with explained(org, "list what is shared by", sends=False):
        from huggingface_hub import HfApi

        found = list(HfApi().list_models(author=org, filter=LIBRARY, full=True))
    entries = [
        RemoteEntry(
            model.id,
            _kind(model.tags or []),
            model.sha or "",
            model.last_modified.isoformat() if model.last_modified else "",
            bool(model.private),
        )
        for model in found
    ]
    return tuple(sorted(entries, key=lambda one: one.name))


def _kind(tags: list[str]) -> str:
    if "lora" in tags:
        return "adapter"
    return "index" if "index" in tags else "checkpoint"

"""Which engine searches: the options that say so, and the settings that they stand for."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Annotated

import typer

from adapt.errors import UsageError

if TYPE_CHECKING:
    from adapt.index.engine import RemoteSettings

_PANEL = "The engine that searches"


class EngineName(str, Enum):
    """The values of ``--engine``."""

    local = "local"
    milvus = "milvus"


@dataclass(frozen=True)
class Engine:
    """Which engine searches; a group of options (:mod:`adapt.cli.groups`)."""

    engine: Annotated[EngineName, typer.Option(help="This machine, or Milvus.", rich_help_panel=_PANEL)] = (
        EngineName.local
    )
    uri: Annotated[
        str,
        typer.Option(
            help="Of the server, http(s)://HOST:19530, or a file NAME.db of Milvus Lite.", rich_help_panel=_PANEL
        ),
    ] = ""
    collection: Annotated[
        str,
        typer.Option(
            help="The name that leads to the rows there; by default that of the folder.", rich_help_panel=_PANEL
        ),
    ] = ""
    token_env: Annotated[
        str,
        typer.Option(
            help="Environment variable that holds the token or user:password. [ADAPT_MILVUS_TOKEN]",
            rich_help_panel=_PANEL,
        ),
    ] = ""
    engine_option: Annotated[
        list[str] | None,
        typer.Option(
            help="NAME=VALUE, repeat: index (HNSW, DISKANN, FLAT), m, ef_construction, consistency, timeout, database, "
            "ca, cert, key, server_name.",
            rich_help_panel=_PANEL,
        ),
    ] = None

    def settings(self) -> RemoteSettings | None:
        """Where the engine is; None for this machine.

        Raises:
            UsageError: an option does not fit.
            MissingExtraError: the engine's client is not installed.
        """
        given = {"uri": self.uri, "collection": self.collection, "token_env": self.token_env}
        named = {name: value for name, value in given.items() if value}
        if self.engine is EngineName.local:
            if named or self.engine_option:
                raise UsageError(
                    "expected --engine milvus with --uri, --collection, --token-env or --engine-option, found none"
                )
            return None
        if not self.uri:
            raise UsageError(
                "expected --uri with --engine milvus, found none",
                "Give http://HOST:19530, https://..., or a file NAME.db of Milvus Lite.",
            )
        from adapt.config import parse
        from adapt.index.engine import RemoteSettings, connect
        from adapt.index.milvus_client import check_installed

        settings = parse(
            RemoteSettings, {**_pairs(self.engine_option or ()), **named, "engine": self.engine.value}, "--engine"
        )
        connect(settings)  # says at once what cannot be meant
        check_installed(settings.uri)
        return settings


def _pairs(written: list[str] | tuple[()]) -> dict[str, str]:
    pairs = {}
    for one in written:
        name, equals, value = one.partition("=")
        if not equals or not name.strip():
            raise UsageError(f"expected --engine-option NAME=VALUE, found {one!r}")
        if name.strip() in ("uri", "collection", "token_env", "engine"):
            raise UsageError(f"expected {name.strip()} as an option of its own, found it after --engine-option")
        pairs[name.strip()] = value.strip()
    return pairs

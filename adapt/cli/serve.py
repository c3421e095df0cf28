"""``adapt serve``: an index and its memory over HTTP, with a page."""

from __future__ import annotations

import importlib.util
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from adapt.cli import options, output, preflight
from adapt.cli.groups import grouped
from adapt.errors import MissingExtraError, UsageError

if TYPE_CHECKING:
    from adapt.serve.security import Keys
    from adapt.workflows.live_types import LiveOptions

_NEEDED = {
    "fastapi": "fastapi",
    "uvicorn": "uvicorn",
    "prometheus_client": "prometheus-client",
    "python_multipart": "python-multipart",
}


class KeyRole(str, Enum):
    """The values of ``--new-key``."""

    read = "read"
    write = "write"


_Index = Annotated[Path | None, typer.Option("--index", help="Folder of the index.", show_default=False)]
_Memory = Annotated[
    Path | None,
    typer.Option("--memory", help="Folder of events and added pictures. [INDEX-memory]", show_default=False),
]
_DataSet = Annotated[
    str,
    typer.Option(
        "--dataset", "-d", help="That behind the index: its interactions begin the memory, its pictures are shown."
    ),
]
_TunedIndex = Annotated[
    Path | None,
    typer.Option("--tuned-index", help="Of a fine-tuned run over the same items, offered beside.", show_default=False),
]
_Host = Annotated[str, typer.Option("--host", help="Where to listen; beyond this machine only with --api-keys.")]
_Port = Annotated[int, typer.Option("--port", min=0, max=65535, help="0 = any that is free.")]
_Workers = Annotated[int, typer.Option("--workers", min=1, max=64, help="Processes that share the port.")]
_ApiKeys = Annotated[
    Path | None,
    typer.Option("--api-keys", help="File with the hashes of the keys that are accepted.", show_default=False),
]
_NewKey = Annotated[
    KeyRole | None,
    typer.Option("--new-key", help="Print a new key and its line for the file, and end.", show_default=False),
]
_Checkpoint = Annotated[
    str, typer.Option("--checkpoint", help="The checkpoint, where it is not where the index was built from.")
]
_Run = Annotated[str, typer.Option("--run", help="The fine-tuned run, where it has moved.")]


@grouped
def serve(
    *,
    index: _Index = None,
    memory: _Memory = None,
    dataset: _DataSet = "",
    tuned_index: _TunedIndex = None,
    host: _Host = "127.0.0.1",
    port: _Port = 8000,
    workers: _Workers = 1,
    api_keys: _ApiKeys = None,
    new_key: _NewKey = None,
    checkpoint: _Checkpoint = "",
    run: _Run = "",
    allow_download: options.AllowDownload = False,
    device: options.Device = "cpu",
    columns: options.Columns,
) -> None:
    """Serve an index over HTTP: recommend, search, add and remove items, record events; a page to try it on at /."""
    _check_installed()
    if new_key is not None:
        _print_new_key(new_key.value)
        return
    if index is None:
        raise UsageError("expected the folder of an index after --index, found none", "Build one: `adapt index build`.")
    keys = _accepted(api_keys, host)
    for folder in filter(None, (index, tuned_index)):
        preflight.index(folder)
    if dataset:
        preflight.dataset(dataset, columns, allow_download=allow_download)
    from adapt.workflows.live_service import default_memory
    from adapt.workflows.live_types import LiveOptions

    opened = LiveOptions(
        str(index),
        str(memory or default_memory(index)),
        dataset,
        str(tuned_index or ""),
        checkpoint,
        run,
        allow_download,
        device,
        columns.chosen(),
    )
    _serve(opened, host, port, workers, keys)


def _accepted(api_keys: Path | None, host: str) -> Keys:
    """The keys that are accepted.

    Raises:
        UsageError: there are none, and other machines reach the host.
    """
    from adapt.serve.security import NO_KEYS, is_loopback, read_keys

    keys = NO_KEYS if api_keys is None else read_keys(api_keys)
    if not keys and not is_loopback(host):
        raise UsageError(
            f"expected --api-keys with a --host that other machines reach, found {host} without",
            "Make a key with `adapt serve --new-key write`, keep its line in a file, and give that as --api-keys FILE.",
        )
    return keys


def _serve(opened: LiveOptions, host: str, port: int, workers: int, keys: Keys) -> None:
    from adapt.cli.progress import computing
    from adapt.serve.server import Address, bind, serve, url
    from adapt.serve.settings import DEFAULTS
    from adapt.serve.workers import Plan
    from adapt.serve.workers import run as run_workers
    from adapt.workflows.live_service import LiveService

    with bind(Address(host, port)) as listener:
        output.note(f"events are kept in {opened.memory}")

        def ready() -> None:
            output.note(f"ready: {url(listener)} (Ctrl-C ends it)")

        if workers > 1:
            run_workers(Plan(opened, keys, DEFAULTS), listener, workers, ready, output.note)
        else:
            with computing() as progress:
                service = LiveService.open(opened, progress)
            try:
                serve(service, listener, keys=keys, ready=ready)
            finally:
                service.close()
    output.note("stopped; every answered change is on disk")


def _check_installed() -> None:
    missing = [package for module, package in _NEEDED.items() if importlib.util.find_spec(module) is None]
    if missing:
        raise MissingExtraError(
            f"the service needs {', '.join(missing)}, found nothing of that name", 'pip install "adapt-mmrec[serve]"'
        )


def _print_new_key(role: str) -> None:
    from adapt.serve.security import new_key

    key, line = new_key("write" if role == "write" else "read")
    output.note("the key is shown once; callers send it as `Authorization: Bearer KEY`:")
    output.text(key)
    output.note("and the service needs this line in the file of --api-keys:")
    output.text(line)

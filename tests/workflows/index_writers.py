"""A program that forks a writer of an index for each line that it reads, and never talks to an engine itself.

A process that has spoken gRPC cannot be forked safely, and importing everything anew for each writer takes seconds.
Arguments: an index whose model all of them have, and a file of items to add. A line is ``add STEP FOLDER`` or
``compact STEP FOLDER``; the answer is the exit status of the writer, which kills itself at the step, if there is one.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
from pathlib import Path
from typing import Any

from adapt import load_dataset
from adapt.index.generations import Writer
from adapt.index.milvus import MilvusCollection, MilvusServer
from adapt.workflows.living_index import LivingIndex
from tests.killing import forked

STEPS: dict[str, tuple[type, str, bool]] = {
    # what is called, and whether the writer dies after it has returned
    "created": (MilvusServer, "create", True),
    "stored": (MilvusCollection, "put", True),
    "committing": (Writer, "commit", False),
    "committed": (Writer, "commit", True),
    "switched": (MilvusServer, "publish", True),
    "removing": (MilvusCollection, "delete", False),
}
COMMITTED = ("committed", "switched", "removing")


def die_at(step: str) -> None:
    """Have this process kill itself at a step."""
    if step not in STEPS:
        return
    owner, name, afterwards = STEPS[step]
    called = getattr(owner, name)

    def last(*arguments: Any, **named: Any) -> None:
        if afterwards:
            called(*arguments, **named)
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(owner, name, last)


def main(template: str, more: str) -> None:
    for name in ("pymilvus", "milvus_lite.adapter.grpc.server"):
        importlib.import_module(name)
    loaded = LivingIndex.open(template)
    loaded.model.text("kettle")
    items = load_dataset(Path(more)).catalog

    def work(kind: str, step: str, folder: str) -> None:
        die_at(step)
        living = LivingIndex.open(folder)
        living._model = loaded._model
        if kind == "add":
            living.add(items)
        else:
            living.compact(refit=True)

    for line in sys.stdin:
        kind, step, folder = line.strip().split(" ", 2)
        child = forked(lambda: work(kind, step, folder))  # noqa: B023 - it is called before the next line
        print(os.waitpid(child, 0)[1], flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])

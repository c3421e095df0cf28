"""Child processes that run a module of this package and talk over pipes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def start_module(module: str, *arguments: str, buffered: bool = True) -> subprocess.Popen[bytes]:
    """Start ``python -m module``, which finds this very package wherever it was imported from.

    Its standard input and output are pipes; what it says on standard error is dropped.

    Args:
        module: full name.
        arguments: of its command line.
        buffered: whether the pipes are buffered on this side; not where they are waited for by file descriptor.
    """
    paths = [os.fspath(Path(__file__).resolve().parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
    return subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        bufsize=-1 if buffered else 0,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
    )

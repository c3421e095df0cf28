"""What a run ran on: processor, cores, memory and versions, for its records."""

from __future__ import annotations

import ctypes
import os
import platform
import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from adapt.version import __version__

_LIBRARIES = (
    "torch",
    "numpy",
    "transformers",
    "open_clip_torch",
    "timm",
    "hnswlib",
    "tokenizers",
    "peft",
    "accelerate",
)


def versions() -> dict[str, str]:
    """Name -> version of adapt, Python and the libraries that a result depends on."""
    found = {"adapt": __version__, "python": platform.python_version()}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def processor() -> str:
    """The processor's model as the system names it, with the number of cores that this process may use."""
    name = platform.processor() or platform.machine()
    described = Path("/proc/cpuinfo")
    if described.is_file():
        lines = described.read_text(encoding="utf-8", errors="replace").splitlines()
        name = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), name)
    return f"{name}, {cores()} core{'s' if cores() != 1 else ''}"


def cores() -> int:
    """Cores that this process may use, which a container may make fewer than the machine has."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity is not None else os.cpu_count() or 1


def peak_memory() -> int:
    """The most memory that this process has held so far, in bytes; 0 where the system does not say."""
    try:
        import resource
    except ImportError:
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def return_memory() -> None:
    """Give the system back what was freed, which glibc keeps: tensors of ever new sizes leave gaps behind.

    Where there is another C library, nothing happens.
    """
    if (trim := _malloc_trim()) is not None:
        trim(0)


@cache
def _malloc_trim() -> Any:
    if not sys.platform.startswith("linux"):
        return None
    return getattr(ctypes.CDLL(None), "malloc_trim", None)

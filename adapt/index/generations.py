"""A folder that changes whole or not at all, with one writer and any number of readers.

    CURRENT                   names the generation that counts, and its hash
    LOCK                      held by the writer
    generations/000007/       ``index.json`` and small files; names the parts that it is made of
    parts/0f3a.../            files that are written once and shared by generations

A writer adds parts, then a generation, then replaces ``CURRENT``: each step is a rename, so a process that dies
between two of them leaves the generation of before, and rubbish that the next writer removes. A reader holds a shared
lock on ``index.json`` of its generation for as long as it uses it; the files of a generation that somebody holds stay.
Locks are ``flock``: the system lets go of them when a process dies, however it dies.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adapt.errors import CheckpointError, OutputError, UsageError
from adapt.files import atomic_folder, atomic_write, output_errors
from adapt.index.sealed import REBUILD, SealedFolder, seal

FORMAT_VERSION = 2
CURRENT, LOCK, GENERATIONS, PARTS, DESCRIPTION = "CURRENT", "LOCK", "generations", "parts", "index.json"
_SHARED = ("README.md", "metrics.json", "SHA256SUMS", ".cache")  # what a copy of a shared index has beside it
DEFAULT_WAIT = 30.0
_POLL = 0.05
_OPENINGS = 100


@dataclass(frozen=True)
class Part:
    """A folder of files that a generation refers to.

    Attributes:
        name: of the folder.
        sha256: of its list of hashes.
    """

    name: str
    sha256: str


@dataclass(frozen=True)
class Pointer:
    """What ``CURRENT`` says.

    Attributes:
        generation: name of the folder, which counts up.
        sha256: of its list of hashes.
    """

    generation: str
    sha256: str


class Held:
    """A generation that stays on disk until :meth:`release`.

    Attributes:
        pointer: which.
        folder: its files.
    """

    def __init__(self, pointer: Pointer, folder: SealedFolder, descriptor: int) -> None:
        self.pointer = pointer
        self.folder = folder
        self._descriptor: int | None = descriptor
        self._close = os.close  # modules are taken apart before the last objects when a program ends

    def release(self) -> None:
        """Let go of it; the next writer may remove its files."""
        if self._descriptor is not None:
            self._close(self._descriptor)
            self._descriptor = None

    def __del__(self) -> None:
        self.release()


class Generations:
    """The folder of an index.

    Args:
        path: of it; need not exist yet.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def pointer(self) -> Pointer | None:
        """The generation that counts now; None where there is no index.

        Raises:
            CheckpointError: ``CURRENT`` cannot be read, or is of another format.
        """
        path = self.path / CURRENT
        try:
            value = json.loads(path.read_text(encoding="utf-8"))
            if value.get("format_version", FORMAT_VERSION) != FORMAT_VERSION:
                raise CheckpointError(
                    f"expected an index of format {FORMAT_VERSION}, found {value['format_version']!r} in {self.path}",
                    "Upgrade the package, or build the index again with this version.",
                )
            name, sha256 = value["generation"], value["sha256"]
            if not (isinstance(name, str) and name.isdecimal() and isinstance(sha256, str)):
                raise ValueError(f"generation {name!r} with sha256 {sha256!r}")
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise CheckpointError(f"expected {path} to name a generation, found: {error}", REBUILD) from error
        return Pointer(name, sha256)

    def current(self) -> Pointer:
        """What ``CURRENT`` says.

        Raises:
            CheckpointError: there is no index, or the file is damaged.
        """
        pointer = self.pointer()
        if pointer is None:
            found = f"no {CURRENT}" if self.path.is_dir() else "no such folder"
            raise CheckpointError(
                f"expected an index in {self.path}, found {found}",
                "`adapt index build --dataset PATH --output DIR` makes one.",
            )
        return pointer

    def hold(self) -> Held:
        """The generation that counts now, kept from being removed.

        Raises:
            CheckpointError: there is no index, or it is damaged.
        """
        failure: CheckpointError | None = None
        for _ in range(_OPENINGS):
            pointer = self.current()
            folder = self.path / GENERATIONS / pointer.generation
            try:
                descriptor = _shared(folder / DESCRIPTION)
            except OSError as error:  # removed by a writer since CURRENT was read, or not there at all
                failure = CheckpointError(f"expected {folder / DESCRIPTION}, found: {error.strerror}", REBUILD)
                if self.pointer() == pointer:
                    time.sleep(_POLL / 10)
                continue
            try:
                return Held(pointer, SealedFolder(folder, pointer.sha256), descriptor)
            except CheckpointError:
                os.close(descriptor)
                raise
        assert failure is not None
        raise failure

    def generations(self) -> Iterator[tuple[str, SealedFolder]]:
        """Every generation on disk with its name, those that no longer count and are still held too."""
        for folder in _folders(self.path / GENERATIONS):
            with contextlib.suppress(CheckpointError):
                yield folder.name, SealedFolder(folder)

    def part(self, part: Part) -> SealedFolder:
        """The files of a part.

        Raises:
            CheckpointError: it is absent or another one.
        """
        return SealedFolder(self.path / PARTS / _plain(part.name), part.sha256)

    @contextlib.contextmanager
    def writing(self, wait: float = DEFAULT_WAIT) -> Iterator[Writer]:
        """Become the writer.

        Args:
            wait: seconds to wait for another writer to finish.

        Raises:
            UsageError: another writer is still at it; says which process.
            OutputError: the folder holds something that is no index, or cannot be written.
        """
        with output_errors(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            self._check_ours()
            descriptor = os.open(self.path / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            self._lock(descriptor, wait)
            with output_errors(self.path):
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, json.dumps({"pid": os.getpid(), "since": int(time.time())}).encode(), 0)
            writer = Writer(self)
            try:
                yield writer
            finally:
                writer.collect()
        finally:
            os.close(descriptor)

    def _lock(self, descriptor: int, wait: float) -> None:
        deadline = time.monotonic() + wait
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    break
                time.sleep(_POLL)
        owner = "another process"
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            value = json.loads(os.pread(descriptor, 1000, 0))
            owner = f"process {value['pid']}, since {time.strftime('%H:%M:%S', time.localtime(value['since']))}"
        raise UsageError(
            f"expected to be the only writer of {self.path}, found that {owner} is changing it",
            f"Waited {wait:g} s; try again when it is done, or wait longer with --wait. Searching goes on meanwhile.",
        )

    def _check_ours(self) -> None:
        """Raises OutputError where the folder holds anything that is not part of an index."""
        known = {CURRENT, LOCK, GENERATIONS, PARTS, *_SHARED}
        foreign = [p.name for p in self.path.iterdir() if p.name not in known and not p.name.startswith(f".{CURRENT}.")]
        if foreign:
            raise OutputError(
                f"expected a new folder or an index, found {self.path} with files in it: {sorted(foreign)[0]}",
                "Choose another folder.",
            )


class Writer:
    """The one process that changes an index; made by :meth:`Generations.writing`."""

    def __init__(self, folder: Generations) -> None:
        self._folder = folder

    @property
    def folder(self) -> Generations:
        """The folder that is written."""
        return self._folder

    def part(self, fill: Callable[[Path], None]) -> Part:
        """Write a part.

        Args:
            fill: writes files into an empty folder.

        Raises:
            OutputError: it cannot be written.
        """
        name = uuid.uuid4().hex
        with atomic_folder(self._folder.path / PARTS / name) as temporary:
            fill(temporary)
            sha256 = seal(temporary)
        return Part(name, sha256)

    def commit(self, description: dict[str, Any], fill: Callable[[Path], None] = lambda _: None) -> Pointer:
        """Write a generation and make it the one that counts.

        Args:
            description: what ``index.json`` holds; the parts are found under ``"parts"``.
            fill: writes further files into its folder.

        Raises:
            OutputError: it cannot be written; the generation of before still counts.
        """
        numbers = [int(path.name) for path in _folders(self._folder.path / GENERATIONS)]
        now = None
        with contextlib.suppress(CheckpointError):
            now = self._folder.pointer()
        name = f"{max([*numbers, int(now.generation) if now else 0]) + 1:06d}"
        text = json.dumps(description, ensure_ascii=False, allow_nan=False) + "\n"  # indenting takes ten times longer
        with atomic_folder(self._folder.path / GENERATIONS / name) as temporary:
            (temporary / DESCRIPTION).write_text(text, encoding="utf-8")
            fill(temporary)
            sha256 = seal(temporary)
        with atomic_write(self._folder.path / CURRENT) as handle:
            handle.write(json.dumps({"format_version": FORMAT_VERSION, "generation": name, "sha256": sha256}) + "\n")
        return Pointer(name, sha256)

    def collect(self) -> None:
        """Remove generations that neither count nor are held, parts that none of the others needs, and rubbish.

        What cannot be removed is left to the next writer: the change itself is done.
        """
        with contextlib.suppress(OSError):
            self._collect()

    def _collect(self) -> None:
        path = self._folder.path
        try:
            pointer = self._folder.pointer()
        except CheckpointError:  # a damaged index can be built again, and until then nothing of it is removed
            return
        needed: set[str] = set()
        for folder in _folders(path / GENERATIONS):
            if (pointer is None or folder.name != pointer.generation) and _remove_free(folder):
                continue
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError, RecursionError):
                needed |= {part["name"] for part in json.loads((folder / DESCRIPTION).read_text("utf-8"))["parts"]}
        for folder in _folders(path / PARTS):
            if folder.name not in needed:
                shutil.rmtree(folder, ignore_errors=True)
        for inside in (path, path / GENERATIONS, path / PARTS):
            for rubbish in inside.glob(".*.*") if inside.is_dir() else ():
                if rubbish.is_dir():
                    shutil.rmtree(rubbish, ignore_errors=True)
                else:
                    rubbish.unlink(missing_ok=True)


def _shared(path: Path) -> int:
    """An open descriptor with a shared lock on a file that is still there once the lock is held.

    Raises:
        OSError: the file is gone.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        if path.stat().st_ino != os.fstat(descriptor).st_ino:
            raise FileNotFoundError(2, "replaced meanwhile")
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _remove_free(generation: Path) -> bool:
    """Remove a generation that nobody holds; False where somebody does."""
    try:
        descriptor = os.open(generation / DESCRIPTION, os.O_RDONLY)
    except OSError:
        shutil.rmtree(generation, ignore_errors=True)
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        (generation / DESCRIPTION).unlink(missing_ok=True)  # first, so that no reader takes what is half gone
        shutil.rmtree(generation, ignore_errors=True)
        return True
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)


def _folders(path: Path) -> list[Path]:
    """The folders in a folder, without those that are still being written."""
    if not path.is_dir():
        return []
    return sorted(child for child in path.iterdir() if child.is_dir() and not child.name.startswith("."))


def _plain(name: str) -> str:
    """A part's name, which may not lead out of the folder.

    Raises:
        CheckpointError: it is no name that a writer gives.
    """
    if not (name.isalnum() and name.isascii()):
        raise CheckpointError(f"expected the name of a part, found {name!r}", REBUILD)
    return name

"""Files written whole or not at all, hashed, and found wherever the package is installed."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import IO, Any

from adapt.errors import CheckpointError, OutputError

SUMS = "SHA256SUMS"
_CHUNK = 1 << 20
_DAMAGED = "Fetch it again, or reinstall the package if it is a bundled one."


def sha256_file(path: Path) -> str:
    """Hex SHA-256 of a file's bytes, read in chunks of 1 MiB."""
    digest = hashlib.sha256()
    with path.open("rb") as handle:
        while chunk := handle.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def sha256_bytes(data: bytes) -> str:
    """Hex SHA-256 of ``data``.

    >>> sha256_bytes(b"")[:8]
    'e3b0c442'
    """
    return hashlib.sha256(data).hexdigest()


def write_sums(folder: Path) -> None:
    """Write ``SHA256SUMS`` over every file of a folder."""
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    sums = "".join(f"{sha256_file(folder / name)}  {name}\n" for name in names if name != SUMS)
    (folder / SUMS).write_text(sums, encoding="utf-8")


def read_sums(folder: Path) -> dict[str, str]:
    """Name -> sha256 of every file that a folder's ``SHA256SUMS`` lists; none of them is looked at.

    Raises:
        CheckpointError: there is no list, it is no text, a line is no hash and name, a name is absolute or leads out of
            the folder, or one is listed twice.
    """
    path = folder / SUMS
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as failure:
        raise CheckpointError(f"expected text in {path}, found: {failure}", _DAMAGED) from failure
    except OSError as failure:
        raise CheckpointError(
            f"expected {SUMS} in {folder}, found none", "Is this the folder of a checkpoint, an adapter or an index?"
        ) from failure
    listed: dict[str, str] = {}
    for line in lines:
        digest, _, name = line.partition("  ")
        if not re.fullmatch("[0-9a-f]{64}", digest) or not name:
            raise CheckpointError(f"expected a sha256 and a name in every line of {path}, found {line!r}", _DAMAGED)
        if not _inside(name):
            raise CheckpointError(
                f"expected names of files inside the folder in {path}, found {name!r}", "Do not use it: ask its author."
            )
        if name in listed:
            raise CheckpointError(f"expected each file once in {path}, found {name} twice", _DAMAGED)
        listed[name] = digest
    return listed


def check_sums(folder: Path, listed: Mapping[str, str]) -> str:
    """Check every listed file of a folder.

    Args:
        folder: that holds ``SHA256SUMS``.
        listed: what :func:`read_sums` gave.

    Returns:
        The fingerprint: the sha256 of ``SHA256SUMS``.

    Raises:
        CheckpointError: a file is missing or has a byte changed; says which.
    """
    for name, expected in listed.items():
        path = folder / name
        if not path.is_file():
            raise CheckpointError(f"expected {path}, found no such file", _DAMAGED)
        if (found := sha256_file(path)) != expected:
            raise CheckpointError(
                f"expected {path} with sha256 {expected}, found {found}: the file was changed or damaged", _DAMAGED
            )
    return sha256_file(folder / SUMS)


def _inside(name: str) -> bool:
    """Whether a relative name stays in its folder, on any system."""
    parts = PurePosixPath(name).parts
    return bool(parts) and not name.startswith("/") and ".." not in parts and not set(name) & set("\\:\0")


def bundled(kind: str) -> Path:
    """The folder of package data called ``kind`` (``pretrained`` or ``recipes``).

    In a wheel it lies inside the package, in a checkout beside it.

    Raises:
        CheckpointError: the folder is in neither place (a broken installation).
    """
    package = Path(__file__).resolve().parent
    for folder in (package / "_bundled" / kind, package.parent / kind):
        if folder.is_dir():
            return folder
    raise CheckpointError(
        f"expected the bundled folder '{kind}' inside or beside {package}, found neither",
        "The installation is incomplete: reinstall with `pip install --force-reinstall adapt-mmrec`.",
    )


def cache_dir() -> Path:
    """``$ADAPT_CACHE``, else ``$XDG_CACHE_HOME/adapt``, else ``~/.cache/adapt``. Not created here."""
    if explicit := os.environ.get("ADAPT_CACHE"):
        return Path(explicit).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").expanduser() / "adapt"


def scratch_file() -> IO[bytes]:
    """An open file without a name in the cache folder, for what is too large for memory.

    Its room on the disk is free again once nothing has it open or mapped: when the process ends, however it ends.
    It is not in the system's folder for temporary files, which often is memory itself.

    Raises:
        OutputError: it could not be made.
    """
    with scratch_errors():
        cache_dir().mkdir(parents=True, exist_ok=True)
        return tempfile.TemporaryFile(dir=cache_dir(), prefix=".scratch.")


@contextlib.contextmanager
def scratch_errors() -> Iterator[None]:
    """Turn an ``OSError`` met while writing a :func:`scratch_file` into an :class:`OutputError` that names the fix."""
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"expected to write temporary data in {cache_dir()}, found: {error.strerror or error}",
            "Free some space there, or set ADAPT_CACHE to a folder on a larger disk.",
        ) from error


@contextlib.contextmanager
def output_errors(target: Path) -> Iterator[None]:
    """Turn an ``OSError`` met while writing ``target`` into an :class:`OutputError` that names the fix."""
    try:
        yield
    except OSError as error:
        hints = {
            errno.ENOSPC: "The disk is full: free some space or choose another --output; nothing half-written is left.",
            errno.EDQUOT: "The disk quota is used up: choose another --output; nothing half-written was left.",
            errno.EROFS: "The file system is read-only: choose another --output.",
            errno.EACCES: "You may not write there: choose another --output or change its permissions.",
            errno.EPERM: "You may not write there: choose another --output or change its permissions.",
            errno.ENOTDIR: "A file stands where a folder is needed: choose another --output.",
            errno.EEXIST: "A file stands where a folder is needed: choose another --output.",
        }
        raise OutputError(
            f"expected to write {target}, found: {error.strerror or error}",
            hints.get(error.errno or 0, "Choose another --output."),
        ) from error


@contextlib.contextmanager
def atomic_write(path: Path, mode: str = "w") -> Iterator[IO[Any]]:
    """Open a temporary file beside ``path`` and rename it onto ``path`` when the block ends without an error.

    A reader sees the old file or the new one, never half of one; on an error, an interrupt included, the temporary
    file is removed and ``path`` is as it was. Parent folders are created. Text is UTF-8 with ``\\n`` line ends.

    Args:
        path: the file to create or replace.
        mode: ``"w"`` for text, ``"wb"`` for bytes.

    Raises:
        OutputError: it could not be written.
    """
    with output_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
        temporary = Path(name)
        try:
            text = {} if "b" in mode else {"encoding": "utf-8", "newline": ""}
            with open(descriptor, mode, **text) as handle:  # type: ignore[call-overload]  # noqa: PTH123
                yield handle
                handle.flush()
                os.fsync(handle.fileno())
            temporary.chmod(0o666 & ~_umask())
            temporary.replace(path)
            _sync_folder(path.parent)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


@contextlib.contextmanager
def atomic_folder(path: Path, *, replace: bool = False) -> Iterator[Path]:
    """Yield an empty folder beside ``path`` that becomes ``path`` when the block ends without an error.

    Args:
        path: the folder to create.
        replace: whether an existing, non-empty ``path`` may be replaced.

    Raises:
        OutputError: it could not be written, or ``path`` exists, is not empty and ``replace`` is false.
    """
    with output_errors(path):
        if path.is_dir() and any(path.iterdir()) and not replace:
            raise OutputError(
                f"expected a new or empty folder, found {path} with files in it", "Choose another --output."
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp"))
        try:
            yield temporary
            mask = _umask()
            temporary.chmod(0o777 & ~mask)
            for child in temporary.rglob("*"):
                if child.is_file():
                    child.chmod(0o666 & ~mask)  # some writers make files that only their owner may read
                    with child.open("rb") as handle:
                        os.fsync(handle.fileno())
            _sync_folder(temporary)
            if path.exists():
                old = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.", suffix=".old"))
                path.replace(old / "old")
                try:
                    temporary.replace(path)
                except BaseException:
                    (old / "old").replace(path)  # what was there stays there
                    old.rmdir()
                    raise
                shutil.rmtree(old, ignore_errors=True)
            else:
                temporary.replace(path)
            _sync_folder(path.parent)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise


def read_object(path: Path) -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
        CheckpointError: the file cannot be read, or holds something else.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as failure:
        raise CheckpointError(f"expected JSON in {path}, found: {failure}") from failure
    if not isinstance(found, dict):
        raise CheckpointError(f"expected an object in {path}, found {type(found).__name__}")
    return found


def write_json(path: Path, value: object) -> None:
    """Write ``value`` as indented JSON with a final newline, atomically. NaN and infinity are refused."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    with atomic_write(path) as handle:
        handle.write(text)


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current


def _sync_folder(folder: Path) -> None:
    """Make a rename durable where the platform can open a folder."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

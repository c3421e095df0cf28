"""What must not leave this machine with a folder that is shared: keys and tokens, users, rows of data."""

from __future__ import annotations

import fnmatch
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from adapt.errors import CheckpointError, UsageError

_SECRET_NAMES = (
    *(
        ".env",
        ".env.*",
        "*.env",
        "*.pem",
        "*.key",
        "*.p12",
        "*.pfx",
        "*.keystore",
        "id_rsa*",
        "id_ed25519*",
        "id_ecdsa*",
    ),
    *(".netrc", "_netrc", ".git-credentials", ".pypirc", ".npmrc", "credentials", "credentials.*", "token", "token.*"),
    *("secrets", "secrets.*", "stored_tokens", ".htpasswd"),
)
_DATA_NAMES = (
    *(
        "*.csv",
        "*.tsv",
        "*.jsonl",
        "*.parquet",
        "*.arrow",
        "*.feather",
        "*.inter",
        "*.item",
        "*.user",
        "*.npy",
        "*.npz",
    ),
    *("*.sqlite", "*.sqlite3", "*.db", "*.xlsx", "*.log", "histories.*", "interactions.*", "events.*", "users.*"),
    *("run.json", "recommendations.*", "evaluation.json"),
)
_SECRETS = {
    "a Hugging Face token": re.compile(r"\b(?:hf|api_org|hf_oauth)_[A-Za-z0-9_]{20,}"),
    "a GitHub token": re.compile(r"\b(?:gh[pousr]_[A-Za-z0-9]{30,}|github_pat_[A-Za-z0-9_]{30,})"),
    "a GitLab token": re.compile(r"\bglpat-[\w-]{20,}"),
    "an AWS access key": re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"),
    "a Google API key": re.compile(r"\bAIza[\w-]{35}"),
    "a Slack token": re.compile(r"\bxox[abeoprs]-[\w-]{10,}"),
    "an API key": re.compile(r"\bsk-(?:[a-z]+-)*[A-Za-z0-9_-]{20,}"),
    "a private key": re.compile(r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----"),
    "a JSON web token": re.compile(r"\beyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{10,}"),
    "a password in an address": re.compile(r"\b[a-z][a-z0-9+.-]*://[^\s/:@]+:[^\s/@]{3,}@"),
    "an assigned secret": re.compile(
        r"(?i)\b(?:api[_-]?key|access[_-]?key|secret(?:[_-]?key)?|auth[_-]?token|access[_-]?token|password|passwd)"
        r"[\"']?\s*[:=]\s*[\"']?(?![\"'\s])[^\s\"',}]{8,}"
    ),
}
_PEOPLE = frozenset(
    ("user", "users", "user_id", "user_ids", "userid", "uid", "customer_id", "session_id", "email", "emails", "history",
     "histories", "interactions", "events")
)  # fmt: skip
_PEOPLE_TENSORS = frozenset(("user", "users", "user_id", "user_ids", "interactions", "events"))
_ROW = re.compile(r"(?i)^\W*\b(user_id|userid|uid|customer_id|session_id)\b\W+\b(item_id|itemid|asin|sku|timestamp)\b")


@dataclass(frozen=True)
class Leak:
    """Something that must stay.

    Attributes:
        file: relative path.
        where: ``"line 3"``, ``"key users"``, or ``"its name"``.
        what: of what kind it is; never the thing itself.
    """

    file: str
    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.file} ({self.where}): {self.what}"


def refuse_leaks(folder: Path, sent: Sequence[str], *, tokens: Sequence[str] = ()) -> None:
    """Make sure that nothing in a folder is a secret, names users or holds rows of data.

    Args:
        folder: that is shared.
        sent: relative paths of the files whose content is looked at; of all others only the names are.
        tokens: secrets of this machine, which are looked for as they are.

    Raises:
        UsageError: something was found; says where, and never shows it.
    """
    found = [*_of_names(folder, sent), *(leak for name in sent for leak in _of_content(folder, name, tokens))]
    if not found:
        return
    shown = "; ".join(str(leak) for leak in found[:5])
    more = f"; and {len(found) - 5} more" if len(found) > 5 else ""
    raise UsageError(
        f"expected nothing to share but weights and what describes them in {folder}, found {shown}{more}",
        "Take it out of the folder and make the sums anew with `adapt hub card`; revoke a key that was ever shared.",
    )


def _of_names(folder: Path, sent: Sequence[str]) -> Iterator[Leak]:
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_dir() or name.startswith(".cache/huggingface/"):
            continue
        if _matches(path.name, _SECRET_NAMES):
            yield Leak(name, "its name", "keys or passwords")
        elif name not in sent and _matches(path.name, _DATA_NAMES):
            yield Leak(name, "its name", "rows of data or users")


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatch(name.lower(), pattern) for pattern in patterns)


def _of_content(folder: Path, name: str, tokens: Sequence[str]) -> Iterator[Leak]:
    path = folder / name
    if path.suffix == ".safetensors":
        yield from _of_tensors(path, name, tokens)
        return
    if path.suffix not in (".json", ".md", ".txt", ""):
        return
    text = _read(path)
    yield from _of_text(text, name, tokens)
    if path.suffix == ".json":
        yield from _of_json(json.loads(text), name)


def _read(path: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".json":
            json.loads(text)
    except (OSError, ValueError) as failure:
        raise CheckpointError(f"expected text in {path}, found: {failure}") from failure
    return text


def _of_text(text: str, name: str, tokens: Sequence[str]) -> Iterator[Leak]:
    for number, line in enumerate(text.splitlines(), start=1):
        if any(token and token in line for token in tokens):
            yield Leak(name, f"line {number}", "the token of this machine")
            continue
        for what, pattern in _SECRETS.items():
            if pattern.search(line):
                yield Leak(name, f"line {number}", what)
                break
        if _ROW.search(line):
            yield Leak(name, f"line {number}", "a table of users")


def _of_json(value: Any, name: str) -> Iterator[Leak]:
    """Keys that name people where they hold something other than a count or a description."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if str(key).lower() in _PEOPLE and isinstance(inner, list | dict) and inner and not _is_figures(inner):
                yield Leak(name, f"key {key}", "users or their histories")
            else:
                yield from _of_json(inner, name)
    elif isinstance(value, list):
        for inner in value:
            yield from _of_json(inner, name)


def _is_figures(value: Any) -> bool:
    """A mapping of numbers, such as the mean and the interval of a figure over users."""
    return isinstance(value, dict) and all(isinstance(part, int | float) for part in value.values())


def _of_tensors(path: Path, name: str, tokens: Sequence[str]) -> Iterator[Leak]:
    try:
        with safe_open(path, framework="np") as file:
            keys, metadata = list(file.keys()), file.metadata() or {}
    except (OSError, SafetensorError) as failure:
        raise CheckpointError(f"expected safetensors in {path}, found: {failure}") from failure
    for key in keys:
        if key.lower().rpartition(".")[2] in _PEOPLE_TENSORS:
            yield Leak(name, f"tensor {key}", "users or their histories")
    for leak in _of_text(json.dumps(metadata), name, tokens):
        yield Leak(name, "its metadata", leak.what)

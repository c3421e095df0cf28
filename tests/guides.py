"""What the README and the guides show: their blocks, the `adapt` commands in them, and which of those no test runs."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent
README = REPOSITORY / "README.md"
FOLDER = REPOSITORY / "recipes" / "guides"
GUIDES = sorted(FOLDER.glob("*.md"))
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SHELLS = {"bash", "console", "sh"}

_SERVER = "needs a Milvus server"
_TWO = "in two processes: tests/test_guide_distributed.py runs it"
NOT_RUN: Mapping[str, Mapping[str, str]] = {
    "ablations.md": {"pretrain --ablate": "real data sets, and half an hour"},
    "distributed.md": {
        "finetune --dataset recipes/example": _TWO,
        "zero-shot --dataset recipes/example": _TWO,
        "pretrain --recipe adapt_gpu": "eight GPUs, and days",
        "pretrain --recipe own_data": "two hosts",
    },
    "milvus.md": {
        "index build --dataset shop/": _SERVER,
        "index move --index shop-index --engine milvus": _SERVER,
        "serve": "does not end, and needs a Milvus server",
    },
    "serve.md": {
        "serve --index shop-index --dataset shop/": "does not end; its test starts it and asks what the page asks",
        "serve --index shop-index --host 0.0.0.0": "does not end, and listens to every network",
    },
}
"""Guide -> how a command begins that :func:`follow` leaves out, and why."""


def commands_of(language: str, text: str) -> Iterator[list[str]]:
    """The words of each `adapt` command of a block, without comments, pipes and `2>`.

    In a session (``console``) commands stand after `$ `; in a script every line may be one.
    """
    if language not in SHELLS:
        return
    for whole in re.sub(r"\\\n\s*", "", text).splitlines():
        if language == "console" and not whole.startswith("$ "):
            continue
        line = whole.removeprefix("$ ") if language == "console" else whole
        words = shlex.split(line.split(" | ")[0], comments=True)
        if "-m" in words and words[words.index("-m") + 1 : words.index("-m") + 2] == ["adapt"]:
            words = words[words.index("-m") + 1 :]
        elif words[:1] != ["adapt"]:
            continue
        yield [word for word in words[1:] if not re.match(r"[0-9]?>|&|\.\.\.$", word)]


def blocks(page: Path) -> list[tuple[str, str]]:
    """Language and text of each block of a page, in order."""
    return FENCE.findall(page.read_text(encoding="utf-8"))


def commands(page: Path) -> Iterator[list[str]]:
    """The words of each `adapt` command that a page shows in a block."""
    for language, text in blocks(page):
        yield from commands_of(language, text)


def reason(page: Path, words: list[str]) -> str:
    """Why a command of a page is not run; empty where it is."""
    said = " ".join(words)
    return next((why for begin, why in NOT_RUN.get(page.name, {}).items() if said.startswith(begin)), "")


def drop_pictures(shop: Path) -> None:
    """Take the last column, that of pictures, from a copy of the example shop: they take most of the time."""
    items = (shop / "items.csv").read_text(encoding="utf-8").splitlines()
    (shop / "items.csv").write_text("\n".join(line.rpartition(",")[0] for line in items), encoding="utf-8")
    shutil.rmtree(shop / "images")


def follow(guide: str, adapt: Callable[..., Any], names: dict[str, Any] | None = None) -> dict[str, Any]:
    """Do what a guide shows from top to bottom: run its commands here, and its programs in one namespace.

    Args:
        guide: the name of its file.
        adapt: runs a command in the current folder, where what the page presupposes must lie.
        names: what its programs presuppose; what they define is added.

    Returns:
        Each command that was run, as it is shown, and how it ended: always with exit code 0.
    """
    names, ran = {} if names is None else names, {}
    page = FOLDER / guide
    for language, text in blocks(page):
        if language == "python":
            exec(compile(text, guide, "exec"), names)
        for words in commands_of(language, text):
            if not reason(page, words):
                ended = ran[" ".join(words)] = adapt(*words)
                assert ended.code == 0, f"adapt {' '.join(words)}\n{ended.err}"
    return ran

"""The guides and the README: every command is understood, every link leads somewhere, every guide is linked."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

from adapt.cli.app import build_app

REPOSITORY = Path(__file__).resolve().parent.parent
README = REPOSITORY / "README.md"
GUIDES = sorted((REPOSITORY / "recipes" / "guides").glob("*.md"))
PAGES = [README, *GUIDES]
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"`(adapt [a-z][^`]*)`")
_LINK = re.compile(r"\]\((?!https?://|#)([^)#]+)")


def _of_block(language: str, text: str) -> Iterator[str]:
    """The commands of a block: those after `$ ` of a session, and every line of a script."""
    for line in re.sub(r"\\\n\s*", "", text).splitlines():
        command = line.removeprefix("$ ") if language == "console" and line.startswith("$ ") else line
        if language == "console" and not line.startswith("$ "):
            continue
        yield command


def commands(page: Path) -> Iterator[list[str]]:
    """The words of each `adapt` command that a page shows in a block, without comments, pipes and `2>`."""
    for language, text in _FENCE.findall(page.read_text(encoding="utf-8")):
        if language not in {"bash", "console", "sh"}:
            continue
        for line in _of_block(language, text):
            words = shlex.split(line.split(" | ")[0], comments=True)
            if "-m" in words and words[words.index("-m") + 1 : words.index("-m") + 2] == ["adapt"]:
                words = words[words.index("-m") + 1 :]
            elif words[:1] != ["adapt"]:
                continue
            yield [word.strip("[]") for word in words[1:] if not re.match(r"[0-9]?>|&|\.\.\.$", word)]


def mentions(page: Path) -> set[str]:
    """The `adapt ...` that a page's sentences mention."""
    text = _FENCE.sub("", page.read_text(encoding="utf-8"))
    return {" ".join(found.split()) for found in _INLINE.findall(text)}


def _muted(command: Any) -> Any:
    """A command whose leaves do nothing."""
    for below in getattr(command, "commands", {}).values():
        _muted(below)
    if not hasattr(command, "commands"):
        command.callback = lambda **_values: None
    return command


SHOWN = [(page, words) for page in PAGES for words in commands(page)]


@pytest.mark.parametrize(("page", "words"), SHOWN, ids=lambda value: value.name if isinstance(value, Path) else None)
def test_every_command_that_is_shown_is_understood(page: Path, words: list[str]) -> None:
    _muted(typer.main.get_command(build_app()))(words, prog_name="adapt", standalone_mode=False)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_and_option_that_is_mentioned_exists(page: Path) -> None:
    for mention in mentions(page):
        command, words = typer.main.get_command(build_app()), mention.split()[1:]
        while words and hasattr(command, "commands"):
            word = words.pop(0)
            if word in {"...", "COMMAND"} or word.startswith("-"):
                break
            for name in word.split("/"):  # `index add/remove`
                assert name in command.commands, mention
            command = command.commands[word.split("/")[0]]
        else:
            known = {name for option in command.params for name in (*option.opts, *option.secondary_opts)} | {"--help"}
            used = {word.strip("[]").partition("=")[0] for word in words if word.strip("[]").startswith("--")}
            assert used <= known, mention


def test_the_pages_show_commands() -> None:
    assert len(SHOWN) >= 40
    assert len({page for page, _ in SHOWN}) >= 6


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_link_is_dead(page: Path) -> None:
    for link in _LINK.findall(page.read_text(encoding="utf-8")):
        assert (page.parent / link).exists(), link


def test_the_readme_links_every_guide() -> None:
    linked = set(_LINK.findall(README.read_text(encoding="utf-8")))
    assert linked >= {str(guide.relative_to(REPOSITORY)) for guide in GUIDES}

"""The guides and the README: every command is understood, every link leads somewhere, every guide is linked."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import typer.main

from adapt.cli.app import build_app
from tests.guides import FENCE, GUIDES, NOT_RUN, README, REPOSITORY, commands, reason

PAGES = [README, *GUIDES]
_INLINE = re.compile(r"`(adapt [a-z][^`]*)`")
_LINK = re.compile(r"\]\((?!https?://|#)([^)#]+)")
_FOLLOWED = re.compile(r"follow\(\"(\w+\.md)\"")


def mentions(page: Path) -> set[str]:
    """The `adapt ...` that a page's sentences mention."""
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
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


def test_every_guide_with_a_command_to_run_is_followed_by_a_test() -> None:
    tests = [path.read_text(encoding="utf-8") for path in (REPOSITORY / "tests").rglob("test_*.py")]
    followed = {name for text in tests for name in _FOLLOWED.findall(text)}
    assert followed >= {page.name for page, words in SHOWN if page != README and not reason(page, words)}


def test_what_no_test_runs_is_shown() -> None:
    for name, beginnings in NOT_RUN.items():
        shown = [" ".join(words) for page, words in SHOWN if page.name == name]
        for begin in beginnings:
            assert any(command.startswith(begin) for command in shown), (name, begin)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_link_is_dead(page: Path) -> None:
    for link in _LINK.findall(page.read_text(encoding="utf-8")):
        assert (page.parent / link).exists(), link


def test_the_readme_links_every_guide() -> None:
    linked = set(_LINK.findall(README.read_text(encoding="utf-8")))
    assert linked >= {str(guide.relative_to(REPOSITORY)) for guide in GUIDES}

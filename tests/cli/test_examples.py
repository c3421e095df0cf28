"""The help of every command: what it is for, and examples that work."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main
from rich.text import Text

from adapt.cli.app import build_app
from adapt.cli.examples import EXAMPLES

from .conftest import Ran

Run = Callable[..., Ran]

ELSEWHERE = {
    "serve": "does not end by itself",
    "index move": "needs a server",
    "hub pull": "asks the Hub",
    "hub card": "needs a checkpoint of one's own",
    "pretrain": "but for lists, trains",
    "hub compare": "takes as long as two evaluations",
}
"""Commands whose examples are only parsed here, and why; other tests run the commands."""
NOT_THERE = (
    "shop/",
    "my-shop",
    "new-items",
    "sold-out",
    "photo",
    "orders.csv",
    "tuned-index",
    "first-look",
    "--resume",
)
"""What examples name that a reader has and this test has not."""


def leaves(command: Any, words: str = "") -> Iterator[tuple[str, Any]]:
    """Every command below ``command`` with the words that call it."""
    if not hasattr(command, "commands"):
        yield words.strip(), command
        return
    for name, below in command.commands.items():
        yield from leaves(below, f"{words} {name}")


COMMANDS = dict(leaves(typer.main.get_command(build_app())))


def test_every_command_has_examples_and_every_example_a_command() -> None:
    assert set(EXAMPLES) == set(COMMANDS)
    for name, lines in EXAMPLES.items():
        assert 1 <= len(lines) <= 4
        assert all(line.startswith(f"adapt {name}") for line in lines), name
        assert all(len(line) <= 120 for line in lines), name


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_says_what_a_command_is_for_and_shows_its_examples(adapt: Run, name: str) -> None:
    purpose = (COMMANDS[name].help or "").partition("\n\n")[0].replace("\n", " ")
    assert purpose.endswith(".")
    assert len(purpose) <= 140
    shown = " ".join(adapt(*name.split(), "--help").out.split())
    assert purpose in shown
    for line in EXAMPLES[name]:
        assert f"$ {line}" in shown


@pytest.mark.parametrize("name", COMMANDS)
def test_no_word_of_a_help_is_swallowed_as_markup(name: str) -> None:
    command = COMMANDS[name]
    for text in [command.help, command.epilog, *(getattr(option, "help", "") for option in command.params)]:
        assert Text.from_markup(text or "").plain == (text or "")


@pytest.mark.parametrize("line", [line for lines in EXAMPLES.values() for line in lines])
def test_every_example_is_understood(line: str) -> None:
    command = typer.main.get_command(build_app())
    called: list[str] = []
    for name, leaf in leaves(command):
        leaf.callback = lambda _name=name, **_values: called.append(_name)
    command(shlex.split(line)[1:], prog_name="adapt", standalone_mode=False)
    assert [f"adapt {name}" for name in called] == [line[: len(f"adapt {called[0]}")]]


@pytest.mark.slow
def test_the_examples_run_one_after_the_other(adapt: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the shop that comes with the package, in the order in which they are written."""
    monkeypatch.chdir(tmp_path)
    run = 0
    for name, lines in EXAMPLES.items():
        for line in lines:
            listing = line.endswith(("--list", "--show own_data"))
            if (name in ELSEWHERE and not listing) or any(word in line for word in NOT_THERE):
                continue
            ran = adapt(*shlex.split(line)[1:])
            assert ran.code == 0, f"{line}\n{ran.err}"
            assert ran.out, line
            run += 1
    assert run >= 25
    shutil.rmtree(tmp_path)

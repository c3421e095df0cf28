"""What a shell is told when a person presses Tab."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from adapt.hub.bundled import bundled_entries

from .conftest import REPOSITORY

PROGRAM = "import sys; sys.argv[0] = 'adapt'; from adapt.cli.app import main; main()"


def ask(**environment: str) -> str:
    """What the completion function of a shell gets."""
    return _run([], environment)


def _run(arguments: list[str], environment: dict[str, str]) -> str:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def bash(line: str) -> list[str]:
    """The completions of the last word of a command line in bash."""
    words = line.split(" ")
    return ask(_ADAPT_COMPLETE="complete_bash", COMP_WORDS=line, COMP_CWORD=str(len(words) - 1)).split()


CHECKPOINTS = [entry.name for entry in bundled_entries() if entry.kind == "checkpoint"]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("adapt ze", ["zero-shot"]),
        ("adapt index com", ["compact"]),
        ("adapt few-shot --allow", ["--allow-download"]),
        ("adapt zero-shot --checkpoint ", CHECKPOINTS),
        ("adapt hub compare example adapt-mini-", ["adapt-mini-nomovies"]),
        ("adapt evaluate --methods ease,item", ["ease,item-knn"]),
        ("adapt recommend --method fu", ["fused"]),
        ("adapt index build --storage float", ["float32", "float16"]),
        ("adapt pretrain --recipe own", ["own_data"]),
        ("adapt finetune --device cu", ["cuda"]),
        ("adapt data check ex", ["example"]),
        ("adapt zero-shot --dataset no", []),  # bash goes on with files
    ],
)
def test_bash_is_told_commands_options_and_names(line: str, expected: list[str]) -> None:
    assert bash(line) == expected


def test_zsh_and_fish_are_told_what_a_command_is_for() -> None:
    zsh = ask(_ADAPT_COMPLETE="complete_zsh", _TYPER_COMPLETE_ARGS="adapt zero")
    assert "zero-shot" in zsh
    assert "day zero" in zsh
    fish = ask(
        _ADAPT_COMPLETE="complete_fish", _TYPER_COMPLETE_ARGS="adapt zero", _TYPER_COMPLETE_FISH_ACTION="get-args"
    )
    assert "zero-shot" in fish


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_each_shell_is_shown(shell: str) -> None:
    script = _run(["--show-completion", shell], {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"})
    assert f"_ADAPT_COMPLETE=complete_{shell}" in script


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_bash_completes_once_it_is_installed(tmp_path: Path) -> None:
    """The script is installed into a home of its own, read by bash, and asked as bash does."""
    home = {"HOME": str(tmp_path), "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    assert "installed" in _run(["--install-completion", "bash"], home)
    (tmp_path / "adapt").write_text(f'#!/bin/sh\nexec {sys.executable} -c "{PROGRAM}" "$@"\n')
    (tmp_path / "adapt").chmod(0o755)
    script = (
        f"PATH={tmp_path}:$PATH; source {tmp_path}/.bashrc; complete -p adapt\n"
        "COMP_WORDS=(adapt hub ver); COMP_CWORD=2; COMP_LINE='adapt hub ver'\n"
        "_adapt_completion adapt ver hub; echo ${COMPREPLY[@]}"
    )
    done = subprocess.run(
        ["bash", "--norc", "-c", script],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), **home},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "-F _adapt_completion" in done.stdout
    assert done.stdout.splitlines()[-1] == "verify"

"""The README's programs run and print what it shows."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.launching import alone
from tests.ports import free_port

REPOSITORY = Path(__file__).resolve().parent.parent
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL)
SHOWN = {"COLUMNS": "110", "NO_COLOR": "1"}


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder that looks like the checkout's root to the README's commands, and may be written to."""
    shutil.copytree(REPOSITORY / "recipes" / "example", tmp_path / "recipes" / "example")
    return tmp_path


def run(command: list[str], folder: Path) -> str:
    paths = [str(Path(sys.executable).parent), os.environ["PATH"]]
    environment = {**os.environ, **SHOWN, "PATH": os.pathsep.join(paths)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def printed(command: str, folder: Path) -> str:
    """What a command of the README prints: ``adapt WORDS``, perhaps with ``2>/dev/null`` and ``| head -LINES``."""
    form = re.fullmatch(r"adapt (.*?)(?: 2>/dev/null)?(?: \| head -(\d+))?", command)
    assert form is not None, command
    done = alone(["-m", "adapt", *shlex.split(form[1])], folder, **SHOWN)
    assert done.returncode == 0, done.stderr
    return "".join(done.stdout.splitlines(keepends=True)[: int(form[2]) if form[2] else None])


def lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.strip().splitlines()]


def test_the_program_prints_what_the_readme_shows(checkout: Path) -> None:
    (program,) = [text for language, text in BLOCKS if language == "python"]
    after = README[README.index(program) + len(program) :]
    shown = re.search(r"^```text\n(.*?)^```$", after, flags=re.MULTILINE | re.DOTALL)
    assert shown is not None
    assert lines(run([sys.executable, "-c", program], checkout)) == lines(shown[1])


def test_the_commands_print_what_the_readme_shows(checkout: Path) -> None:
    sessions = [text for language, text in BLOCKS if language == "console"]
    commands = [part for text in sessions for part in re.split(r"^\$ ", text, flags=re.MULTILINE) if part.strip()]
    assert len(commands) >= 2
    for part in commands:
        command, _, shown = part.partition("\n")
        said = run(["bash", "-c", command], checkout) if part == commands[0] else printed(command, checkout)
        assert lines(said) == lines(shown), command


def test_the_service_answers_what_the_readme_asks_it(checkout: Path, tmp_path: Path) -> None:
    blocks = [text.strip() for language, text in BLOCKS if language == "bash"]
    (serve,) = [text.partition("#")[0].strip() for text in blocks if text.startswith("adapt serve")]
    (requests,) = [text.splitlines() for text in blocks if text.startswith("curl")]
    run(["adapt", "index", "build", "--dataset", "recipes/example", "--output", "shop-index"], checkout)
    port = free_port()
    arguments = [str(port) if word == "8017" else word for word in shlex.split(serve)]
    environment = {**os.environ, "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])}
    with subprocess.Popen(arguments, cwd=checkout, env=environment, stderr=subprocess.PIPE, text=True) as service:
        try:
            assert service.stderr is not None
            assert any("ready" in line for line in service.stderr)
            answers = [json.loads(run(["bash", "-c", line.replace("8017", str(port))], checkout)) for line in requests]
        finally:
            service.terminate()
    recommended, recorded, added, found = answers
    assert len(recommended["items"]) == 3
    assert all(item["reason"]["text"] for item in recommended["items"])
    assert recorded["recorded"] == added["added"] == 1
    assert "TENT-9" in [item["item_id"] for item in found["items"]]


def test_the_make_targets_exist() -> None:
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"^make (\w+)", README, flags=re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target


def test_no_link_to_a_file_is_dead() -> None:
    for link in re.findall(r"\]\((?!https?://|#)([^)#]+)", README):
        assert (REPOSITORY / link).exists(), link

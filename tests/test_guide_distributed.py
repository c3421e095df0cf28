"""The commands of the guide for several processes run, and do what it says."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from tests.launching import ENVIRONMENT, REPOSITORY
from tests.ports import free_port

GUIDE = (REPOSITORY / "recipes" / "guides" / "distributed.md").read_text(encoding="utf-8")


def test_its_commands_run_as_one(tmp_path: Path) -> None:
    shutil.copytree(REPOSITORY / "recipes" / "example", tmp_path / "recipes" / "example")
    sessions = re.findall(r"^```console\n(.*?)^```$", GUIDE, flags=re.MULTILINE | re.DOTALL)
    commands = [command for session in sessions for command in re.findall(r"^\$ (.*)$", session, flags=re.MULTILINE)]
    assert commands
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    for command in commands:
        port = str(free_port())  # what `accelerate` takes by default may be in use here
        words = command.replace("accelerate launch", f"accelerate launch --main_process_port {port}")
        done = subprocess.run(
            ["bash", "-c", words],
            cwd=tmp_path,
            env={**os.environ, **ENVIRONMENT, "PATH": path},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        assert json.loads(done.stdout)
    loops = list((tmp_path / "runs").rglob("loop.json"))
    assert {json.loads(loop.read_text())["processes"] for loop in loops} == {2}
    assert (tmp_path / "results" / "recommendations.csv").is_file()


def test_the_message_it_shows_is_the_one_that_is_said() -> None:
    from adapt.errors import LostRankError
    from adapt.meeting import gone

    shown = gone(1, 2, "node-b")
    assert f"error: {shown.message}\nfix: {shown.hint}\n" in GUIDE
    assert str(shown.exit_code) == str(LostRankError.exit_code)
    assert f"({LostRankError.exit_code} where another one is gone)" in GUIDE

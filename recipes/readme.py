"""Run the README's program and commands and write what they print back into it.

    python recipes/readme.py

A test compares the README with what its blocks print; this makes it so after an intended change.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"


def printed(command: list[str], folder: Path) -> str:
    """What a command prints, in a terminal of 110 columns without colours."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, "PATH": path, "COLUMNS": "110", "NO_COLOR": "1"}
    done = subprocess.run(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return "\n".join(line.rstrip() for line in done.stdout.strip("\n").splitlines())


def main() -> None:
    text = README.read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copytree(ROOT / "recipes" / "example", folder / "recipes" / "example")
        program = re.search(r"^```python\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
        assert program is not None
        output = printed([sys.executable, "-c", program[1]], folder)
        before, after = text[: program.end()], text[program.end() :]
        after = re.sub(
            r"^```text\n.*?^```$", lambda _: f"```text\n{output}\n```", after, count=1, flags=re.MULTILINE | re.DOTALL
        )
        text = before + after

        def session(found: re.Match[str]) -> str:
            commands = re.findall(r"^\$ (.*)$", found[1], flags=re.MULTILINE)
            parts = [f"$ {command}\n{printed(['bash', '-c', command], folder)}".rstrip() for command in commands]
            return "```console\n" + "\n\n".join(parts) + "\n```"

        text = re.sub(r"^```console\n(.*?)^```$", session, text, flags=re.MULTILINE | re.DOTALL)
    README.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()

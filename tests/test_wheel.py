"""What a wheel holds, and what it says of itself."""

from __future__ import annotations

import email
import json
import re
import shutil
import subprocess
import sys
import zipfile
from email.message import Message
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """A wheel built from a copy of the files that are versioned, without the network."""
    copy = tmp_path_factory.mktemp("wheel") / "copy"
    asked = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(asked, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("needs a checkout and git")
    for name in filter(None, listed.stdout.split("\0")):
        if (REPOSITORY / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(REPOSITORY / name, copy / name)
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(copy / "dist"), str(copy)]
    done = subprocess.run(build, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (made,) = (copy / "dist").glob("*.whl")
    return zipfile.ZipFile(made)


def _metadata(wheel: zipfile.ZipFile) -> Message:
    (name,) = [name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")]
    return email.message_from_bytes(wheel.read(name))


def test_it_holds_the_package_with_its_data_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    names = set(wheel.namelist())
    tops = {name.split("/")[0] for name in names}
    assert tops == {"adapt", *(top for top in tops if top.endswith(".dist-info"))}
    for source in (REPOSITORY / "adapt").rglob("*"):
        if source.is_file() and "__pycache__" not in source.parts:
            assert str(source.relative_to(REPOSITORY)) in names
    for entry in json.loads(wheel.read("adapt/_bundled/pretrained/index.json"))["checkpoints"]:
        assert f"adapt/_bundled/pretrained/{entry['name']}/SHA256SUMS" in names
    for needed in ("own_data.yaml", "example/items.csv", "example/interactions.csv", "guides/index.md"):
        assert f"adapt/_bundled/recipes/{needed}" in names
    assert not [name for name in names if re.search(r"__pycache__|\.pyc$|(^|/)\.", name)]


def test_it_says_what_it_is_and_what_it_needs(wheel: zipfile.ZipFile) -> None:
    said = _metadata(wheel)
    assert said["Name"] == "adapt-mmrec"
    assert said["Requires-Python"] == ">=3.10"
    assert said["License-Expression"] == "Apache-2.0"
    assert said["Description-Content-Type"] == "text/markdown"
    assert str(said.get_payload()).startswith("# adapt")
    extras = set(said.get_all("Provides-Extra", []))
    code = "\n".join(path.read_text(encoding="utf-8") for path in (REPOSITORY / "adapt").rglob("*.py"))
    assert set(re.findall(r"adapt-mmrec\[([a-z]+)\]", code)) <= extras
    (entry_points,) = [name for name in wheel.namelist() if name.endswith("entry_points.txt")]
    assert b"adapt = adapt.cli.app:main" in wheel.read(entry_points)

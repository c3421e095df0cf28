"""``adapt serve``: what it refuses before anything is loaded, and the keys it makes."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from adapt.cli import preflight
from adapt.serve.security import read_keys
from adapt.serve.server import Address, bind

from .conftest import Ran, start

Run = Callable[..., Ran]


def test_its_help_imports_nothing_heavy() -> None:
    code = (
        "import sys, atexit\n"
        "heavy = {'torch', 'fastapi', 'uvicorn', 'starlette', 'prometheus_client', 'numpy'}\n"
        "atexit.register(lambda: print(*sorted(heavy & set(sys.modules)), file=sys.stderr))\n"
        "from adapt.cli.app import main\n"
        "main(['serve', '--help'])"
    )
    process = start(code)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0
    assert err.strip() == ""
    for option in ("--index", "--memory", "--dataset", "--tuned-index", "--host", "--port", "--workers", "--api-keys"):
        assert option in out


def test_an_index_is_needed(adapt: Run) -> None:
    ran = adapt("serve")
    assert ran.code == 2
    assert "--index" in ran.err
    assert "adapt index build" in ran.err


def test_no_index_is_a_checkpoint_error(adapt: Run, tmp_path: Path) -> None:
    ran = adapt("serve", "--index", tmp_path / "absent", "--port", "0")
    assert ran.code == 4
    assert "absent" in ran.err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.7"])
def test_beyond_this_machine_only_with_keys(adapt: Run, tmp_path: Path, host: str) -> None:
    ran = adapt("serve", "--index", tmp_path, "--host", host)
    assert ran.code == 2
    assert host in ran.err
    assert "--new-key" in ran.err
    assert "--api-keys" in ran.err


def test_a_port_that_is_taken(adapt: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "index", lambda folder: None)  # noqa: ARG005
    with bind(Address("127.0.0.1", 0)) as taken:
        ran = adapt("serve", "--index", tmp_path, "--port", str(taken.getsockname()[1]))
    assert ran.code == 2
    assert "--port" in ran.err


@pytest.mark.parametrize("role", ["read", "write"])
def test_a_new_key_is_one_that_the_service_accepts(adapt: Run, tmp_path: Path, role: str) -> None:
    ran = adapt("serve", "--new-key", role)
    assert ran.code == 0
    key, line = ran.out.splitlines()
    assert key not in line
    (tmp_path / "keys").write_text(line, encoding="utf-8")
    assert read_keys(tmp_path / "keys").role(key) == role


def test_a_bad_file_of_keys(adapt: Run, tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("hunter2\n", encoding="utf-8")
    ran = adapt("serve", "--index", tmp_path, "--api-keys", tmp_path / "keys")
    assert ran.code == 2
    assert "hunter2" not in ran.err


@pytest.mark.parametrize("missing", ["fastapi", "uvicorn", "prometheus_client", "python_multipart"])
def test_a_missing_package_names_the_command(
    adapt: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, missing: str
) -> None:
    found = importlib.util.find_spec

    def find(name: str, package: str | None = None) -> Any:
        return None if name == missing else found(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", find)
    monkeypatch.delitem(sys.modules, "adapt.cli.serve", raising=False)
    ran = adapt("serve", "--index", tmp_path)
    assert ran.code == 6
    assert 'pip install "adapt-mmrec[serve]"' in ran.err

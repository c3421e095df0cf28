"""The commands of the guide to Milvus run, and the options that it names are those there are."""

from __future__ import annotations

import dataclasses
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from adapt.errors import EngineError
from adapt.index.engine import RemoteSettings
from adapt.index.milvus_filters import LONGEST_CELL
from adapt.index.remote import MOST_LISTED
from tests.guides import FOLDER, follow
from tests.index.milvus_cases import closed, needs_lite
from tests.ports import free_port

from .conftest import REPOSITORY, Ran

GUIDE = (FOLDER / "milvus.md").read_text(encoding="utf-8")


@needs_lite
def test_its_commands_run(adapt: Callable[..., Ran], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(REPOSITORY / "recipes" / "example", tmp_path / "recipes" / "example")
    monkeypatch.chdir(tmp_path)
    ran = follow("milvus.md", adapt)
    assert len(ran) > 5
    said = {" ".join(command.split()[:2]): ended.out for command, ended in ran.items()}
    closed(str(tmp_path / "shop.db"))
    assert "61 rows" in said["index info"]
    assert "bit for bit" in said["index verify"]
    assert len(re.findall(r"[A-Z]{4}-\d{3}", said["index search"])) == 3


@needs_lite
def test_a_server_that_is_away_and_a_token_in_the_uri(adapt: Callable[..., Ran], tmp_path: Path) -> None:
    engine = ("--engine", "milvus", "--engine-option", "timeout=1", "--uri")
    build = ("index", "build", "--dataset", "example", "--output", tmp_path / "index")
    ran = adapt(*build, *engine, f"http://127.0.0.1:{free_port()}")
    assert ran.code == EngineError.exit_code
    assert "found no answer" in ran.err
    assert not (tmp_path / "index" / "CURRENT").exists()
    ran = adapt(*build, *engine, "http://root:s3cret@127.0.0.1:1")
    assert ran.code == 2
    assert "s3cret" not in ran.err + ran.out
    assert "$ADAPT_MILVUS_TOKEN" in ran.err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--engine", "milvus"), "expected --uri"),
        (("--uri", "x.db"), "expected --engine milvus"),
        (("--engine", "milvus", "--uri", "x.db", "--engine-option", "m"), "NAME=VALUE"),
        (("--engine", "milvus", "--uri", "x.db", "--engine-option", "m=few"), "m: Input should be a valid integer"),
        (("--engine", "milvus", "--uri", "x.db", "--engine-option", "colour=red"), "colour"),
        (("--engine", "milvus", "--uri", "x.db", "--engine-option", "uri=y.db"), "an option of its own"),
        (("--engine", "milvus", "--uri", "x.db", "--collection", "a-b"), "letters, digits and _"),
    ],
)
def test_options_that_do_not_fit_are_said(adapt: Callable[..., Ran], tmp_path: Path, options, said) -> None:
    for command in (("index", "build", "--output", tmp_path / "index"), ("zero-shot",)):
        ran = adapt(*command, "--dataset", "example", *options)
        assert ran.code == 2
        assert said in " ".join(ran.err.split())


def test_it_names_the_options_there_are() -> None:
    named = set(re.findall(r"\b(\w+)=", GUIDE[GUIDE.index("| option |") : GUIDE.index("## What it promises")]))
    given = {"uri", "engine", "collection", "token_env"}
    assert named == {field.name for field in dataclasses.fields(RemoteSettings)} - given
    assert f"at most {LONGEST_CELL}\n" in GUIDE
    assert f"{MOST_LISTED:,} items" in GUIDE


def test_the_compose_file_is_one() -> None:
    services = yaml.safe_load((REPOSITORY / "recipes" / "milvus" / "compose.yaml").read_text("utf-8"))["services"]
    assert services["milvus"]["ports"] == ["127.0.0.1:19530:19530"]

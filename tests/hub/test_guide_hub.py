"""What the guide to sharing shows is done, in its order, with a Hub on loopback."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import adapt as package
from adapt.hub.push import PushOptions
from adapt.workflows.hub_push import push_path
from adapt.workflows.index_build import BuildOptions, build
from adapt.workflows.living_index import LivingIndex
from adapt.workflows.run import Run
from tests.cli.conftest import Ran, adapt  # noqa: F401 - the fixture
from tests.guides import drop_pictures, follow

from .fake_hub import FakeHub


def test_the_guide_is_followed(
    adapt: Callable[..., Ran],  # noqa: F811
    hub: FakeHub,
    base: Path,
    run: Run,
    example_shop: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    drop_pictures(shutil.copytree(example_shop, tmp_path / "shop"))
    shutil.copytree(base, "run/towers")
    commit = hub.put("org/name", base)
    hub.repositories["org/name"].tags["v1"] = commit
    build(BuildOptions(dataset="shop", output="mine"))
    push_path("mine", "org/shop-index", PushOptions(include_items=True))
    push_path(run.path, "org/shop-run", PushOptions(include_items=True, base="org/name"))
    names: dict[str, Any] = {
        "adapt": package,
        "LivingIndex": LivingIndex,
        "checkpoint": package.Checkpoint.from_pretrained("run/towers"),
        "index": LivingIndex.open("mine"),
        "run": run,
    }
    ran = follow("hub.md", adapt, names)
    compared = ran["hub compare shop/ adapt-mini adapt-small org/name@v1"].out
    assert all(name in compared for name in ("adapt-mini", "adapt-small", "org/name@v1", "training-free"))
    assert "Nothing was sent" in ran["hub push run/towers org/towers --dry-run"].out
    assert hub.repositories["org/towers"].private
    assert len(LivingIndex.open("index").snapshot) == len(names["index"].snapshot) > 50
    assert names["run"].base.sha256 == package.Checkpoint.from_pretrained("org/name").sha256
    assert names["model"].sha256 != names["checkpoint"].sha256

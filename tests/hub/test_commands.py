"""``adapt hub list --org, push, card, new, diff`` as a user meets them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from adapt.hub.format import Checkpoint
from tests.cli.conftest import Ran, adapt  # noqa: F401 - the fixture

from .fake_hub import FakeHub

Run = Callable[..., Ran]


def test_a_dry_run_lists_sizes_and_sends_nothing(adapt: Run, hub: FakeHub, folder: Path) -> None:  # noqa: F811
    ran = adapt("hub", "push", folder, "org/tiny", "--dry-run")
    assert ran.code == 0, ran.err
    assert "model.safetensors" in ran.out
    assert "Nothing was sent" in ran.out
    assert "adapt hub card" in ran.err, "the card names another repository"
    found = json.loads(adapt("hub", "push", folder, "org/tiny", "--dry-run", "--json").out)
    sizes = {file["name"]: file["size_bytes"] for file in found["files"]}
    assert sizes == {path.name: path.stat().st_size for path in folder.iterdir()}
    assert (found["dry_run"], hub.asked) == (True, [])


def test_a_push_is_listed_and_compared(adapt: Run, hub: FakeHub, folder: Path) -> None:  # noqa: F811
    assert adapt("hub", "card", folder, "--repo", "org/tiny", "--license", "mit").code == 0
    ran = adapt("hub", "push", folder, "org/tiny", "--private", "--message", "First.", "--json")
    assert ran.code == 0, ran.err
    done = json.loads(ran.out)
    assert done["notes"] == []
    hub.put("org/other", {"README.md": b"---\ntags: [x]\n---\n"})
    listed = json.loads(adapt("hub", "list", "--org", "org", "--json").out)["repositories"]
    assert [(one["name"], one["kind"], one["commit"], one["private"]) for one in listed] == [
        ("org/tiny", "checkpoint", done["commit"], True)
    ]
    assert "org/tiny" in adapt("hub", "list", "--org", "org").out
    assert "shares nothing" in adapt("hub", "list", "--org", "nobody").out
    same = json.loads(adapt("hub", "diff", folder, done["reference"], "--json").out)
    assert same["same"] is True
    ran = adapt("hub", "diff", folder, "adapt-mini")
    assert ran.code == 0, ran.err
    assert "encoders.text.id" in ran.out


def test_refusals_end_with_the_code_of_their_kind(
    adapt: Run,  # noqa: F811
    hub: FakeHub,
    folder: Path,
    tmp_path: Path,
) -> None:
    assert adapt("hub", "push", folder, "tiny").code == 2
    assert adapt("hub", "push", tmp_path / "none", "org/tiny").code == 4
    assert adapt("hub", "push", folder, "strangers/tiny").code == 5
    assert adapt("hub", "list", "--org", "a/b").code == 2
    leaky = Path(shutil.copytree(folder, tmp_path / "leaky"))
    (leaky / ".env").write_text("SECRET=1")
    ran = adapt("hub", "push", leaky, "org/tiny", "--dry-run")
    assert (ran.code, ".env" in ran.err) == (2, True)


def test_a_card_and_a_new_folder(adapt: Run, folder: Path, tmp_path: Path) -> None:  # noqa: F811
    found = json.loads(adapt("hub", "card", folder, "--license", "mit", "--json").out)
    assert found["metadata"]["license"] == "mit"
    assert Checkpoint.from_pretrained(str(folder)).metrics["license"] == "mit"
    made = json.loads(adapt("hub", "new", "org/shop", "--output", tmp_path / "shop", "--json").out)
    assert made["commands"][-1].endswith("org/shop")
    assert (tmp_path / "shop" / "recipe.yaml").is_file()
    assert adapt("hub", "new", "org/shop", "--output", tmp_path / "shop").code == 2


@pytest.mark.parametrize("command", ["push", "card", "new", "diff", "compare"])
def test_a_command_without_its_arguments_is_a_usage_error(adapt: Run, command: str) -> None:  # noqa: F811
    assert adapt("hub", command).code == 2

"""From a pretraining here to recommendations in another process with an empty cache: the same bytes out."""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from adapt import load_dataset
from adapt.cli.app import main
from adapt.errors import UsageError
from adapt.hub.format import Checkpoint
from adapt.workflows.finetune import finetune
from adapt.workflows.living_index import LivingIndex
from tests.workflows.finetune_cases import QUICK
from tests.workflows.pretrain_cases import RECIPE, write_followers

from .conftest import TOKEN, loopback_hub
from .fake_hub import FakeHub, Fault

REPOSITORY = Path(__file__).resolve().parents[2]
QUICKER = replace(QUICK, refit=False, item_residual="on", training=replace(QUICK.training, epochs=1))
ELSEWHERE = """
import sys
from adapt.cli.app import main
for line in sys.stdin.read().splitlines():
    print("$ adapt " + line, flush=True)
    try:
        main(line.split())
    except SystemExit as ended:
        if ended.code:
            raise
"""
"""Another process: runs the commands that it is given, one a line, and stops at the first that fails."""


def elsewhere(hub: FakeHub, home: Path, *commands: str, token: str = "") -> str:
    """What commands show on another machine: an empty home, an empty cache, and a token or none."""
    home.mkdir(exist_ok=True)
    environment = {
        **os.environ,
        **hub.environment(home / "hf", token),
        "HOME": str(home),
        "ADAPT_CACHE": str(home / "adapt"),
        "PYTHONPATH": str(REPOSITORY),
        "OMP_NUM_THREADS": "1",
        "COLUMNS": "200",
    }
    done = subprocess.run(
        [sys.executable, "-c", ELSEWHERE],
        input="\n".join(commands),
        env=environment,
        cwd=home,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def recommended(folder: Path) -> bytes:
    return (folder / "recommendations.csv").read_bytes()


@dataclass(frozen=True)
class World:
    """What somebody has made and pushed; references are pinned."""

    hub: FakeHub
    home: Path
    base: str
    adapter: str
    items: str
    index: str
    transcript: str


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, one_thread: None) -> Iterator[World]:
    """Pretrain tiny -> push; fine-tune on what was pushed -> push the adapter; index it -> push."""
    home = tmp_path_factory.mktemp("here")
    with pytest.MonkeyPatch.context() as patch, loopback_hub(home, patch) as hub:
        patch.chdir(home)
        for seed, name in enumerate(("one", "two", "shop")):
            write_followers(home / name, seed)
        Path("follows.yaml").write_text(RECIPE + "repository: org/follows\n")
        said = run("pretrain --recipe follows.yaml --dataset one --dataset two --output run")
        said += run("hub push run/follows org/follows --dry-run") + run("hub push run/follows org/follows")
        base = f"org/follows@{hub.repositories['org/follows'].branches['main']}"
        checkpoint = Checkpoint.from_pretrained(base)
        finetune(checkpoint, load_dataset(home / "shop"), QUICKER, home / "tuned", reference=base)
        said += run("hub push tuned org/shop-lora")
        said += run("hub push tuned org/shop-run --include-items")
        said += run(f"index build --dataset shop --checkpoint {base} --output items")
        said += run("hub push items org/shop-index --include-items --license mit")
        heads = {name: f"{name}@{repository.branches['main']}" for name, repository in hub.repositories.items()}
        names = ("org/shop-lora", "org/shop-run", "org/shop-index")
        yield World(hub, home, base, *(heads[name] for name in names), transcript=said)


def run(line: str) -> str:
    """Run a command in this process; it must end well."""
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown), contextlib.redirect_stderr(shown), pytest.raises(SystemExit) as ended:
        main(shlex.split(line))
    assert ended.value.code == 0, line
    return f"$ adapt {line}\n{shown.getvalue()}"


def test_the_round_trip_gives_the_same_bytes_elsewhere(world: World, tmp_path: Path) -> None:
    here, shop = world.home, world.home / "shop"
    run(f"zero-shot --dataset {shop} --checkpoint run/follows --output base-here")
    run(f"zero-shot --dataset {shop} --checkpoint tuned/adapter --output adapter-here")
    run(f"recommend --dataset {shop} --run tuned --method fine-tuned --output run-here")
    # Somebody pushes to the base meanwhile: the adapter keeps to the revision that it was made with.
    world.hub.put("org/follows", {**world.hub.files("org/follows"), "LICENSE": b"Free."})
    world.hub.asked.clear()
    said = elsewhere(
        world.hub,
        tmp_path / "elsewhere",
        f"hub pull {world.base}",
        f"hub verify {world.base}",
        f"zero-shot --dataset {shop} --checkpoint {world.base} --output base",
        f"hub pull {world.adapter}",
        f"hub verify {world.adapter}",
        f"zero-shot --dataset {shop} --checkpoint {world.adapter} --output adapter",
        f"hub pull {world.items}",
        f"hub verify {world.items}",
        f"recommend --dataset {shop} --run {world.items} --method fine-tuned --output run",
        f"hub pull {world.index}",
        f"hub verify {world.index}",
        f"index search --index {world.index} --item 7 --k 3",
    )
    assert recommended(tmp_path / "elsewhere" / "base") == recommended(here / "base-here")
    assert recommended(tmp_path / "elsewhere" / "adapter") == recommended(here / "adapter-here")
    assert recommended(tmp_path / "elsewhere" / "run") == recommended(here / "run-here")
    different = {recommended(here / name) for name in ("base-here", "adapter-here", "run-here")}
    assert len(different) == 3, "the adapter counts, and so do the items"
    assert "golden outputs" in said
    assert "FAILED" not in said
    fetched = {asked.path.split("/resolve/")[1].split("/")[0] for asked in world.hub.asked if "/resolve/" in asked.path}
    assert fetched == {pinned.split("@")[1] for pinned in (world.base, world.adapter, world.items, world.index)}, (
        "as it was pinned"
    )
    assert {asked.token for asked in world.hub.asked} == {""}, "what is public needs no token"
    if keep := os.environ.get("ADAPT_TRANSCRIPT"):
        Path(keep).write_text(world.transcript + said)


@pytest.mark.parametrize("repo", ["org/follows", "org/shop-lora", "org/shop-run", "org/shop-index"])
def test_how_to_use_runs_as_the_card_says(
    world: World, repo: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_followers(tmp_path / "shop", 0)
    card = world.hub.files(repo)["README.md"].decode()
    blocks = re.findall(r"```(python|bash)\n(.+?)```", card, re.DOTALL)
    assert [language for language, _ in blocks] == ["python", "bash"]
    for language, block in blocks:
        assert repo in block
        if language == "python":
            names: dict[str, object] = {}
            exec(block, names)  # a reader copies it as it is
            assert names.get("recommender") or names.get("hits")
        else:
            for line in block.strip().splitlines():
                run(line.partition("#")[0].removeprefix("adapt "))


def test_a_pulled_index_is_read_in_the_cache_and_changed_in_a_copy(world: World, tmp_path: Path) -> None:
    cached = LivingIndex.open(world.index)
    before = sorted(path for path in cached.folder.path.rglob("*"))
    with pytest.raises(UsageError, match="copy of a shared one") as caught:
        cached.remove(["7"])
    assert "adapt hub pull" in caught.value.hint
    assert sorted(path for path in cached.folder.path.rglob("*")) == before
    run(f"hub pull {world.index} --output {tmp_path / 'mine'}")
    mine = LivingIndex.open(tmp_path / "mine")
    assert mine.by_item("7").item_ids == cached.by_item("7").item_ids
    mine.remove(["7"])
    assert "7" not in LivingIndex.open(tmp_path / "mine").snapshot
    assert "7" in LivingIndex.open(world.index).snapshot


def test_the_token_is_nowhere(world: World, tmp_path: Path) -> None:
    """Not in what was written or shown here, and not among the arguments that any user of the machine can see."""
    assert TOKEN not in world.transcript
    for path in world.home.rglob("*"):
        if path.is_file() and not path.is_symlink():
            assert TOKEN.encode() not in path.read_bytes(), path
    for repository in world.hub.repositories.values():
        for commit in repository.commits.values():
            assert all(TOKEN.encode() not in found.data for found in commit.files.values())
    seen: list[str] = []

    def look() -> None:
        for entry in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                seen.append(entry.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace"))

    world.hub.faults.append(Fault("POST .*/commit/", then=look))
    said = elsewhere(
        world.hub, tmp_path / "pusher", f"hub push {world.home / 'run' / 'follows'} org/again", token=TOKEN
    )
    assert any("sys.stdin" in line for line in seen), "the process that pushes was there to be seen"
    assert not [line for line in seen if TOKEN in line]
    assert TOKEN not in said

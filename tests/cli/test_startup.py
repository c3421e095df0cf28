"""What each command imports, on tiny data in a process of its own: torch only where something is computed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.ports import free_port

from .conftest import REPOSITORY, start

WATCHED = {
    *("torch", "torchvision", "transformers", "peft", "open_clip", "timm", "datasets", "accelerate"),
    *("pandas", "scipy", "pyarrow", "huggingface_hub", "hnswlib", "fastapi", "uvicorn", "numpy", "PIL"),
}
READING = {"numpy", "pyarrow", "pandas"}  # pyarrow imports pandas by itself where there is one
PROGRAM = (
    "import sys, atexit, json, time\n"
    f"watched = {sorted(WATCHED)}\n"
    "atexit.register(lambda: print(json.dumps([time.process_time(), [m for m in watched if m in sys.modules]]),"
    " file=sys.stderr))\n"
    "from adapt.cli.app import main\n"
    "main(sys.argv[1:])"
)


def run(folder: Path, line: str, before: str = "") -> tuple[int, float, set[str], str]:
    """Exit code, processor seconds, the watched modules that were imported, and the rest of stderr.

    ``before`` is a program that runs first.
    """
    process = start(f"import os; os.chdir({str(folder)!r})\n{before}\n{PROGRAM}", *line.split())
    _, err = process.communicate(timeout=120)
    said, _, last = err.rstrip("\n").rpartition("\n")
    seconds, modules = json.loads(last)
    return process.returncode, seconds, set(modules), said


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny data set, a copy of a checkpoint, and a folder with nothing in it."""
    path = tmp_path_factory.mktemp("startup")
    (path / "shop").mkdir()
    (path / "shop" / "items.csv").write_text("item_id,title\na,red shoe\nb,blue shoe\n")
    (path / "shop" / "interactions.csv").write_text("user_id,item_id,timestamp\nu,a,1\nu,b,2\n")
    shutil.copytree(REPOSITORY / "pretrained" / "adapt-mini-nomovies", path / "towers")
    (path / "empty").mkdir()
    for name, command in (("tuned", "finetune"), ("lists", "zero-shot")):
        (path / name).mkdir()
        (path / name / "run.json").write_text(json.dumps({"command": command}))
    (path / "others" / "trainings").mkdir(parents=True)
    (path / "ids.txt").write_text("u\nnobody\n")
    (path / "tabs.csv").write_text("item_id;title\na;red shoe\n")
    return path


@pytest.mark.parametrize(
    ("line", "allowed"),
    [
        ("hub list", set()),
        ("hub show adapt-mini", {"numpy"}),
        ("hub diff towers adapt-mini", {"numpy"}),
        ("hub card towers --repo org/towers", {"numpy", "huggingface_hub"}),  # which checks cards
        ("pretrain --list", set()),
        ("pretrain --show own_data", set()),
        ("serve --help", set()),
        ("serve --new-key read", {"numpy", "fastapi"}),
        ("data check shop", READING),
        ("data check example", READING | {"PIL"}),
        ("doctor", {"torch", "numpy"}),
    ],
)
def test_what_a_command_imports(folder: Path, line: str, allowed: set[str]) -> None:
    code, _, modules, said = run(folder, line)
    assert code == 0, said
    assert modules <= allowed


MISTAKES = (
    # the command, its exit code, what was expected, what was found, what helps
    ("zro-shot", 2, "a command of `adapt`", "zro-shot", "zero-shot"),
    ("zero-shot", 2, "--dataset", "none", "adapt zero-shot --help"),
    ("zero-shot --dataset shop --histry a", 2, "an option", "--histry", "--history"),
    ("zero-shot --dataset shp", 3, "a folder, a file", "shp", "Did you mean shop?"),
    ("zero-shot --dataset no/shop", 3, "a folder or a file", "no/shop", "--allow-download"),
    ("zero-shot --dataset empty", 3, "items.csv", "nothing", "Name the files items.csv"),
    ("zero-shot --dataset tabs.csv", 3, "a column of item ids", "item_id;title", "separated by another character"),
    ("zero-shot --dataset shop --item-col sku", 3, "the item column 'sku'", "item_id", "adapt data check shop"),
    ("zero-shot --dataset shop --text-col titel", 3, "the text column 'titel'", "title", "Did you mean 'title'?"),
    ("zero-shot --dataset shop --checkpoint adapt-mni", 4, "a bundled checkpoint", "adapt-mni", "adapt-mini"),
    ("zero-shot --dataset shop --k 0", 2, "--k", "'0'", "adapt zero-shot --help"),
    ("zero-shot --dataset shop --k=-3", 2, "--k", "'-3'", "adapt zero-shot --help"),
    ("zero-shot --dataset shop --index quick", 2, "auto or exact or hnsw", "'quick'", "adapt zero-shot --help"),
    ("zero-shot --dataset shop --device gpu", 2, "cuda:1", "'gpu'", "adapt doctor"),
    ("zero-shot --dataset shop --output shop/items.csv", 2, "to write", "Not a directory", "another --output"),
    ("zero-shot --dataset shop --output /proc/shop", 2, "to write /proc/shop", "No such file", "another --output"),
    ("zero-shot --dataset shop --output towers", 2, "results of `adapt zero-shot`", "a checkpoint", "another --output"),
    (
        "few-shot --dataset shop --output tuned",
        2,
        "a folder for",
        "the results of `adapt finetune`",
        "another --output",
    ),
    (
        "evaluate --dataset shop --output tuned",
        2,
        "a folder for",
        "the results of `adapt finetune`",
        "another --output",
    ),
    ("finetune --dataset shop --output lists", 2, "a folder for", "results of `adapt zero-shot`", "another --output"),
    ("finetune --dataset shop --output others", 2, "a folder for", "a folder trainings", "another --output"),
    ("pretrain --recipe own_data --dataset shop --output tuned", 2, "a folder for", "`adapt finetune`", "another"),
    ("zero-shot --dataset shop --user nobody", 3, "a user of the data set", "'nobody'", "the first ones are 'u'"),
    ("few-shot --dataset shop --user U", 3, "a user of the data set", "'U'", "Did you mean 'u'?"),
    ("few-shot --dataset shop --users ids.txt", 3, "a user of the data set", "'nobody'", "exactly"),
    ("few-shot --dataset shop --users none.txt", 2, "a readable file", "none.txt", "one id a line"),
    ("finetune --dataset shop", 2, "--output", "none", "--output runs/shop"),
    ("finetune --dataset shop --output run --lora --full", 2, "one of", "--lora and --full", "all but one"),
    ("finetune --dataset shop --output run --checkpoint nowhere", 4, "a bundled checkpoint", "nowhere", "hub list"),
    ("recommend --run nowhere --dataset shop", 4, "a run in nowhere", "no such folder", "adapt finetune"),
    ("recommend --run empty --dataset shop --method best", 2, "few-shot", "'best'", "adapt recommend --help"),
    ("evaluate --dataset shop --methods esae", 2, "names of methods", "'esae'", "Did you mean ease?"),
    ("evaluate --dataset shop --run empty", 4, "a run in empty", "no run.json", "adapt finetune"),
    ("evaluate --dataset shop --learning-curve 0,x", 2, "between 0 and 100", "'0,x'", "0,1,5,10,100"),
    ("evaluate --dataset shop --protocol cold", 2, "cold-items", "'cold'", "Did you mean cold-items?"),
    ("index build --dataset shp --output index", 3, "a folder, a file", "shp", "Did you mean shop?"),
    ("index build --dataset shop --output index --recall 3", 2, "--recall", "'3'", "adapt index build --help"),
    ("index add --index empty --dataset shop", 4, "an index in empty", "no CURRENT", "adapt index build"),
    ("index search --index nowhere --text shoe", 4, "an index in nowhere", "no such folder", "adapt index build"),
    ("index search --index nowhere", 2, "--history, --item, --text and --image", "none", "--text"),
    ("index info --index empty", 4, "an index in empty", "no CURRENT", "adapt index build"),
    ("index verify --index empty", 4, "an index in empty", "no CURRENT", "adapt index build"),
    ("index compact --index empty", 4, "an index in empty", "no CURRENT", "adapt index build"),
    ("index remove --index empty", 2, "ids to remove", "none", "--item ID"),
    ("serve", 2, "the folder of an index", "none", "adapt index build"),
    ("serve --index empty", 4, "an index in empty", "no CURRENT", "adapt index build"),
    ("hub show adapt-mni", 4, "a bundled checkpoint", "adapt-mni", "Did you mean adapt-mini?"),
    ("hub verify nowhere", 4, "a bundled checkpoint", "nowhere", "adapt hub list"),
    ("hub compare shop adapt-mni", 4, "a bundled checkpoint", "adapt-mni", "Did you mean adapt-mini?"),
    ("hub push nowhere org/towers", 4, "a folder", "nowhere", "Check the path"),
    ("hub push empty towers", 2, "org/name", "'towers'", "me/shop"),
    ("hub new towers", 2, "org/name", "'towers'", "me/shop"),
    ("hub pull ./nowhere", 4, "a checkpoint folder", "nowhere", "Check the path"),
    ("hub card empty", 4, "", "", ""),
    ("pretrain --recipe own_dta --dataset shop --output run", 2, "a recipe", "'own_dta'", "Did you mean own_data?"),
    ("pretrain --recipe own_data --dataset shp --output run", 3, "a folder, a file", "shp", "Did you mean shop?"),
    ("pretrain --recipe own_data --dataset shop", 2, "--output", "no --output", "adapt pretrain --list"),
    ("data check shop --json --user-col buyer", 3, "", "", ""),
)


@pytest.mark.parametrize(("line", "code", "expected", "found", "fix"), MISTAKES)
def test_a_slip_is_answered_before_torch_is_imported(
    folder: Path, line: str, code: int, expected: str, found: str, fix: str
) -> None:
    ended, seconds, modules, said = run(folder, line)
    assert ended == code, said
    assert not modules & (WATCHED - READING - ({"huggingface_hub"} if line.startswith("hub card") else set()))
    assert seconds < 2.0, "a second on a machine with nothing else to do"
    if line.startswith(("data check", "hub card")):
        return
    message, _, hint = said.partition("\nfix: ")
    assert message.startswith("error: ")
    assert expected in message
    assert found in message
    assert fix in hint


ABSENT = """
import importlib.machinery as machinery
find = machinery.PathFinder.find_spec
machinery.PathFinder.find_spec = classmethod(
    lambda cls, name, *more: None if name.partition(".")[0] == {0!r} else find(name, *more)
)
"""


@pytest.mark.parametrize(
    ("absent", "line", "named", "fix"),
    [
        ("fastapi", "serve --index empty", "fastapi", 'pip install "adapt-mmrec[serve]"'),
        ("uvicorn", "serve --new-key read", "uvicorn", 'pip install "adapt-mmrec[serve]"'),
        (
            "pymilvus",
            "index build --dataset shop --output index --engine milvus --uri shop.db",
            "pymilvus",
            'pip install "adapt-mmrec[milvus]"',
        ),
        (
            "milvus_lite",
            "zero-shot --dataset shop --engine milvus --uri shop.db",
            "no milvus_lite",
            "pip install milvus-lite",
        ),
        (
            "tensorboard",
            "pretrain --recipe own_data --dataset shop --output run --tracker tensorboard",
            "tensorboard",
            'pip install "adapt-mmrec[trackers]"',
        ),
    ],
)
def test_an_extra_that_is_not_installed_is_named_with_what_installs_it(
    folder: Path, absent: str, line: str, named: str, fix: str
) -> None:
    ended, seconds, modules, said = run(folder, line, ABSENT.format(absent))
    assert ended == 6, said
    assert "torch" not in modules
    assert seconds < 2.0
    message, _, hint = said.partition("\nfix: ")
    assert message.startswith("error: ")
    assert named in message
    assert hint == fix


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("hub pull org/towers", "to fetch org/towers from the Hub"),
        ("hub list --org org", "to list what is shared by org"),
        ("zero-shot --dataset org/shop --allow-download", "the Hub data set org/shop"),
    ],
)
def test_without_a_network_the_hub_is_named_with_what_to_check(folder: Path, line: str, named: str) -> None:
    away = {"HF_ENDPOINT": f"http://127.0.0.1:{free_port()}", "HF_HUB_OFFLINE": "0", "HF_HOME": str(folder / "hub")}
    ended, seconds, modules, said = run(folder, line, f"os.environ.update({away!r})")
    assert ended == 5, said
    if line.startswith("hub"):
        assert "torch" not in modules
        assert seconds < 2.5
    message, _, hint = said.partition("\nfix: ")
    assert message.startswith(f"error: expected {named}, found: ")
    assert "Connection refused" in message
    assert "HF_ENDPOINT" in hint
    assert "committed" not in hint

"""What each kind of bad input gives: exit code and first line of the message, as a table.

    python recipes/benchmarks/bad_input.py

Every case is made in a temporary folder and run in this process through the real command line. Prints a table, and one
line of JSON last. Exits with 1 when a case ends with another code than it should, or leaves a file half-written.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from adapt.cli.app import main as adapt
from adapt.files import bundled
from adapt.hub.card import markdown_table

SHOP = bundled("recipes") / "example"
MINI = bundled("pretrained") / "adapt-mini"


@dataclass(frozen=True)
class Case:
    """One bad input.

    Attributes:
        name: what is wrong.
        code: the exit code it should give.
        make: writes the input into a folder and returns the arguments of `adapt`.
    """

    name: str
    code: int
    make: Callable[[Path], list[str]]


def items(folder: Path, text: str, name: str = "items.csv") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text, encoding="utf-8", newline="")
    return folder


def zero_shot(text: str, *more: str) -> Callable[[Path], list[str]]:
    """A catalog as CSV text, given to `adapt zero-shot`."""
    return lambda folder: ["zero-shot", "--dataset", str(items(folder / "data", text)), *more]


def on_shop(*more: str) -> Callable[[Path], list[str]]:
    return lambda _: ["zero-shot", "--dataset", str(SHOP), *more]


def histories(text: str) -> Callable[[Path], list[str]]:
    def make(folder: Path) -> list[str]:
        items(folder / "data", "item_id,title\na,red shoe\nb,blue shoe\nc,green hat\n")
        items(folder / "data", text, "interactions.csv")
        return ["zero-shot", "--dataset", str(folder / "data")]

    return make


def with_image(name: str, write: Callable[[Path], None]) -> Callable[[Path], list[str]]:
    """A catalog whose only item without text has the image that ``write`` makes."""

    def make(folder: Path) -> list[str]:
        items(folder / "data", f"item_id,title,image\na,red shoe,\nb,blue shoe,\nc,,images/{name}\n")
        (folder / "data" / "images").mkdir()
        write(folder / "data" / "images" / name)
        return ["zero-shot", "--dataset", str(folder / "data")]

    return make


def checkpoint(change: Callable[[Path], None]) -> Callable[[Path], list[str]]:
    """The bundled checkpoint, changed."""

    def make(folder: Path) -> list[str]:
        shutil.copytree(MINI, folder / "mini")
        change(folder / "mini")
        return ["zero-shot", "--dataset", str(SHOP), "--checkpoint", str(folder / "mini")]

    return make


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


def file_in_the_way(folder: Path) -> list[str]:
    (folder / "out").write_text("in the way")
    return ["zero-shot", "--dataset", str(SHOP), "--output", str(folder / "out")]


def wide_png(path: Path) -> None:
    Image.new("1", (20_000, 20_000)).save(path)


def _latin1(folder: Path) -> list[str]:
    (folder / "data").mkdir()
    (folder / "data" / "items.csv").write_bytes("item_id,title\n1,caf\xe9\n".encode("latin-1"))
    return ["zero-shot", "--dataset", str(folder / "data")]


def _binary(folder: Path) -> list[str]:
    (folder / "data").mkdir()
    (folder / "data" / "items.csv").write_bytes(bytes(range(256)) * 40)
    return ["zero-shot", "--dataset", str(folder / "data")]


GOOD = "item_id,title\n007,red shoe\nNA,blue shoe\n"
CASES = [
    Case("no such folder", 3, lambda folder: ["zero-shot", "--dataset", str(folder / "nothing")]),
    Case("an empty folder", 3, lambda folder: ["zero-shot", "--dataset", str(folder)]),
    Case("an empty file", 3, zero_shot("")),
    Case("a header and no items", 3, zero_shot("item_id,title\n")),
    Case("no column of item ids", 3, zero_shot("thing,name\n1,a\n")),
    Case("an item named twice with two titles", 3, zero_shot("item_id,title\n1,red\n2,blue\n1,green\n")),
    Case("an empty item id", 0, zero_shot("item_id,title\n,red\n1,blue shoe\n2,red shoe\n")),
    Case("a row with too many fields", 3, zero_shot("item_id,title\n1,red\n2,blue,extra,field\n")),
    Case("a quote that never closes", 3, zero_shot('item_id,title\n1,"red\n2,blue\n')),
    Case("bytes that are not UTF-8", 3, _latin1),
    Case("no text, image or feature at all", 3, zero_shot("item_id,title\n1,\n2,\n")),
    Case("a binary file called .csv", 3, _binary),
    Case("a history with unknown items only", 3, histories("user_id,item_id\nu,x\nu,y\n")),
    Case("a history with some unknown items", 0, histories("user_id,item_id\nu,a\nu,y\n")),
    Case("a timestamp that is none", 3, histories("user_id,item_id,timestamp\nu,a,soon\nu,b,later\n")),
    Case("an image that is missing", 0, with_image("c.png", lambda _: None)),
    Case("an image that is broken", 0, with_image("c.png", lambda path: path.write_bytes(b"\x89PNG nonsense"))),
    Case("an image of 400 megapixels", 0, with_image("c.png", wide_png)),
    Case("an image outside the folder", 0, zero_shot("item_id,title,image\na,shoe,../../../etc/hostname\nb,hat,\n")),
    Case(
        "the same with --strict",
        3,
        zero_shot("item_id,title,image\na,shoe,../../../etc/hostname\nb,hat,\n", "--strict"),
    ),
    Case("an unknown user", 3, on_shop("--user", "nobody")),
    Case("an unknown item in --history", 3, on_shop("--history", "CAMP-001,CAMP-999")),
    Case("users and a history", 2, on_shop("--user", "anna", "--history", "CAMP-001")),
    Case("--k 0", 2, on_shop("--k", "0")),
    Case("an unknown option", 2, on_shop("--kk", "3")),
    Case("an unknown checkpoint", 4, on_shop("--checkpoint", "adapt-mimi")),
    Case("a checkpoint that is no reference", 2, on_shop("--checkpoint", "a b")),
    Case("a checkpoint on the Hub, offline", 5, on_shop("--checkpoint", "somebody/something")),
    Case("a checkpoint with a changed byte", 4, checkpoint(lambda folder: flip(folder / "model.safetensors"))),
    Case("a checkpoint without its weights", 4, checkpoint(lambda folder: (folder / "model.safetensors").unlink())),
    Case("a checkpoint with an edited config", 4, checkpoint(lambda folder: flip(folder / "config.json"))),
    Case("a data set id on the Hub without --allow-download", 3, lambda _: ["zero-shot", "--dataset", "org/data"]),
    Case("a file where --output should be", 2, file_in_the_way),
    Case("--output that may not be written", 2, on_shop("--output", "/proc/adapt-out")),
    Case("a good catalog", 0, zero_shot(GOOD)),
]


def run(case: Case) -> tuple[int, str, list[str]]:
    """Exit code, what stderr said, and temporary files that were left."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        arguments = case.make(folder)
        said = io.StringIO()
        code = 0
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
            try:
                adapt(arguments)
            except SystemExit as ended:
                code = int(ended.code or 0)
        left = [str(path) for path in folder.rglob("*.tmp")]
        message = said.getvalue().replace(name, "...").strip()
    return code, message, left


def main() -> None:
    os.environ["HF_HUB_OFFLINE"] = "1"
    rows, wrong = [], []
    for case in CASES:
        code, message, left = run(case)
        if code != case.code or left:
            wrong.append(case.name)
        rows.append([case.name, code, " / ".join(message.splitlines()[:4])[:300]])
    print(markdown_table(["input", "exit code", "message"], rows))
    print(json.dumps({"benchmark": "bad_input", "cases": len(CASES), "wrong": wrong}))
    raise SystemExit(bool(wrong))


if __name__ == "__main__":
    main()

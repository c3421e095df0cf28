"""``adapt index`` on the example shop, from the first build to the last check."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .conftest import Ran

Run = Callable[..., Ran]


@pytest.fixture(scope="module")
def _folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("indexes")


@pytest.fixture
def index(_folder: Path, adapt: Run, example_shop: Path, tmp_path: Path) -> Path:
    """A copy of an index over the example shop, to change at will."""
    import shutil

    built = _folder / "shop"
    if not built.exists():
        ran = adapt("index", "build", "--dataset", example_shop, "--output", built, "--json")
        assert ran.code == 0, ran.err
        document = json.loads(ran.out)
        assert document["count"] == document["given"] == 62
        assert document["model"]["name"] == "adapt-mini"
        assert document["recall"]["recall"] == 1
    return shutil.copytree(built, tmp_path / "shop")


def document(ran: Ran) -> Any:
    assert ran.code == 0, ran.err
    return json.loads(ran.out)


def ids(ran: Ran) -> list[str]:
    return [item["item_id"] for item in document(ran)["items"]]


def test_all_four_ways_to_search(adapt: Run, index: Path, example_shop: Path) -> None:
    search = ("index", "search", "--index", index, "--k", "3", "--json")
    for query in (
        ("--history", "CAMP-001,CAMP-003"),
        ("--item", "CAMP-001"),
        ("--text", "tent for a family"),
        ("--image", example_shop / "images" / "camp-001.png"),
    ):
        found = ids(adapt(*search, *query))
        assert len(found) == 3
        assert sum(item_id.startswith("CAMP") for item_id in found) >= 2, query
    assert "CAMP-001" not in ids(adapt(*search, "--history", "CAMP-001,CAMP-003"))
    assert "CAMP-001" in ids(adapt(*search, "--history", "CAMP-001,CAMP-003", "--keep-seen", "--k", "9"))


def test_filters_and_lists(adapt: Run, index: Path, tmp_path: Path) -> None:
    search = ("index", "search", "--index", index, "--history", "CAMP-001", "--json", "--k", "99")
    cheap = ids(adapt(*search, "--where", "category~camping", "--where", "price<=50"))
    assert cheap
    assert all(item_id.startswith("CAMP") for item_id in cheap)
    (tmp_path / "ids.txt").write_text("COFF-001\nCAMP-003\nno such item\n")
    assert set(ids(adapt(*search, "--allow", tmp_path / "ids.txt"))) == {"COFF-001", "CAMP-003"}
    assert len(ids(adapt(*search, "--deny", tmp_path / "ids.txt"))) == 62 - 3
    nothing = adapt("index", "search", "--index", index, "--item", "CAMP-001", "--where", "brand=Nobody")
    assert "No item" in nothing.out


def test_add_remove_compact_and_restart(adapt: Run, index: Path, tmp_path: Path) -> None:
    (tmp_path / "new.csv").write_text("item_id,title\nNEW-1,Copper kettle for the camp fire\nCOFF-001,Blue teapot\n")
    added = document(adapt("index", "add", "--index", index, "--dataset", tmp_path / "new.csv", "--json"))
    assert (added["added"], added["replaced"], added["count"]) == (1, 1, 63)
    assert added["encoded"] == {"text": 2}
    search = ("index", "search", "--index", index, "--text", "copper kettle", "--json", "--k", "99")
    assert ids(adapt(*search))[0] == "NEW-1"
    removed = document(adapt("index", "remove", "--index", index, "--item", "NEW-1", "--item", "CAMP-002", "--json"))
    assert (removed["removed"], removed["count"]) == (2, 61)
    assert document(adapt("index", "info", "--index", index, "--json"))["deleted"] == 3
    assert document(adapt("index", "compact", "--index", index, "--refit", "--json"))["count"] == 61
    known = document(adapt("index", "info", "--index", index, "--json"))
    assert (known["deleted"], known["count"]) == (0, 61)
    assert known["drift"] == {"image": 0.0, "text": 0.0}
    assert not {"NEW-1", "CAMP-002"} & set(ids(adapt(*search)))
    checks = document(adapt("index", "verify", "--index", index, "--json"))
    assert checks["sound"]
    assert [check["name"] for check in checks["checks"]] == ["generation", "counts", "lengths", "model", "recall"]


def test_what_a_person_sees(adapt: Run, index: Path) -> None:
    shown = adapt("index", "info", "--index", index).out
    assert "62 (" in shown
    assert "exact search" in shown
    assert "drift" in shown
    assert "Gooseneck kettle" in adapt("index", "search", "--index", index, "--text", "kettle").out
    assert "FAILED" not in adapt("index", "verify", "--index", index).out
    assert "1 removed; 61 items" in adapt("index", "remove", "--index", index, "--item", "CAMP-001").out


def test_a_damaged_index_fails_verification(adapt: Run, index: Path) -> None:
    (path,) = index.rglob("embeddings.safetensors")
    data = bytearray(path.read_bytes())
    data[-3] ^= 4
    path.write_bytes(data)
    ran = adapt("index", "verify", "--index", index)
    assert ran.code == 4
    assert "FAILED" in ran.out
    assert "embeddings.safetensors" in ran.out
    assert adapt("index", "search", "--index", index, "--item", "CAMP-001").code == 4


@pytest.mark.parametrize(
    ("arguments", "code", "named"),
    [
        (("search", "--item", "CAMP-01"), 3, "CAMP-01"),
        (("search", "--history", ""), 2, "history"),
        (("search",), 2, "none"),
        (("search", "--item", "CAMP-001", "--text", "tent"), 2, "2 of them"),
        (("search", "--item", "CAMP-001", "--where", "colour=red"), 2, "colour"),
        (("search", "--item", "CAMP-001", "--where", "price<cheap"), 2, "cheap"),
        (("search", "--item", "CAMP-001", "--checkpoint", "training-free"), 4, "training-free"),
        (("search", "--image", "no-such.png"), 3, "no-such.png"),
        (("remove", "--item", "nobody"), 3, "nobody"),
        (("remove",), 2, "--item"),
        (("add", "--dataset", "no-such.csv"), 3, "no-such.csv"),
    ],
)
def test_mistakes_are_named_and_change_nothing(
    adapt: Run, index: Path, arguments: tuple[str, ...], code: int, named: str
) -> None:
    before = sorted(path.name for path in index.rglob("*"))
    ran = adapt("index", arguments[0], "--index", index, *arguments[1:])
    assert ran.code == code
    assert named in ran.err
    assert sorted(path.name for path in index.rglob("*")) == before


def test_no_index_and_a_foreign_folder(adapt: Run, example_shop: Path, tmp_path: Path) -> None:
    ran = adapt("index", "info", "--index", tmp_path / "nowhere")
    assert ran.code == 4
    assert "adapt index build" in ran.err
    (tmp_path / "letter.txt").write_text("dear")
    ran = adapt("index", "build", "--dataset", example_shop, "--output", tmp_path)
    assert ran.code == 2
    assert "letter.txt" in ran.err
    ran = adapt(
        "index", "build", "--dataset", example_shop, "--output", tmp_path / "x", "--run", "a", "--checkpoint", "b"
    )
    assert ran.code == 2

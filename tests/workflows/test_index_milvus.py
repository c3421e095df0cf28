"""What an index in Milvus promises beyond searching: its collection and name, moving, and what a dead writer leaves."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from adapt import Checkpoint, load_dataset, zero_shot
from adapt.errors import CheckpointError, EngineError, UsageError
from adapt.index import carry
from adapt.index.engine import RemoteSettings, Wanted, connect
from adapt.index.filters import parse_condition
from adapt.workflows.hub_index import export_index
from adapt.workflows.index_engine import check_engine
from adapt.workflows.index_facts import facts, verify
from adapt.workflows.live_service import LiveService
from adapt.workflows.live_types import Answer, Ask, LiveOptions, NewItem
from adapt.workflows.living_index import LivingIndex, SearchOptions
from adapt.workflows.recommend import RecommendOptions, few_shot_run, zero_shot_run
from tests.index.milvus_cases import closed, lite, needs_lite, settings

from .index_cases import built, catalog, contents, rows, saved, table
from .index_writers import COMMITTED

pytestmark = needs_lite


@pytest.fixture(scope="module")
def model(tiny: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tiny, tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture(scope="module")
def template(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("built")
    built(table(folder / "items.csv", rows(24)), folder / "index", model)
    return folder / "index"


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    yield from lite(tmp_path_factory.mktemp("lite"))


@pytest.fixture
def asked(file: str) -> RemoteSettings:
    return settings(file, index="FLAT")


@pytest.fixture
def index(template: Path, tmp_path: Path, asked: RemoteSettings) -> Path:
    """An index that Milvus searches."""
    path = shutil.copytree(template, tmp_path / "index")
    LivingIndex.open(path).move(asked)
    return path


def collections(asked: RemoteSettings) -> list[str]:
    """What a server holds under a lasting name."""
    return connect(asked).names()


def everything(path: Path) -> dict[str, tuple[str, bytes, tuple[tuple[str, str], ...], bytes]]:
    """All that an index knows of each item."""
    now = LivingIndex.open(path).snapshot
    known = {}
    for row in now.rows.tolist():
        raw = now.features(np.array([row]))["text"]
        cells = tuple(now.columns_of(row).items())
        vector = now.vectors.take(np.array([row])).tobytes()
        known[now.id(row)] = (now.title(row), vector, cells, raw.values.tobytes())
    return known


def test_an_index_moves_there_and_back_bit_for_bit(template: Path, tmp_path: Path, asked: RemoteSettings) -> None:
    path = shutil.copytree(template, tmp_path / "index")
    LivingIndex.open(path).remove(["004"])
    before, told = everything(path), facts(path)
    moved = LivingIndex.open(path)
    assert moved.move(asked).count == 23
    assert moved.snapshot.info().kind == "milvus"
    remote = moved.snapshot.remote
    assert remote is not None
    ids, vectors = remote.collection.stored(moved.snapshot.rows)
    assert ids == list(moved.snapshot.ids)
    assert vectors.tobytes() == moved.snapshot.vectors.take(moved.snapshot.rows).tobytes()
    assert everything(path) == before
    assert remote.collection.count(Wanted()) == 23
    for kind in ("hnsw", "exact"):
        moved.move(kind)
        assert moved.snapshot.info().kind == kind
        assert everything(path) == before
        assert collections(asked) == []
    assert facts(path).columns == told.columns
    assert facts(path).description.model == told.description.model


def test_the_collection_says_whose_it_is_and_another_model_is_refused(
    index: Path, model: Path, tmp_path: Path, asked: RemoteSettings
) -> None:
    now = LivingIndex.open(index).snapshot
    assert now.remote is not None
    server, entry, identity = now.remote.server, now.remote.entry, now.remote.identity
    assert identity.fingerprint == now.description.model.fingerprint
    for wrong, said in (
        (replace(identity, fingerprint="f" * 64), ["f" * 64, identity.fingerprint]),
        (replace(identity, dim=5), ["dim 5", str(identity.dim)]),
        (replace(identity, format_version=1), ["format_version 1", "2"]),
    ):
        with pytest.raises(EngineError) as caught:
            server.open(entry.name, wrong, entry.columns)
        assert all(word in caught.value.message for word in said)
        assert "compact" in caught.value.hint
        assert caught.value.exit_code == CheckpointError.exit_code


def test_a_lost_collection_is_said_with_the_way_to_have_it_again(index: Path, asked: RemoteSettings) -> None:
    living = LivingIndex.open(index)
    query = living.model.text("espresso")
    expected = living.answer(living.snapshot, query, [np.zeros(0, np.int64)], SearchOptions(k=5))
    assert living.snapshot.remote is not None
    connect(asked).drop(living.snapshot.remote.entry.name)
    with pytest.raises(EngineError, match="found none") as caught:
        LivingIndex.open(index).by_item("003")
    assert "adapt index compact" in caught.value.hint
    assert facts(index).engine["away"]  # type: ignore[index]
    assert not next(check for check in verify(index, seed=0) if check.name == "engine").passed
    assert LivingIndex.open(index).compact().count == 24
    again = LivingIndex.open(index)
    found = again.answer(again.snapshot, query, [np.zeros(0, np.int64)], SearchOptions(k=5))
    assert [again.snapshot.id(row) for row in found[0][0]] == [living.snapshot.id(row) for row in expected[0][0]]
    assert all(check.passed for check in verify(index, seed=0))


def test_verify_finds_rows_that_are_not_the_folders(index: Path) -> None:
    now = LivingIndex.open(index).snapshot
    assert now.remote is not None
    now.remote.collection.delete(now.rows[:2])
    found = next(check for check in verify(index, seed=0) if check.name == "engine")
    assert found.passed is False
    assert "22 rows" in found.detail


def test_the_lasting_name_leads_to_the_rows_that_count_and_one_collection_stays(
    index: Path, asked: RemoteSettings
) -> None:
    client = connect(asked)._connection  # type: ignore[attr-defined]
    for change in (lambda living: living.compact(), lambda living: living.compact(refit=True)):
        change(LivingIndex.open(index))
        entry = LivingIndex.open(index).snapshot.description.remote
        assert entry is not None
        assert client.ask("", "describe_alias", asked.collection)["collection_name"] == entry.name
        assert collections(asked) == [entry.name]


def test_a_reader_goes_on_with_its_collection_until_it_lets_go(index: Path, asked: RemoteSettings) -> None:
    reader = LivingIndex.open(index)
    before = reader.by_item("003").item_ids
    writer = LivingIndex.open(index)
    writer.remove(list(before[:3]))
    assert reader.by_item("003").item_ids == before
    writer.compact()
    assert reader.by_item("003").item_ids == before
    assert len(collections(asked)) == 2
    reader.reload()
    assert set(reader.by_item("003").item_ids).isdisjoint(before[:3])
    writer.remove([before[3]])
    assert len(collections(asked)) == 1


def test_a_name_that_is_another_indexs_is_refused_before_anything_is_carried(
    index: Path, template: Path, tmp_path: Path, asked: RemoteSettings
) -> None:
    other = shutil.copytree(template, tmp_path / "other")
    there = collections(asked)
    with pytest.raises(EngineError, match="another index") as caught:
        LivingIndex.open(other).move(asked)
    assert "--collection" in caught.value.hint
    assert collections(asked) == there
    assert LivingIndex.open(other).snapshot.info().kind == "exact"


def test_rows_of_a_writer_that_died_are_not_seen_and_go_with_the_next_change(index: Path, tmp_path: Path) -> None:
    living = LivingIndex.open(index)
    now = living.snapshot
    assert now.remote is not None
    collection = now.remote.collection
    vector = now.vectors.take(np.array([now.row("003")]))
    carry.append(now, replace(_items(now, "003"), ids=("ghost",)))
    assert collection.count(Wanted()) == 25
    found = LivingIndex.open(index).by_item("003", SearchOptions(k=24, keep_seen=True))
    assert "ghost" not in found.item_ids
    assert len(found.item_ids) == 24
    assert living.answer(now, vector, [np.zeros(0, np.int64)], SearchOptions(k=1))[0][0].tolist() == [now.row("003")]
    living.add(catalog(tmp_path / "more.csv", ["900,copper kettle,coffee,30"]))
    assert living.by_text("copper kettle", SearchOptions(k=1)).item_ids == ("900",)
    assert collection.count(Wanted()) == 25


def _items(now, item_id):  # type: ignore[no-untyped-def]
    from adapt.index.segments import stored_items, together

    return together([stored_items(segment) for segment in now.segments], np.array([now.row(item_id)]))


def test_a_failed_change_leaves_the_index_and_no_collection(
    index: Path, asked: RemoteSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = collections(asked)
    monkeypatch.setattr("adapt.workflows.index_build.write_items", _full)
    with pytest.raises(OSError, match="disk full"):
        LivingIndex.open(index).compact()
    assert collections(asked) == there
    assert len(LivingIndex.open(index).by_item("003").item_ids) == 10


def _full(*_: object) -> None:
    raise OSError("disk full")


def test_what_milvus_cannot_be_asked_is_answered_from_the_folder(index: Path, template: Path, tmp_path: Path) -> None:
    local = LivingIndex.open(template)
    living = LivingIndex.open(index)
    for written in ("title~100%", "title~_", "category in camp,coffee", "price>=3", "title!=x", "category="):
        for k in (3, 30):
            options = SearchOptions(k=k, where=(parse_condition(written),), deny=("003",))
            assert living.by_item("004", options).item_ids == local.by_item("004", options).item_ids, written
    allowed = SearchOptions(k=30, allow=("001", "005", "gone"))
    assert set(living.by_item("004", allowed).item_ids) == {"001", "005"}
    with pytest.raises(UsageError, match="column"):
        living.by_item("004", SearchOptions(where=(parse_condition("colour=red"),)))
    long = "x" * 600
    living.add(catalog(tmp_path / "more.csv", [f"901,{long},camp,1", f"902,{long[:-1]}y,camp,2"]))
    found = living.by_item("004", SearchOptions(k=9, where=(parse_condition("title~xxy"),)))
    assert found.item_ids == ("902",)


def test_a_shared_copy_says_nothing_of_the_engine(
    index: Path, tmp_path: Path, asked: RemoteSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adapt.workflows.hub_index.shared_reference", lambda *_: "org/tiny@0123")
    export_index(index, tmp_path / "shared")
    copy = LivingIndex.open(tmp_path / "shared").snapshot
    assert copy.description.remote is None
    assert copy.info().kind == "exact"
    assert copy.description.model.fingerprint == LivingIndex.open(index).snapshot.description.model.fingerprint
    written = "".join(path.read_text(errors="replace") for path in (tmp_path / "shared").rglob("*") if path.is_file())
    assert asked.uri not in written
    assert asked.collection not in written


def test_a_service_searches_in_milvus_and_does_not_start_without_it(
    index: Path, tmp_path: Path, asked: RemoteSettings
) -> None:
    service = LiveService.open(LiveOptions(str(index), str(tmp_path / "memory")))
    (answer,) = service.recommend([Ask(history=("003",), method="zero-shot", options=SearchOptions(k=3))])
    assert isinstance(answer, Answer)
    assert [item.item_id for item in answer.items] == list(
        LivingIndex.open(index).by_history(["003"], SearchOptions(k=3)).item_ids
    )
    service.put_items([NewItem("900", {"title": "copper kettle"})])
    found = service.by_text("copper kettle", SearchOptions(k=1))
    assert [item.item_id for item in found.items] == ["900"]
    entry = service.index.snapshot.description.remote
    assert entry is not None
    connect(asked).drop(entry.name)
    (refused,) = service.recommend([Ask(history=("003",), method="zero-shot")])
    assert isinstance(refused, EngineError)
    service.close()
    with pytest.raises(EngineError, match="found none"):
        LiveService.open(LiveOptions(str(index), str(tmp_path / "memory")))


def test_zero_shot_and_few_shot_search_in_milvus_and_leave_nothing_there(
    model: Path, tmp_path: Path, asked: RemoteSettings
) -> None:
    shop = tmp_path / "shop"
    shop.mkdir()
    table(shop / "items.csv", rows(24))
    events = "".join(f"u{user},{(user * 7 + step) % 24:03}\n" for user in range(9) for step in range(4))
    (shop / "interactions.csv").write_text("user_id,item_id\n" + events)
    options = RecommendOptions(dataset=str(shop), checkpoint=str(model), k=4, users=("u1", "u2"))
    for run in (zero_shot_run, few_shot_run):
        here, there = run(options), run(replace(options, index=asked))
        assert there.index.kind == "milvus"
        assert there.index.recall_measured == 1.0
        lists = [list(result.table.lines(result.dataset.catalog.ids)) for result in (here, there)]
        assert [line[:3] for line in lists[0]] == [line[:3] for line in lists[1]]
        assert collections(asked) == []
    recommender = zero_shot(Checkpoint.from_pretrained(str(model)), load_dataset(shop), index=asked)
    assert len(collections(asked)) == 1
    recommender.index.close()
    assert collections(asked) == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_sigkill_at_any_step_leaves_nothing_that_readers_see(template: Path, tmp_path: Path) -> None:
    asked = settings(tmp_path / "own.db", index="FLAT")
    index = shutil.copytree(template, tmp_path / "index")
    LivingIndex.open(index).move(asked)
    more = table(tmp_path / "more.csv", [*rows(3, first=50), "005,copper kettle,coffee,1"])
    before = seen(index)
    command = [sys.executable, "-m", "tests.workflows.index_writers", str(template), str(more)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as writers:
        for step in ("stored", "committing", "committed", "removing"):
            assert wrote(writers, "add", step, index, asked.uri) == signal.SIGKILL
            now = seen(index)
            assert (now == before) is (step not in COMMITTED), step
            assert set(now) in (set(before), {*before, "050", "051", "052"})
        before = seen(index)
        for step in ("created", "stored", "committing", "committed", "switched"):
            generation = LivingIndex.open(index).snapshot.generation
            assert wrote(writers, "compact", step, index, asked.uri) == signal.SIGKILL
            assert (LivingIndex.open(index).snapshot.generation == generation) is (step not in COMMITTED), step
            assert set(seen(index)) == set(before)
        assert wrote(writers, "compact", "none", index, asked.uri) == 0
        assert writers.stdin is not None
        writers.stdin.close()
    assert set(seen(index)) == set(before) == set(contents(index))
    entry = LivingIndex.open(index).snapshot.description.remote
    assert entry is not None
    assert collections(asked) == [entry.name]
    assert all(check.passed for check in verify(index, seed=0))
    closed(asked.uri)


def seen(index: Path) -> dict[str, float]:
    """Every item that a search finds, with its score; the folder and the engine agree on them."""
    living = LivingIndex.open(index)
    assert living.snapshot.remote is not None
    check_engine(living.snapshot, living.snapshot.remote, np.random.default_rng(0))
    found = living.by_item("003", SearchOptions(k=100, keep_seen=True))
    return {item_id: round(score, 4) for item_id, score in zip(found.item_ids, found.scores, strict=True)}


def wrote(writers: subprocess.Popen[str], kind: str, step: str, index: Path, file: str) -> int:
    """Have a writer do something and die at a step; the signal that ended it, or its exit code."""
    assert writers.stdin is not None
    assert writers.stdout is not None
    closed(file)
    writers.stdin.write(f"{kind} {step} {index}\n")
    writers.stdin.flush()
    status = int(writers.stdout.readline())
    return os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)

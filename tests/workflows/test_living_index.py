"""An index that follows its catalog: what is added is found, what is removed stays away, what is frozen stays so."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from adapt import Checkpoint, load_dataset, load_index, zero_shot
from adapt.errors import CheckpointError, DataError, UsageError
from adapt.features import store
from adapt.index.filters import parse_condition
from adapt.workflows.index_add import read_items
from adapt.workflows.index_facts import facts, verify
from adapt.workflows.living_index import LivingIndex, SearchOptions

from .index_cases import built, catalog, contents, rows, saved, table

EVENTS = "user_id,item_id\n" + "".join(
    f"u{user},{(user * 7 + step) % 24:03}\n" for user in range(9) for step in range(4)
)


@pytest.fixture(scope="module")
def model(tiny: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tiny, tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture(scope="module")
def _template(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("built")
    (folder / "shop").mkdir()
    table(folder / "shop" / "items.csv", rows(24))
    (folder / "shop" / "interactions.csv").write_text(EVENTS)
    built(folder / "shop", folder / "index", model)
    return folder


@pytest.fixture
def shop(_template: Path, tmp_path: Path) -> Path:
    """An index of 24 items with the data set that it was built from, to change at will."""
    shutil.copytree(_template, tmp_path / "work")
    return tmp_path / "work"


def test_it_recommends_what_the_zero_shot_recommender_does(shop: Path, model: Path) -> None:
    recommender = zero_shot(Checkpoint.from_pretrained(str(model)), load_dataset(shop / "shop"))
    living = LivingIndex.open(shop / "index")
    for history in (["003", "004"], ["000"], ["006", "014", "022"]):
        (expected,) = recommender.recommend(history=history, k=8)
        found = living.by_history(history, SearchOptions(k=8))
        assert found.item_ids == expected.item_ids
        np.testing.assert_allclose(found.scores, expected.scores, rtol=1e-4)
    assert living.by_item("003", SearchOptions(k=5)).item_ids == recommender.similar("003", 5).item_ids
    assert living.by_text("espresso", SearchOptions(k=5)).item_ids == recommender.search("espresso", 5).item_ids


def test_a_new_item_is_found_at_once_and_only_it_is_encoded(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoded = []
    original = store._encode
    monkeypatch.setattr(
        store, "_encode", lambda batches, total, *rest: encoded.append(total) or original(batches, total, *rest)
    )
    living = LivingIndex.open(shop / "index")
    change = living.add(catalog(shop / "more.csv", ["900,copper kettle for tea,coffee,30", *rows(1)]))
    assert (change.added, change.replaced, change.count) == (1, 1, 25)
    assert change.report is not None
    assert change.report.encoded == {"text": 1}
    assert sum(encoded) == 1
    assert living.by_text("copper kettle for tea", SearchOptions(k=1)).item_ids == ("900",)
    assert LivingIndex.open(shop / "index").by_text("copper kettle", SearchOptions(k=1)).titles == (
        "copper kettle for tea",
    )


def test_an_item_that_is_added_lies_where_a_query_of_the_same_text_does(shop: Path) -> None:
    living = LivingIndex.open(shop / "index")
    living.add(catalog(shop / "more.csv", ["900,copper kettle,,"]))
    hits = living.by_text("copper kettle", SearchOptions(k=1))
    assert hits.scores[0] == pytest.approx(1, abs=1e-5)


def test_a_changed_item_is_what_the_file_says(shop: Path) -> None:
    living = LivingIndex.open(shop / "index")
    before = living.by_text("tent", SearchOptions(k=24)).scores
    assert living.add(catalog(shop / "more.csv", ["000,green garden hose,garden,9"])).replaced == 1
    hits = living.by_text("green garden hose", SearchOptions(k=24, where=(parse_condition("price<10"),)))
    assert hits.item_ids[0] == "000"
    assert hits.titles[0] == "green garden hose"
    assert len(living.by_text("tent", SearchOptions(k=50)).item_ids) == len(before) == 24


def test_removed_items_never_come_back(shop: Path) -> None:
    living = LivingIndex.open(shop / "index")
    gone = {"003", "011", "019"}
    assert living.remove(sorted(gone)).count == 21
    left = {f"{number:03}" for number in range(24)} - gone
    for step in ("now", "restart", "add", "compact", "restart again"):
        if step == "add":
            living.add(catalog(shop / "more.csv", rows(4, first=30)))
            left |= {"030", "031", "032", "033"}
        if step == "compact":
            living.compact()
        if "restart" in step:
            living = LivingIndex.open(shop / "index")
        assert set(living.by_text("espresso machine", SearchOptions(k=99)).item_ids) == left, step
        assert set(contents(shop / "index")) == left, step
    stored = b"".join(path.read_bytes() for path in (shop / "index").rglob("*") if path.is_file())
    assert b"espresso machine 3" not in stored.replace(b"espresso machine 35", b"").replace(b"espresso machine 30", b"")
    with pytest.raises(DataError, match="'003'"):
        living.remove(["003"])


def test_removing_is_all_or_nothing(shop: Path) -> None:
    living = LivingIndex.open(shop / "index")
    with pytest.raises(DataError, match="nowhere"):
        living.remove(["000", "nowhere"])
    assert set(contents(shop / "index")) == {f"{number:03}" for number in range(24)}


def test_everything_may_go_and_come_again(shop: Path) -> None:
    living = LivingIndex.open(shop / "index")
    assert living.remove(living.snapshot.ids).count == 0
    assert living.by_text("tent").item_ids == ()
    assert living.compact().count == 0
    assert living.add(catalog(shop / "more.csv", rows(3))).count == 3
    assert set(living.by_text("tent").item_ids) == {"000", "001", "002"}
    assert all(check.passed is not False for check in verify(shop / "index"))


@pytest.mark.parametrize("allowed", [0, 1, 2, 7, 23, 24])
def test_filters_are_exact_at_any_selectivity_and_k_returns_what_there_is(shop: Path, allowed: int) -> None:
    living = LivingIndex.open(shop / "index")
    whole = living.by_history(["003", "004"], SearchOptions(k=99, keep_seen=True)).item_ids
    fits = [item_id for item_id in whole if float(item_id) + 0.5 < allowed]
    options = SearchOptions(k=5, where=(parse_condition(f"price<{allowed}"),), keep_seen=True)
    assert list(living.by_history(["003", "004"], options).item_ids) == fits[:5]
    listed = replace(options, where=(), allow=(*fits, "not there"))
    assert list(living.by_history(["003", "004"], listed).item_ids) == fits[:5]
    denied = replace(options, where=(), deny=tuple(set(whole) - set(fits)), k=99)
    assert list(living.by_history(["003", "004"], denied).item_ids) == fits
    unseen = [item_id for item_id in fits if item_id not in ("003", "004")]
    assert list(living.by_history(["003", "004"], replace(options, keep_seen=False, k=99)).item_ids) == unseen


def test_a_diverse_list_is_less_alike_and_starts_with_the_best(shop: Path) -> None:
    living = LivingIndex.open(shop / "index")
    vectors = living.snapshot.vectors

    def likeness(ids: tuple[str, ...]) -> float:
        taken = vectors.take(np.array([living.snapshot.row(item_id) for item_id in ids]))
        return float((taken @ taken.T)[np.triu_indices(len(ids), 1)].mean())

    plain = living.by_history(["003"], SearchOptions(k=4)).item_ids
    diverse = living.by_history(["003"], SearchOptions(k=4, diversity=0.7)).item_ids
    assert diverse[0] == plain[0]
    assert likeness(diverse) < likeness(plain)


def test_a_history_may_hold_items_that_are_gone_but_not_only_such(shop: Path) -> None:
    living = LivingIndex.open(shop / "index")
    living.remove(["004"])
    hits = living.by_history(["004", "003"])
    assert hits.unknown == ("004",)
    assert hits.item_ids == living.by_history(["003"]).item_ids
    with pytest.raises(DataError, match="'004'"):
        living.by_history(["004"])


def test_another_model_is_refused_with_both_fingerprints(
    shop: Path, model: Path, tmp_path: Path, tiny: Checkpoint
) -> None:
    other = saved(replace(tiny, config=replace(tiny.config, summary="Another.")), tmp_path / "other")
    mine, theirs = (Checkpoint.from_pretrained(str(path)).sha256 for path in (model, other))
    with pytest.raises(CheckpointError) as caught:
        LivingIndex.open(shop / "index", checkpoint=str(other))
    assert mine in caught.value.message
    assert theirs in caught.value.message
    moved = shutil.copytree(model, tmp_path / "moved")
    assert LivingIndex.open(shop / "index", checkpoint=str(moved)).by_text("tent", SearchOptions(k=1)).item_ids == (
        "000",
    )
    assert len(load_index(shop / "index", mine)) == 24
    with pytest.raises(CheckpointError, match=mine):
        load_index(shop / "index", theirs)


def test_the_normalisation_is_frozen_until_it_is_refitted(shop: Path, model: Path) -> None:
    living = LivingIndex.open(shop / "index")
    before = contents(shop / "index")
    assert facts(shop / "index").drift == pytest.approx({"text": 0}, abs=1e-6)
    strange = [
        f"{number},{words},music,1"
        for number, words in enumerate(["violin strings", "grand piano", "drum sticks"] * 30, 500)
    ]
    living.add(catalog(shop / "more.csv", strange))
    after = contents(shop / "index")
    assert {item_id: after[item_id] for item_id in before} == before
    drifted = facts(shop / "index").drift["text"]
    assert drifted > 0.01
    living.compact()
    assert contents(shop / "index") == after
    assert facts(shop / "index").drift["text"] == pytest.approx(drifted)
    living.compact(refit=True)
    assert facts(shop / "index").drift == pytest.approx({"text": 0}, abs=1e-6)
    table(shop / "all.csv", [*rows(24), *strange])
    built(shop / "all.csv", shop / "fresh", model)
    fresh, refitted = contents(shop / "fresh"), contents(shop / "index")
    assert set(fresh) == set(refitted)
    for item_id, (_, vector) in fresh.items():
        np.testing.assert_allclose(
            np.frombuffer(vector, np.float32), np.frombuffer(refitted[item_id][1], np.float32), atol=1e-5
        )


@pytest.mark.parametrize("storage", ["float16", "int8"])
def test_fewer_bytes_cost_a_recall_that_is_measured_and_shown(shop: Path, model: Path, storage: str) -> None:
    result = built(shop / "shop", shop / storage, model, storage=storage)
    recall = result.description.recall
    assert recall is not None
    assert 0.9 < recall.storage <= 1
    assert recall.recall == recall.storage
    sizes = facts(shop / storage).sizes
    assert sizes["embeddings"] < 0.6 * facts(shop / "index").sizes["embeddings"]
    plain, small = LivingIndex.open(shop / "index"), LivingIndex.open(shop / storage)
    assert small.by_text("tent", SearchOptions(k=1)).item_ids == plain.by_text("tent", SearchOptions(k=1)).item_ids
    small.add(catalog(shop / "more.csv", rows(8, first=40)))
    assert small.snapshot.description.recall is not None
    assert small.snapshot.description.recall.count == 32
    assert all(check.passed for check in verify(shop / storage, seed=1))


def test_recall_is_measured_again_when_the_index_grew_by_a_fifth(shop: Path, model: Path) -> None:
    built(shop / "shop", shop / "graph", model, index="hnsw")
    living = LivingIndex.open(shop / "graph")
    assert living.snapshot.info().kind == "hnsw"
    assert living.snapshot.info().recall_queries == 4
    assert not living.add(catalog(shop / "a.csv", rows(4, first=40))).recalibrated
    assert living.snapshot.info().changes == 4
    assert living.add(catalog(shop / "b.csv", rows(2, first=50))).recalibrated
    recall = living.snapshot.description.recall
    assert recall is not None
    assert (recall.count, recall.changes) == (30, 0)
    assert living.snapshot.description.graph is not None
    assert living.snapshot.description.graph.rows == 30
    again = LivingIndex.open(shop / "graph")
    for text in ("tent", "white rose"):
        assert again.by_text(text).item_ids == living.by_text(text).item_ids


def test_a_graph_finds_what_came_after_it_and_not_what_went(model: Path, tmp_path: Path) -> None:
    table(tmp_path / "items.csv", rows(300))
    built(tmp_path / "items.csv", tmp_path / "graph", model, index="hnsw")
    built(tmp_path / "items.csv", tmp_path / "exact", model, index="exact")
    graph, exact = LivingIndex.open(tmp_path / "graph"), LivingIndex.open(tmp_path / "exact")
    more = catalog(tmp_path / "more.csv", [*rows(20, first=400), "000,copper kettle,coffee,3"])
    for living in (graph, exact):
        living.add(more)
        living.remove([f"{number:03}" for number in range(100, 140)])
    assert graph.snapshot.description.graph is not None
    assert graph.snapshot.description.graph.rows == 300
    for text in ("tent", "copper kettle", "espresso machine 115"):
        found, expected = graph.by_text(text, SearchOptions(k=20)), exact.by_text(text, SearchOptions(k=20))
        np.testing.assert_allclose(found.scores, expected.scores, atol=1e-5)
    assert graph.by_text("copper kettle", SearchOptions(k=1)).item_ids == ("000",)


def test_an_open_index_goes_on_with_its_generation_until_it_is_reloaded(shop: Path) -> None:
    reader, writer = LivingIndex.open(shop / "index"), LivingIndex.open(shop / "index")
    writer.remove(["000", "008", "016"])
    writer.compact()
    assert "000" in reader.by_text("tent", SearchOptions(k=24)).item_ids
    assert not writer.reload()
    assert reader.reload()
    assert "000" not in reader.by_text("tent", SearchOptions(k=24)).item_ids


def test_readers_and_writers_at_once_lose_nothing(shop: Path) -> None:
    stop, failures = threading.Event(), []
    reader = LivingIndex.open(shop / "index")

    def read() -> None:
        while not stop.is_set():
            try:
                reader.reload()
                ids = reader.by_history(["001"], SearchOptions(k=99, keep_seen=True)).item_ids
                assert len(set(ids)) == len(ids) >= 24
            except Exception as error:  # noqa: BLE001 - whatever it is, the test must see it
                failures.append(error)
                return

    def write(first: int) -> None:
        try:
            living = LivingIndex.open(shop / "index")
            for number in range(first, first + 3):
                living.add(catalog(shop / f"{number}.csv", rows(1, first=number)))
        except Exception as error:  # noqa: BLE001
            failures.append(error)

    threads = [threading.Thread(target=write, args=(first,)) for first in (100, 200, 300)]
    reading = threading.Thread(target=read)
    reading.start()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    stop.set()
    reading.join(60)
    assert failures == []
    assert len(contents(shop / "index")) == 24 + 9
    assert len(LivingIndex.open(shop / "index").snapshot.segments) < 6


def test_pictures_and_texts_find_each_other(tiny: Checkpoint, model: Path, tmp_path: Path, example_shop: Path) -> None:
    pictures = sorted((example_shop / "images").iterdir())[:4]
    shutil.copytree(example_shop / "images", tmp_path / "shop" / "images")
    lines = [
        "item_id,title,image",
        "t0,tent,",
        f"i0,,images/{pictures[0].name}",
        f"b0,kettle,images/{pictures[1].name}",
    ]
    (tmp_path / "shop" / "items.csv").write_text("\n".join(lines) + "\n")
    built(tmp_path / "shop" / "items.csv", tmp_path / "index", model)
    living = LivingIndex.open(tmp_path / "index")
    assert living.by_image(pictures[0], SearchOptions(k=1)).item_ids == ("i0",)
    assert set(living.by_image(pictures[0]).item_ids) == {"t0", "i0", "b0"}
    assert living.by_text("tent", SearchOptions(k=1)).item_ids == ("t0",)
    (tmp_path / "shop" / "new.csv").write_text(f"item_id,image\ni1,images/{pictures[2].name}\n")
    more = read_items(str(tmp_path / "shop" / "new.csv"), ("title",), columns=load_options())
    assert living.add(more).added == 1
    assert living.by_image(pictures[2], SearchOptions(k=1)).item_ids == ("i1",)
    assert set(living.by_history(["i1"]).item_ids) == {"t0", "i0", "b0"}
    with pytest.raises(DataError):
        living.by_image(tmp_path / "shop" / "items.csv")


def load_options():  # type: ignore[no-untyped-def]
    from adapt.data import ColumnOptions

    return ColumnOptions()


def test_added_texts_are_put_together_as_those_of_the_index(tmp_path: Path) -> None:
    (tmp_path / "new.csv").write_text("item_id,brand,title,colour\n1,Acme,tent for two people,green as grass\n")
    read = read_items(str(tmp_path / "new.csv"), ("title", "colour"), columns=load_options())
    assert read.text_template == ("title", "colour")
    assert "Acme" not in read.texts[0]


def damage(path: Path, name: str, change: Callable[[bytearray], None]) -> None:
    (file,) = [file for file in path.rglob(name) if file.parent.parent.name == "parts"]
    data = bytearray(file.read_bytes())
    change(data)
    file.write_bytes(data)


@pytest.mark.parametrize(
    "name",
    [
        "embeddings.safetensors",
        "ids.json",
        "titles.json",
        "items.parquet",
        "features.safetensors",
        "normalisation.safetensors",
        "queries.safetensors",
    ],
)
def test_verify_names_the_file_that_was_damaged(shop: Path, name: str) -> None:
    assert [check.passed for check in verify(shop / "index", seed=0)] == [True] * 5
    damage(shop / "index", name, lambda data: data.__setitem__(len(data) // 2, data[len(data) // 2] ^ 1))
    (check,) = [check for check in verify(shop / "index") if check.passed is False]
    assert check.name == "generation"
    assert name in check.detail


def test_verify_finds_embeddings_that_belong_to_other_items(shop: Path) -> None:
    from adapt.index.generations import Generations
    from adapt.index.sealed import seal

    def swap(data: bytearray) -> None:
        values = np.frombuffer(bytes(data[-24 * 288 * 4 :]), np.float32).reshape(24, 288)[::-1]
        data[-24 * 288 * 4 :] = values.tobytes()

    damage(shop / "index", "embeddings.safetensors", swap)
    pointer = Generations(shop / "index").pointer()
    assert pointer is not None
    generation = shop / "index" / "generations" / pointer.generation
    description = json.loads((generation / "index.json").read_text())
    for part in description["parts"]:
        part["sha256"] = seal(shop / "index" / "parts" / part["name"])
    (generation / "index.json").write_text(json.dumps(description))
    (shop / "index" / "CURRENT").write_text(json.dumps({"generation": pointer.generation, "sha256": seal(generation)}))
    failed = [check for check in verify(shop / "index") if check.passed is False]
    assert [check.name for check in failed] == ["model"]


def test_options_out_of_range_are_refused(shop: Path) -> None:
    for values in ({"k": 0}, {"diversity": 1.5}):
        with pytest.raises(UsageError):
            SearchOptions(**values)  # type: ignore[arg-type]
    living = LivingIndex.open(shop / "index")
    with pytest.raises(UsageError, match="one string"):
        living.by_history("000")
    with pytest.raises(UsageError, match="colour"):
        living.by_item("000", SearchOptions(where=(parse_condition("colour=red"),)))
    with pytest.raises(UsageError, match="both"):
        LivingIndex.open(shop / "index", checkpoint="a", run="b")
    with pytest.raises(CheckpointError, match="index build"):
        LivingIndex.open(shop / "nowhere").by_item("000")

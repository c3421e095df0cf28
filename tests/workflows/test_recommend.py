"""`adapt zero-shot` as a function: its modes, what it reports, and what it writes."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from adapt.data import ColumnOptions
from adapt.errors import CheckpointError, DataError, OutputError, UsageError
from adapt.workflows.recommend import RecommendOptions, RecommendResult, write_outputs, zero_shot_run

Run = Callable[..., RecommendResult]


@pytest.fixture
def run(tiny_folder: Path, example_shop: Path) -> Run:
    """Call the workflow with the small checkpoint, on the example shop if nothing else is said."""

    def call(dataset: Path = example_shop, **options: object) -> RecommendResult:
        settings = {"dataset": str(dataset), "checkpoint": str(tiny_folder), **options}
        return zero_shot_run(RecommendOptions(**settings))  # type: ignore[arg-type]

    return call


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


def test_every_user_of_the_shop_gets_a_whole_list_without_seen_items(run: Run, tmp_path: Path) -> None:
    result = run()
    write_outputs(result, tmp_path)
    written = rows(tmp_path / "recommendations.csv")
    assert result.mode == "users"
    assert len(written) == 10 * result.dataset.report.users
    interactions = result.dataset.interactions
    assert interactions is not None
    ids = result.dataset.catalog.ids
    for user in interactions.user_ids:
        own = [row for row in written if row["user_id"] == user]
        assert [int(row["rank"]) for row in own] == list(range(1, 11))
        scores = [float(row["score"]) for row in own]
        assert scores == sorted(scores, reverse=True)
        seen = {ids[item] for item in interactions.history(interactions.user(user))}
        assert not seen & {row["item_id"] for row in own}
        assert len({row["item_id"] for row in own}) == 10


def test_the_same_run_writes_the_same_bytes(run: Run, tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_outputs(run(), tmp_path / name)
    one, two = (tmp_path / name / "recommendations.csv" for name in ("one", "two"))
    assert one.read_bytes() == two.read_bytes()


def test_run_json_says_how_it_was_made(run: Run, tmp_path: Path) -> None:
    result = run(k=3, seed=5)
    write_outputs(result, tmp_path)
    record = json.loads((tmp_path / "run.json").read_text())
    assert record["arguments"]["k"] == 3
    assert record["seed"] == 5
    assert record["checkpoint"]["sha256"] == result.checkpoint.sha256
    assert set(record["data_sha256"]) == {"items.csv", "interactions.csv"}
    assert record["counts"]["candidates"] == result.candidates
    assert {"data", "encode", "normalise", "embed", "index", "recommend"} <= set(record["seconds"])
    assert record["versions"]["torch"]


def test_named_users_only(run: Run) -> None:
    assert run(users=("quinn", "anna")).table.keys == ("quinn", "anna")
    with pytest.raises(DataError, match="nobody"):
        run(users=("nobody",))


def test_an_ad_hoc_history(run: Run) -> None:
    result = run(history=("CAMP-001", "CAMP-003"), k=4)
    assert result.mode == "history"
    assert result.table.rows.shape == (1, 4)
    with pytest.raises(DataError, match="CAMP-999"):
        run(history=("CAMP-999",))


def test_a_user_named_twice_gets_one_list(run: Run) -> None:
    assert run(users=("anna", "quinn", "anna")).table.keys == ("anna", "quinn")


def test_seen_items_come_back_when_asked_for(run: Run) -> None:
    result = run(history=("CAMP-001", "CAMP-003"), k=2, keep_seen=True)
    assert result.keep_seen
    found = {result.dataset.catalog.ids[row] for row in result.table.rows[0]}
    assert found == {"CAMP-001", "CAMP-003"}


def test_a_list_longer_than_the_catalog_is_cut_and_said(run: Run, tmp_path: Path) -> None:
    result = run(users=("anna",), k=1000)
    write_outputs(result, tmp_path)
    interactions = result.dataset.interactions
    assert interactions is not None
    seen = set(interactions.history(interactions.user("anna")).tolist())
    usable_seen = [row for row in seen if result.dataset.catalog.ids[row] not in result.left_out]
    written = rows(tmp_path / "recommendations.csv")
    assert len(written) == result.candidates - len(usable_seen)
    assert any("shorter" in note for note in result.notes)


@pytest.mark.parametrize("kept", ["text", "image", "mixed"])
def test_the_shop_with_one_modality_and_with_gaps(run: Run, example_shop: Path, tmp_path: Path, kept: str) -> None:
    folder = tmp_path / "shop"
    shutil.copytree(example_shop, folder)
    with (folder / "items.csv").open(newline="", encoding="utf-8") as handle:
        items = list(csv.DictReader(handle))
    for number, item in enumerate(items):
        show = ("text", "image")[number % 2] if kept == "mixed" else kept
        if show == "text":
            item["image"] = ""
        elif show == "image":
            item.update({name: "" for name in item if name not in ("item_id", "image")})
    with (folder / "items.csv").open("w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, list(items[0]))
        writer.writeheader()
        writer.writerows(items)
    result = run(folder, k=20)
    assert len(result.dataset.catalog) == result.candidates + len(result.left_out)
    assert result.with_text + result.with_image - result.with_both == result.candidates
    expected = {
        "text": result.with_image == 0 < result.with_text,
        "image": result.with_text == 0 < result.with_image,
        "mixed": result.with_both == 0 and result.with_text > 15 and result.with_image > 15,
    }
    assert expected[kept]
    assert (result.table.rows >= 0).all()
    if kept == "mixed":  # lists hold items of both kinds, not only of the kind that a history is of
        catalog = result.dataset.catalog
        kinds = [{bool(catalog.images[row]) for row in one} for one in result.table.rows.tolist()]
        assert sum(len(kind) == 2 for kind in kinds) > len(kinds) / 2


def test_broken_pictures_count_as_missing_and_are_reported(
    run: Run, data_set: Callable[..., Path], example_shop: Path
) -> None:
    folder = data_set("item_id,title,image\na,red shoe,a.png\nb,,b.png\nc,rake,c.png\n")
    (folder / "a.png").write_bytes(b"no picture")
    (folder / "b.png").write_bytes(b"no picture either")
    shutil.copy(next((example_shop / "images").iterdir()), folder / "c.png")
    result = run(folder)
    assert result.left_out == ("b",)
    assert (result.candidates, result.with_image) == (2, 1)
    assert {item for item, _ in result.encode_failures} == {"a", "b"}
    assert any("could not be read" in note for note in result.notes)


def test_histories_of_nothing_but_unknown_items_are_an_error(run: Run, data_set: Callable[..., Path]) -> None:
    folder = data_set("item_id,title\na,red shoe\nb,blue shoe\n", "user_id,item_id\nann,x\nann,y\n")
    with pytest.raises(DataError, match=r"usable item"):
        run(folder)


def test_one_item_alone_has_nothing_similar(run: Run, data_set: Callable[..., Path], tmp_path: Path) -> None:
    result = run(data_set("item_id,title\na,red shoe\n"), k=3)
    write_outputs(result, tmp_path / "out")
    assert result.table.rows.tolist() == [[-1, -1, -1]]
    assert rows(tmp_path / "out" / "recommendations.csv") == []


def test_ids_are_written_as_they_were_read(run: Run, data_set: Callable[..., Path], tmp_path: Path) -> None:
    odd = ["007", "NA", "1e5", 'a "b", c', "line\nbreak", "\u00fc\u2603"]
    lines = ["item_id,title"] + ['"{}",thing {}'.format(item.replace('"', '""'), row) for row, item in enumerate(odd)]
    result = run(data_set("\n".join(lines) + "\n"), k=5)
    write_outputs(result, tmp_path / "out")
    written = rows(tmp_path / "out" / "recommendations.csv")
    assert {row["user_id"] for row in written} == {row["item_id"] for row in written} == set(odd)


def test_an_interrupt_while_writing_leaves_nothing_half_written(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stops:
        """Ids of which the third is never reached."""

        def __init__(self, ids: tuple[str, ...]) -> None:
            self.ids, self.left = ids, 3

        def __getitem__(self, row: int) -> str:
            self.left -= 1
            if not self.left:
                raise KeyboardInterrupt
            return self.ids[row]

    result = run(users=("anna",))
    write_outputs(result, tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    catalog = replace(result.dataset.catalog, ids=Stops(result.dataset.catalog.ids))  # type: ignore[arg-type]
    with pytest.raises(KeyboardInterrupt):
        write_outputs(replace(result, dataset=replace(result.dataset, catalog=catalog)), tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_items_only_gives_similar_items_and_says_so(run: Run, data_set: Callable[..., Path]) -> None:
    folder = data_set("item_id,title\na,red shoe\nb,blue shoe\nc,garden rake\n")
    result = run(folder, k=2)
    assert result.mode == "similar"
    assert result.table.keys == ("a", "b", "c")
    assert result.dataset.catalog.ids[result.table.rows[0, 0]] == "b"
    assert any("no interactions" in note for note in result.notes)
    assert result.self_check is None


def test_what_cannot_be_recommended_is_reported(run: Run, data_set: Callable[..., Path]) -> None:
    folder = data_set(
        "item_id,title\na,red shoe\nb,blue shoe\nc,\n", "user_id,item_id\nann,a\nzoe,c\nann,nothing-known\n"
    )
    result = run(folder, k=5)
    assert result.left_out == ("c",)
    assert result.candidates == 2
    assert result.users_without_history == ("zoe",)
    assert result.table.keys == ("ann",)
    assert result.table.rows.tolist() == [[1, -1, -1, -1, -1]]
    text = " ".join(result.notes)
    assert "c." in text
    assert "zoe" in text
    assert "shorter" in text


def test_no_user_with_a_usable_history_is_an_error(run: Run, data_set: Callable[..., Path]) -> None:
    folder = data_set("item_id,title\na,red shoe\nc,\n", "user_id,item_id\nzoe,c\n")
    with pytest.raises(DataError, match="usable item"):
        run(folder)


def test_precomputed_features_need_the_training_free_towers(
    run: Run, data_set: Callable[..., Path], tmp_path: Path
) -> None:
    folder = data_set("item_id,title\na,x\nb,y\nc,z\nd,w\n", "user_id,item_id\nann,a\n")
    np.save(tmp_path / "x.npy", np.array([[1, 0, 0], [0, 1, 0], [0.9, 0.1, 0], [0, 0, 1]], dtype=np.float32))
    columns = ColumnOptions(text_features=tmp_path / "x.npy")
    with pytest.raises(CheckpointError, match="precomputed"):
        run(folder, columns=columns)
    result = run(folder, columns=columns, checkpoint="training-free", k=1)
    assert result.dataset.catalog.ids[result.table.rows[0, 0]] == "c"
    assert result.run["encoders"] == {"text": "precomputed:text-3"}


def test_the_self_check_hides_the_last_item(run: Run) -> None:
    check = run().self_check
    assert check is not None
    assert check.users == 24
    assert check.recall_low <= check.recall <= check.recall_high
    assert check.chance_recall == pytest.approx(10 / 61)


def test_options_that_contradict_each_other_are_refused(run: Run) -> None:
    with pytest.raises(UsageError, match="both"):
        run(users=("anna",), history=("CAMP-001",))
    with pytest.raises(UsageError, match="--k"):
        run(k=0)


@pytest.mark.parametrize("checkpoint", ["tiny", "training-free"])
def test_a_device_that_is_not_there_is_refused(run: Run, checkpoint: str) -> None:
    chosen = {} if checkpoint == "tiny" else {"checkpoint": checkpoint}
    for device in ("banana", "cuda:77", "meta"):
        with pytest.raises(UsageError, match=device):
            run(device=device, **chosen)


def test_an_output_that_cannot_be_written_leaves_nothing(run: Run, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("in the way")
    with pytest.raises(OutputError):
        write_outputs(run(), tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_hnsw_and_exact_agree_on_the_shop(run: Run) -> None:
    np.testing.assert_array_equal(run(index="hnsw").table.rows, run(index="exact").table.rows)

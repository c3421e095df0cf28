"""The recommender that a program uses."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from adapt import Checkpoint, load_dataset, load_index, zero_shot
from adapt.errors import CheckpointError, DataError, UsageError
from adapt.workflows.recommender import ZeroShotRecommender
from tests.workflows.index_cases import WORDS

CATALOG = "item_id,title\n" + "".join(f"{row:03},{words}\n" for row, words in enumerate(WORDS))


@pytest.fixture
def shop(tiny: Checkpoint, data_set: Callable[..., Path]) -> ZeroShotRecommender:
    events = "user_id,item_id\nann,000\nann,001\nbob,003\nbob,004\n"
    return zero_shot(tiny, load_dataset(data_set(CATALOG, events)))


def test_a_history_of_coffee_retrieves_coffee(shop: ZeroShotRecommender) -> None:
    (found,) = shop.recommend(history=["003", "004"], k=1)
    assert found.item_ids == ("005",)


def test_users_get_their_lists_in_the_order_asked_for(shop: ZeroShotRecommender) -> None:
    found = shop.recommend(users=["bob", "ann"], k=2)
    assert [one.key for one in found] == ["bob", "ann"]
    assert found[1].item_ids[0] == "002"


def test_seen_items_are_left_out_unless_asked_for(shop: ZeroShotRecommender) -> None:
    history = ["000", "001"]
    without = shop.recommend(history=history, k=8)[0].item_ids
    kept = shop.recommend(history=history, k=8, keep_seen=True)[0].item_ids
    assert set(without) == {f"{row:03}" for row in range(2, 8)}
    assert set(kept[:2]) == set(history)


def test_scores_are_cosines_of_the_decayed_mean(shop: ZeroShotRecommender) -> None:
    embedded = shop.embedded.embeddings
    recency = float(shop.checkpoint.towers.recency.detach())  # type: ignore[operator]
    state = embedded[1] + np.exp(-recency) * embedded[0]
    expected = embedded @ (state / np.linalg.norm(state))
    (found,) = shop.recommend(history=["000", "001"], k=6)
    assert found.scores == pytest.approx([expected[int(item)] for item in found.item_ids], abs=1e-5)
    assert list(found.scores) == sorted(found.scores, reverse=True)


def test_similar_items_leave_the_item_itself_out(shop: ZeroShotRecommender) -> None:
    found = shop.similar("006", k=7)
    assert found.item_ids[0] == "007"
    assert "006" not in found.item_ids


def test_free_text_finds_items(shop: ZeroShotRecommender) -> None:
    assert shop.search("flowers", k=2).item_ids[0] in {"006", "007"}
    with pytest.raises(UsageError, match="text"):
        shop.search("  ")


def test_a_text_that_the_encoder_knows_nothing_of_is_refused(shop: ZeroShotRecommender) -> None:
    with pytest.raises(UsageError, match="knows"):
        shop.search("\u2603\ufe0f\u200d")


def test_one_string_is_not_a_list_of_ids(shop: ZeroShotRecommender) -> None:
    for arguments in ({"history": "003"}, {"users": "ann"}):
        with pytest.raises(UsageError, match="one string"):
            shop.recommend(**arguments)


def test_a_history_of_nothing_is_refused(shop: ZeroShotRecommender) -> None:
    with pytest.raises(DataError, match="usable"):
        shop.recommend(history=[])
    assert shop.recommend(users=[]) == []


def test_more_than_there_is_gives_all_there_is(shop: ZeroShotRecommender) -> None:
    (found,) = shop.recommend(history=["000"], k=50)
    assert len(found.item_ids) == len(found.scores) == len(WORDS) - 1
    assert len(shop.similar("000", k=50).item_ids) == len(WORDS) - 1
    assert len(shop.search("tent", k=50).item_ids) == len(WORDS)
    with pytest.raises(UsageError, match="k"):
        shop.recommend(history=["000"], k=0)


def test_a_long_history_is_read_from_its_end_and_left_out_as_a_whole(shop: ZeroShotRecommender) -> None:
    history = ["006"] + ["003", "004"] * 10  # the towers read the last ten
    (found,) = shop.recommend(history=history, k=8)
    assert not {"003", "004", "006"} & set(found.item_ids)
    (recent,) = shop.recommend(history=history[-10:], k=8)
    assert (
        dict(zip(recent.item_ids, recent.scores, strict=True)).items()
        >= dict(zip(found.item_ids, found.scores, strict=True)).items()
    )


def test_unknown_ids_are_refused(shop: ZeroShotRecommender) -> None:
    with pytest.raises(DataError, match="999"):
        shop.recommend(history=["999"])
    with pytest.raises(DataError, match="zoe"):
        shop.recommend(users=["zoe"])
    with pytest.raises(DataError, match="999"):
        shop.similar("999")
    for arguments in ({}, {"history": ["000"], "users": ["ann"]}):
        with pytest.raises(UsageError, match="either"):
            shop.recommend(**arguments)  # type: ignore[arg-type]


def test_the_saved_index_answers_the_same(shop: ZeroShotRecommender, tmp_path: Path) -> None:
    shop.save(tmp_path / "index")
    index = load_index(tmp_path / "index", shop.checkpoint.sha256)
    assert index.ids == shop.index.ids
    np.testing.assert_array_equal(index.embeddings, shop.index.embeddings)
    with pytest.raises(CheckpointError):
        load_index(tmp_path / "index", "another model")


def test_interactions_change_nothing_about_the_catalog(tiny: Checkpoint, data_set: Callable[..., Path]) -> None:
    folder = data_set(CATALOG, "user_id,item_id\nann,000\n")
    before = zero_shot(tiny, load_dataset(folder)).embedded.embeddings
    (folder / "interactions.csv").write_text("user_id,item_id\n" + "bob,007\n" * 50)
    np.testing.assert_array_equal(zero_shot(tiny, load_dataset(folder)).embedded.embeddings, before)


def test_text_only_histories_retrieve_image_only_items(tiny: Checkpoint, tmp_path: Path, example_shop: Path) -> None:
    folder = tmp_path / "gaps"
    shutil.copytree(example_shop / "images", folder / "images")
    pictures = sorted(path.name for path in (folder / "images").iterdir())[:6]
    rows = [f"t{row},{words}," for row, words in enumerate(WORDS)]
    rows += [f"i{row},,images/{name}" for row, name in enumerate(pictures)]
    (folder / "items.csv").write_text("item_id,title,image\n" + "\n".join(rows) + "\n")
    recommender = zero_shot(tiny, load_dataset(folder))
    (found,) = recommender.recommend(history=["t0"], k=20)
    images = {item: score for item, score in zip(found.item_ids, found.scores, strict=True) if item.startswith("i")}
    assert len(images) == len(pictures)
    assert len({round(score, 6) for score in images.values()}) > 1  # told apart, not all at chance
    assert recommender.embedded.usable.all()


@pytest.fixture
def picture_shop(tiny: Checkpoint, data_set: Callable[..., Path], example_shop: Path) -> ZeroShotRecommender:
    """Items with a text, a picture, both, and neither."""
    pictures = sorted((example_shop / "images").iterdir())[:4]
    lines = ["item_id,title,image", "t0,tent,", "t1,coffee grinder,", "n0,,"]
    lines += [f"i{row},,{path.name}" for row, path in enumerate(pictures[:2])]
    lines += [f"b{row},kettle,{path.name}" for row, path in enumerate(pictures[2:])]
    folder = data_set("\n".join(lines) + "\n")
    for path in pictures:
        shutil.copy(path, folder / path.name)
    return zero_shot(tiny, load_dataset(folder))


def test_every_history_retrieves_every_kind_of_item(picture_shop: ZeroShotRecommender) -> None:
    whole = {"t0", "t1", "i0", "i1", "b0", "b1"}
    for history in (["t0"], ["i0"], ["b0"], ["t0", "i1"], ["n0", "i0"]):
        (found,) = picture_shop.recommend(history=history, k=20)
        assert set(found.item_ids) == whole - set(history)
        assert np.isfinite(found.scores).all()
    with pytest.raises(DataError, match="usable"):
        picture_shop.recommend(history=["n0"])
    with pytest.raises(DataError, match="n0"):
        picture_shop.similar("n0")


def test_an_unusable_item_changes_no_history(picture_shop: ZeroShotRecommender) -> None:
    plain, gap = (picture_shop.recommend(history=history, k=5)[0] for history in (["t0", "b0"], ["t0", "n0", "b0"]))
    assert plain == gap


def test_a_picture_shop_without_texts_cannot_be_searched_by_text(
    tiny: Checkpoint, data_set: Callable[..., Path], example_shop: Path
) -> None:
    pictures = sorted((example_shop / "images").iterdir())[:3]
    folder = data_set("item_id,image\n" + "".join(f"i{row},{path.name}\n" for row, path in enumerate(pictures)))
    for path in pictures:
        shutil.copy(path, folder / path.name)
    recommender = zero_shot(tiny, load_dataset(folder))
    assert set(recommender.similar("i0").item_ids) == {"i1", "i2"}
    with pytest.raises(UsageError, match="text"):
        recommender.search("tent")


def test_another_encoder_than_the_checkpoints_is_refused(tiny: Checkpoint, data_set: Callable[..., Path]) -> None:
    spec = tiny.spec
    encoders = {**spec.encoders, "text": replace(spec.encoders["text"], id="static:somethingelse")}
    other = replace(tiny, spec=replace(spec, encoders=encoders))
    with pytest.raises(CheckpointError, match="somethingelse"):
        zero_shot(other, load_dataset(data_set(CATALOG)))

"""`adapt few-shot` as a function: what it knows, what new events change, and what it does with next to nothing."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import adapt
from adapt.data import Dataset, load_dataset
from adapt.data.catalog import Interactions
from adapt.data.clean import select
from adapt.data.split import drop_last
from adapt.errors import DataError
from adapt.evaluate.baselines import tuned_item_knn
from adapt.evaluate.metrics import gains_at_k, rank_of_target
from adapt.workflows.few_shot import FewShotRecommender, few_shot, remember
from adapt.workflows.recommend import RecommendOptions, few_shot_run, write_outputs
from adapt.workflows.recommender import ZeroShotRecommender, zero_shot


@pytest.fixture(scope="module")
def shop(example_shop: Path) -> Dataset:
    return load_dataset(str(example_shop))


@pytest.fixture(scope="module")
def zero(shop: Dataset) -> ZeroShotRecommender:
    return zero_shot(adapt.Checkpoint.from_pretrained("adapt-mini"), shop)


@pytest.fixture
def few(zero: ZeroShotRecommender, shop: Dataset) -> FewShotRecommender:
    assert shop.interactions is not None
    return remember(zero, shop.interactions)


def interactions_of(shop: Dataset) -> Interactions:
    assert shop.interactions is not None
    return shop.interactions


def test_without_any_event_the_order_is_that_of_zero_shot(zero: ZeroShotRecommender, shop: Dataset) -> None:
    known = interactions_of(shop)
    nothing = remember(zero, select(known, np.zeros(len(known), dtype=bool)))
    histories = [known.history(user) for user in range(5)]
    ours, _ = nothing.search_histories(histories, 10)
    theirs, _ = zero.search_histories(histories, 10)
    np.testing.assert_array_equal(ours, theirs)
    assert "too few to weigh" in nothing.explained()[0]


def test_an_event_changes_the_next_answer_within_milliseconds(few: FewShotRecommender) -> None:
    few.add("nova", "CAMP-001")
    before = few.recommend(users=["nova"], k=62)[0].item_ids
    assert "CAMP-001" not in before
    started = time.perf_counter()
    for _ in range(20):
        few.add("otto", "CAMP-001")
        few.add("otto", "HOME-003")
    assert (time.perf_counter() - started) / 40 < 0.05
    after = few.recommend(users=["nova"], k=62)[0].item_ids
    assert after.index("HOME-003") < before.index("HOME-003")
    few.add("nova", "HOME-003")
    assert "HOME-003" not in few.recommend(users=["nova"], k=62)[0].item_ids


def test_a_known_user_keeps_the_history_and_gets_what_is_added(few: FewShotRecommender, shop: Dataset) -> None:
    known = interactions_of(shop)
    own = known.history(known.user("anna"))
    few.add("anna", "HOME-003")
    np.testing.assert_array_equal(few.history_of("anna"), [*own, shop.catalog.row("HOME-003")])


def test_an_unknown_item_or_user_is_an_error_that_names_it(few: FewShotRecommender) -> None:
    with pytest.raises(DataError, match="'CAMP-999'"):
        few.add("anna", "CAMP-999")
    with pytest.raises(DataError, match="'nobody'"):
        few.recommend(users=["nobody"])


def test_every_item_stays_retrievable_also_without_events(few: FewShotRecommender, shop: Dataset) -> None:
    found = few.recommend(history=["CAMP-001"], k=62)[0].item_ids
    assert set(found) == set(shop.catalog.ids) - {"CAMP-001"}


def test_what_is_forgotten_leaves_no_trace(zero: ZeroShotRecommender, few: FewShotRecommender, shop: Dataset) -> None:
    known = drop_last(interactions_of(shop))
    forgetful = few.forgetting(known)
    fresh = FewShotRecommender(zero, remember(zero, known).memory, few.tuned, few.prefixes)
    histories = [known.history(user) for user in range(known.n_users)]
    np.testing.assert_allclose(
        forgetful.score_histories(histories), fresh.score_histories(histories), rtol=1e-5, atol=1e-5
    )


def test_no_interactions_is_an_error_that_names_the_alternative(shop: Dataset) -> None:
    bare = dataclasses.replace(shop, interactions=None)
    with pytest.raises(DataError, match="found items only") as caught:
        few_shot(adapt.Checkpoint.from_pretrained("adapt-mini"), bare)
    assert "zero-shot" in caught.value.hint


@pytest.mark.parametrize(
    "rows", [["anna,CAMP-001", "anna,CAMP-002"], ["anna,CAMP-001"], ["anna,CAMP-001", "ben,CAMP-001", "carl,CAMP-001"]]
)
def test_next_to_no_events_still_give_lists(rows: list[str], example_shop: Path, tmp_path: Path) -> None:
    (tmp_path / "items.csv").write_bytes((example_shop / "items.csv").read_bytes())
    (tmp_path / "interactions.csv").write_text("user_id,item_id\n" + "\n".join(rows) + "\n")
    result = few_shot_run(RecommendOptions(dataset=str(tmp_path)))
    assert all((row >= 0).all() for row in result.table.rows)
    assert "too few to weigh" in result.how[0]


def test_a_run_says_how_it_was_made_and_is_the_same_again(example_shop: Path, tmp_path: Path) -> None:
    results = [few_shot_run(RecommendOptions(dataset=str(example_shop), k=5)) for _ in range(2)]
    for number, result in enumerate(results):
        write_outputs(result, tmp_path / str(number))
    one, two = ((tmp_path / name / "recommendations.csv").read_bytes() for name in ("0", "1"))
    assert one == two
    assert results[0].run["method"] == "few-shot"
    assert results[0].run["fusion"]["weights"]["content"] == 1
    assert results[0].self_check is not None


def test_full_histories_of_real_data_beat_every_simple_scorer(real_data: Callable[[str], Path]) -> None:
    data = load_dataset(str(real_data("amazon_industrial_2018")))
    known = drop_last(interactions_of(data))
    zero = zero_shot(adapt.Checkpoint.from_pretrained("adapt-mini"), dataclasses.replace(data, interactions=known))
    few = remember(zero, known)
    users = np.flatnonzero(known.lengths() > 0)
    hidden = interactions_of(data).items[interactions_of(data).offsets[1:][users] - 1].astype(np.int64)
    histories = [known.history(int(user)) for user in users]
    knn = tuned_item_knn(known, known, len(data.catalog))

    def ndcg(scores: np.ndarray) -> float:
        ranks = rank_of_target(scores, hidden, excluded=histories, candidates=zero.embedded.usable)
        return float(gains_at_k(ranks, 10).mean())

    content, together = ndcg(zero.score_histories(histories)), ndcg(few.score_histories(histories))
    companions = ndcg(knn(users))
    assert together > 1.1 * max(content, companions)

"""`adapt evaluate` as a function: methods, protocols, learning curves, what is refused, and the same on every run."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import adapt
from adapt.data import load_dataset
from adapt.errors import DataError, UsageError
from adapt.hub.format import Checkpoint
from adapt.workflows.evaluate import EvaluateOptions, Question, evaluate, evaluate_run
from adapt.workflows.evaluate_methods import METHODS, chosen_methods, default_names
from adapt.workflows.evaluate_results import EvaluationResult
from adapt.workflows.few_shot import few_shot
from adapt.workflows.recommender import zero_shot

from .evaluate_cases import write_shop

Run = Callable[..., EvaluationResult]
QUICK = ("popularity", "item-knn", "zero-shot")


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_shop(tmp_path_factory.mktemp("shop") / "walks")


@pytest.fixture
def run(tiny_folder: Path, shop: Path) -> Run:
    """Call the workflow with the small checkpoint, on the small shop if nothing else is said."""

    def call(dataset: Path = shop, **options: object) -> EvaluationResult:
        settings = {"dataset": str(dataset), "checkpoint": str(tiny_folder), **options}
        return evaluate_run(EvaluateOptions(**settings))  # type: ignore[arg-type]

    return call


def ndcg(result: EvaluationResult, name: str) -> float:
    return result.method(name).slices["overall"].metrics[result.setting.metric].mean


def test_the_default_methods_are_ranked_on_the_same_cases_and_judged(run: Run) -> None:
    result = run()
    assert {*(found.name for found in result.methods), *result.left_out} == set(default_names())
    assert list(result.left_out) == ["recent-popularity"]
    assert "timestamps" in result.left_out["recent-popularity"]
    assert {found.slices["overall"].cases for found in result.methods} == {90}
    assert ndcg(result, "item-knn") > 3 * ndcg(result, "popularity")
    assert ndcg(result, "few-shot") > 0.8 * ndcg(result, "item-knn")
    assert result.verdict.ship in {"item-knn", "tuned-item-knn", "few-shot"}
    for found in result.methods:
        assert found.top.shape == (90, 10)
        hits = float((found.ranks < 10).mean())
        assert found.slices["overall"].metrics["recall@10"].mean == pytest.approx(hits)
        assert sum(part.cases for part in found.lengths.values()) == 90


def test_a_hit_is_an_item_of_the_list(run: Run) -> None:
    """Ranks and lists come from the same scores: whoever is ranked among the first k without a tie is in the list."""
    result = run(methods=("few-shot",))
    found = result.method("few-shot")
    inside = (found.top == result.setting.targets[:, None]).any(axis=1)
    np.testing.assert_array_equal(inside, found.ranks < 10)


def test_two_runs_give_the_same_document_and_the_seed_is_in_it(run: Run) -> None:
    options = {"methods": ("item-knn", "few-shot"), "learning_curve": (0.5, 1.0), "seed": 3}
    one, two = (json.dumps(run(**options).to_dict(), allow_nan=False) for _ in range(2))
    assert one == two
    assert json.loads(one)["seed"] == 3


def test_a_method_does_not_depend_on_those_beside_it(run: Run) -> None:
    alone, among = run(methods=("few-shot",)), run(methods=("popularity", "zero-shot", "few-shot"))
    np.testing.assert_array_equal(alone.method("few-shot").ranks, among.method("few-shot").ranks)


def test_methods_are_chosen_by_name_and_an_unknown_one_is_named_before_any_work() -> None:
    names = ("zero-shot", "popularity")
    assert [method.name for method in chosen_methods(names)] == ["popularity", "zero-shot"]
    assert [method.name for method in chosen_methods((*names, "training-free"), "training-free")] == list(names[::-1])
    with pytest.raises(UsageError, match="'best'") as failure:
        evaluate_run(EvaluateOptions(dataset="no-such-folder", methods=("best",)))
    assert "few-shot" in failure.value.hint


def test_only_what_is_known_is_learned_from(run: Run, shop: Path) -> None:
    """Moving the hidden events elsewhere changes no list: nothing has seen them."""
    first = run(methods=QUICK)
    data = load_dataset(shop)
    assert data.interactions is not None
    ends = data.interactions.offsets[1:] - 1
    ids = [data.catalog.ids[row] for row in data.interactions.items]
    for end in ends:
        ids[end] = data.catalog.ids[(data.interactions.items[end] + 17) % len(data.catalog)]
    owners = [data.interactions.user_ids[user] for user in data.interactions.users()]
    moved = shop.parent / "moved"
    moved.mkdir()
    (moved / "items.csv").write_bytes((shop / "items.csv").read_bytes())
    rows = [f"{user},{item}" for user, item in zip(owners, ids, strict=True)]
    (moved / "interactions.csv").write_text("user_id,item_id\n" + "\n".join(rows) + "\n")
    second = run(moved, methods=QUICK)
    assert (first.setting.targets != second.setting.targets).all()
    for name in QUICK:
        np.testing.assert_array_equal(first.method(name).top, second.method(name).top)


def test_the_learning_curve_starts_at_nothing_and_ends_at_everything(run: Run) -> None:
    result = run(methods=(*QUICK, "few-shot"), learning_curve=(0.0, 0.2, 1.0))
    start, middle, end = result.curve
    assert (start.fraction, start.events) == (0.0, 0)
    assert 0 < middle.events < end.events == result.setting.train_events
    assert start.methods["item-knn"].mean < middle.methods["item-knn"].mean < end.methods["item-knn"].mean
    assert start.methods["zero-shot"] == end.methods["zero-shot"]
    for name in QUICK:
        assert end.methods[name] == result.method(name).slices["overall"].metrics["ndcg@10"]
    assert start.methods["few-shot"].mean >= 0.9 * start.methods["zero-shot"].mean


def test_what_pretraining_changes_is_measured_once_where_nothing_is_learned(run: Run) -> None:
    result = run(
        methods=("training-free", "zero-shot", "training-free-few-shot", "few-shot"), learning_curve=(0.2, 1.0)
    )
    pairs = [(part.difference.ours, part.difference.theirs, part.fraction) for part in result.transfers]
    assert pairs == [
        ("zero-shot", "training-free", 1.0),
        ("few-shot", "training-free-few-shot", 0.2),
        ("few-shot", "training-free-few-shot", 1.0),
    ]


@pytest.mark.parametrize(
    ("protocol", "cases", "said"),
    [
        ("cold-items", None, "drawn at random"),
        ("cold-users", 18, "unknown in training"),
        ("global-time", None, "in time"),
    ],
)
def test_protocols(run: Run, tmp_path: Path, protocol: str, cases: int | None, said: str) -> None:
    folder = write_shop(tmp_path / "shop", times="real")
    result = run(folder, methods=QUICK, protocol=protocol)
    assert said in result.setting.description
    assert result.setting.cases == cases or cases is None
    if protocol == "cold-items":
        assert result.method("item-knn").slices["warm"].cases == 0
        assert ndcg(result, "item-knn") < ndcg(result, "zero-shot")
        assert result.setting.cold_candidates == 8


def test_recent_popularity_stands_beside_where_time_is_real(run: Run, tmp_path: Path) -> None:
    result = run(write_shop(tmp_path / "shop", times="real"), methods=("popularity", "recent-popularity"))
    assert [found.name for found in result.methods] == ["popularity", "recent-popularity"]
    with pytest.raises(DataError, match="timestamps"):
        run(methods=("recent-popularity",))


def test_a_strict_split_learns_from_one_event_less_of_each_user(run: Run) -> None:
    live, strict = run(methods=QUICK), run(methods=QUICK, strict_split=True)
    assert strict.setting.train_events == live.setting.train_events - 90
    np.testing.assert_array_equal(live.setting.targets, strict.setting.targets)
    np.testing.assert_array_equal(live.setting.histories.items, strict.setting.histories.items)


def test_a_time_that_is_none_is_refused_for_the_protocol_that_needs_one(run: Run, tmp_path: Path) -> None:
    for times in ("none", "order"):
        folder = write_shop(tmp_path / times, times=times)
        with pytest.raises(DataError, match="time"):
            run(folder, methods=QUICK, protocol="global-time")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"protocol": "cold-users", "strict_split": True}, "strict split"),
        ({"k": 0}, "k of at least 1"),
        ({"learning_curve": (1.5,)}, "from 0 to 1"),
    ],
)
def test_options_that_contradict_each_other(run: Run, options: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        run(**options)


def test_a_share_that_keeps_nobody_is_left_out_and_refused_where_no_other_is_asked_for(run: Run) -> None:
    result = run(methods=QUICK, learning_curve=(0.0, 0.0001, 1.0))
    assert [point.fraction for point in result.curve] == [0.0, 1.0]
    assert "The learning curve leaves out 0.01 %: of so few users that is none." in result.caveats
    for shares in ((0.0001,), (0.0, 0.0001)):
        with pytest.raises(DataError, match="share of the histories that keeps one user"):
            run(methods=QUICK, learning_curve=shares)


@pytest.mark.parametrize(
    ("interactions", "message"),
    [
        ("", "a catalog alone"),
        ("user_id,item_id\nu,000\nv,001\n", "2 interactions or more, found at most 1"),
        ("user_id,item_id\nu,000\nu,000\nv,000\nv,000\n", "all of them on one"),
    ],
)
def test_data_that_allow_no_evaluation(run: Run, tmp_path: Path, interactions: str, message: str) -> None:
    folder = write_shop(tmp_path / "shop")
    (folder / "interactions.csv").unlink()
    if interactions:
        (folder / "interactions.csv").write_text(interactions, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        run(folder, methods=QUICK)


def test_a_single_user_gets_a_result_that_says_how_little_it_is(run: Run, tmp_path: Path) -> None:
    folder = write_shop(tmp_path / "shop", users=1)
    result = run(folder)
    assert result.setting.cases == 1
    assert result.verdict.ship is None
    assert "oo little data to tell" in str(result.verdict)


def test_hidden_items_that_nobody_can_be_offered_are_misses_and_said(run: Run, tmp_path: Path) -> None:
    folder = write_shop(tmp_path / "shop")
    lines = (folder / "items.csv").read_text(encoding="utf-8").splitlines()
    blind = [f"{line.split(',')[0]}," if number % 3 == 0 else line for number, line in enumerate(lines[1:])]
    (folder / "items.csv").write_text("\n".join([lines[0], *blind]) + "\n", encoding="utf-8")
    result = run(folder, methods=QUICK)
    lost = int((result.setting.targets % 3 == 0).sum())
    assert any(f"{lost} of 90 hidden items have neither" in line for line in result.caveats)
    for found in result.methods:
        assert np.isinf(found.ranks[result.setting.targets % 3 == 0]).all()
        assert not np.isin(found.top, np.arange(0, 40, 3)).any()


def test_a_checkpoint_that_reads_more_than_there_is_says_so(run: Run) -> None:
    assert any("no image" in line for line in run(methods=QUICK).caveats)


def test_a_data_set_of_pretraining_is_pointed_out(tiny: Checkpoint, shop: Path) -> None:
    data = load_dataset(shop)
    known = Checkpoint(tiny.config, tiny.spec, tiny.towers, tiny.statistics, {"pretraining": {"trained_on": ["walks"]}})
    guards = evaluate([zero_shot(known, data)], data).guards
    assert any("pretrained on a data set called walks" in line for line in guards)


def test_items_shared_with_a_source_are_counted(run: Run, tmp_path: Path) -> None:
    source = tmp_path / "seen"
    source.mkdir()
    lines = ["item_id,title", "000,RED cotton shirt!", "x1,grey chess clock", "x2,something else entirely"]
    (source / "items.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    guards = run(methods=QUICK, sources=(str(source),)).guards
    assert any(
        "Of 40 items 2 have a text or title that seen has too, 0 nearly the same words" in line
        and "1 have an id that occurs there" in line
        for line in guards
    )


def test_what_was_not_compared_is_said(shop: Path) -> None:
    data = load_dataset(shop)
    guards = evaluate([zero_shot(Checkpoint.from_pretrained("adapt-mini"), data)], data).guards
    assert any("amazon_sports_2014" in line and "--source PATH" in line for line in guards)


def test_the_python_form_evaluates_recommenders_beside_baselines(tiny: Checkpoint, shop: Path, run: Run) -> None:
    data = load_dataset(shop)
    result = evaluate([few_shot(tiny, data), zero_shot(tiny, data)], data)
    names = [found.name for found in result.methods]
    assert names[-2:] == ["zero-shot", "few-shot"]
    assert set(names[:-2]) <= {name for name, method in METHODS.items() if method.group == "baseline"}
    np.testing.assert_array_equal(result.method("few-shot").ranks, run(methods=("few-shot",)).method("few-shot").ranks)
    assert result.verdict.headline
    with pytest.raises(UsageError, match="at least one recommender"):
        evaluate([], data)


def test_the_public_name_is_the_function_and_still_the_package(tiny: Checkpoint, shop: Path) -> None:
    data = load_dataset(shop)
    result = adapt.evaluate([zero_shot(tiny, data)], data, protocol="cold-users", k=5)  # type: ignore[operator]
    assert isinstance(result, EvaluationResult)
    assert result.setting.metric == "ndcg@5"
    assert importlib.import_module("adapt.evaluate.metrics").ndcg_at_k(np.array([0.0]), 5) == 1.0


def test_two_checkpoints_in_one_comparison_are_told_apart(tiny: Checkpoint, shop: Path) -> None:
    data = load_dataset(shop)
    mini = Checkpoint.from_pretrained("adapt-mini")
    result = evaluate([zero_shot(tiny, data), zero_shot(mini, data)], data)
    assert [found.name for found in result.methods][-2:] == ["zero-shot (tiny)", "zero-shot (adapt-mini)"]


def test_a_question_is_checked_when_it_is_asked() -> None:
    with pytest.raises(UsageError, match="protocol among"):
        Question(protocol="tomorrow")  # type: ignore[arg-type]


@pytest.mark.real_data
def test_industrial_items_need_more_than_a_baseline(real_data: Callable[[str], Path]) -> None:
    options = EvaluateOptions(
        dataset=str(real_data("amazon_industrial_2018")), methods=("content-knn", "tuned-item-knn", "few-shot")
    )
    result = evaluate_run(options)
    assert result.setting.cases == 3285
    assert result.verdict.ship == "few-shot"
    found = result.method("few-shot").against_baseline
    assert found is not None
    assert found.sign > 0

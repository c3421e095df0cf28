"""The page of an evaluation: the verdict first, then figures, and nothing from outside."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from adapt.evaluate.histories import from_lists
from adapt.evaluate.significance import Interval, bootstrap_interval
from adapt.report.evaluate import example_methods, render
from adapt.report.evaluate_charts import learning_curves
from adapt.workflows.evaluate_results import (
    CheckpointFacts,
    CurvePoint,
    EvaluationResult,
    MethodResult,
    Setting,
    Slice,
)
from adapt.workflows.evaluate_verdict import Scores, Transfer, compare, judge

from .conftest import Make
from .test_recommend import HOSTILE, Page

MakeEvaluation = Callable[..., EvaluationResult]
METRICS = ("recall@10", "ndcg@10", "mrr@10", "hit_rate@10")
METHODS = (("popularity", "baseline", 0.05), ("item-knn", "baseline", 0.4), ("zero-shot", "untrained", 0.3),
           ("few-shot", "untrained", 0.6), ("fine-tuned", "trained", 0.61))  # fmt: skip
USERS = 200


def _interval(values: np.ndarray) -> Interval:
    return bootstrap_interval(values, resamples=200)


@pytest.fixture
def evaluation(make: Make) -> MakeEvaluation:
    """A function that makes a result; ``text`` is put wherever text of the data set can appear."""

    def build(*, text: str = "thing", curve: bool = True, **replaced: Any) -> EvaluationResult:
        base = make(text=text, users=USERS)
        rng = np.random.default_rng(1)
        luck = rng.random(USERS)
        scores = [Scores(name, group, (luck < share).astype(float)) for name, group, share in METHODS]  # type: ignore[arg-type]
        best_baseline, best = scores[1], scores[4]
        transfers = (Transfer(1.0, compare(scores[2], scores[0])), Transfer(0.1, compare(scores[3], scores[4])))
        top = np.stack([rng.permutation(12)[:10] for _ in range(USERS)]).astype(np.int64)
        methods = []
        for found in scores:
            figures = {name: _interval(found.values) for name in METRICS}
            cold = Slice(0, {}) if found.name == "popularity" else Slice(20, {"ndcg@10": _interval(found.values[:20])})
            methods.append(
                MethodResult(
                    name=found.name,
                    group=found.group,
                    summary=f"what {found.name} does",
                    slices={"overall": Slice(USERS, figures), "warm": Slice(180, figures), "cold": Slice(20, figures)},
                    lengths={"1": Slice(100, figures), "2": Slice(100, figures), "3+": cold},
                    lists={"coverage": 0.5, "gini": 0.31, "mean popularity": 12.0, "diversity": 0.7, "novelty": 8.123},
                    against_baseline=None if found is best_baseline else compare(found, best_baseline),
                    against_best=None if found is best else compare(found, best),
                    ranks=np.where(found.values > 0, 0.0, np.inf),
                    top=top,
                )
            )
        points = tuple(
            CurvePoint(
                share,
                int(share * 600),
                {
                    name: _interval((luck < share * part).astype(float))
                    for name, _, part in METHODS
                    if share or part < 0.6
                },
                {} if share else {"fine-tuned": "there is nothing to train on"},
            )
            for share in (0.0, 0.01, 0.1, 1.0)
        )
        result = EvaluationResult(
            dataset=base.dataset,
            checkpoint=CheckpointFacts("adapt-mini", "ab" * 32, ("toys", "sports")),
            setting=Setting(
                protocol="leave-one-out", description="The last item of each user is hidden.", metric="ndcg@10", k=10,
                cases=USERS, users=USERS, candidates=12, cold_candidates=3, train_events=600,
                histories=from_lists([[0, 1, 2][: 1 + user % 3] for user in range(USERS)]),
                case_users=np.arange(USERS), targets=np.full(USERS, 4),
            ),
            verdict=judge(scores, "NDCG@10", transfers),
            methods=tuple(methods),
            left_out={"ease": f"the catalog of {text} is too large"},
            curve=points if curve else (),
            transfers=transfers if curve else (),
            guards=(f"guard of {text}",),
            caveats=(f"caveat of {text}",),
            seed=0,
            timings={"data": 0.2, "methods": 61.0},
            run={"arguments": {"dataset": text}},
        )  # fmt: skip
        return dataclasses.replace(result, **replaced)

    return build


def test_the_verdict_is_the_first_thing_said(evaluation: MakeEvaluation) -> None:
    result = evaluation()
    page = Page(render(result))
    assert result.verdict.ship == "few-shot"
    assert result.verdict.headline.startswith("Ship few-shot: +")
    place = page.text.index(result.verdict.headline)
    assert all(word not in page.text[:place] for word in ("NDCG@10", "item-knn", "candidates"))
    assert "verdict good" in [attributes.get("class") for attributes in page.of("p")]


def test_every_part_is_there_with_its_figures(evaluation: MakeEvaluation) -> None:
    result = evaluation()
    page = Page(render(result))
    for name, _, _ in METHODS:
        assert f"what {name} does" in page.text
    item_knn = result.method("item-knn").slices["overall"].metrics["ndcg@10"]
    assert f"{item_knn.mean:.4f} {item_knn.low:.4f} to {item_knn.high:.4f}" in page.text
    for expected in (
        "Recall@10", "Hit rate@10", "MRR@10", "Mean popularity", "Coverage", "Gini", "Novelty",
        "8.12", "Warm hidden items 180 cases",
        "Cold hidden items 20 cases", "3 of 12 candidates are cold", "fine-tuned at 0 %: there is nothing to train on",
        "zero-shot against popularity", "10 % of the histories", "guard of thing", "caveat of thing", "toys, sports",
        "ease was not evaluated", "thing-user-0", "title of thing-4", "not among the first 10", "arguments.dataset",
    ):  # fmt: skip
        assert expected in page.text, expected


def test_it_can_be_read_without_seeing_it_and_asks_for_nothing(evaluation: MakeEvaluation) -> None:
    html = render(evaluation())
    page = Page(html)
    assert page.of("script") == []
    assert all(drawing.get("aria-label") for drawing in page.of("svg"))
    assert all(header.get("scope") in {"col", "row"} for header in page.of("th"))
    identifiers = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(identifiers) == len(set(identifiers))
    assert {(link["href"] or "")[1:] for link in page.of("a")} <= set(identifiers)
    for _, attributes in page.elements:
        for name in ("src", "href"):
            value = attributes.get(name)
            assert value is None or value.startswith(("data:", "#")), value
    assert "default-src 'none'" in html


def test_hostile_text_stays_text(evaluation: MakeEvaluation) -> None:
    page = Page(render(evaluation(text=HOSTILE)))
    assert page.of("script") == []
    assert all(not name.startswith("on") for _, attributes in page.elements for name in attributes)
    assert len(page.of("style")) == 1
    assert f"caveat of {HOSTILE}" in page.text


def test_without_a_learning_curve_nothing_empty_is_drawn(evaluation: MakeEvaluation) -> None:
    page = Page(render(evaluation(curve=False)))
    assert not {"curve", "transfer"} & {attributes.get("id") for attributes in page.of("section")}
    assert "How much data" not in page.text
    assert {"#curve", "#transfer"}.isdisjoint({link["href"] for link in page.of("a")})


def test_examples_show_what_would_be_shipped_beside_the_best_baseline(evaluation: MakeEvaluation) -> None:
    result = evaluation()
    assert [found.name for found in example_methods(result)][:2] == ["few-shot", "item-knn"]
    page = Page(render(result))
    assert len(page.of("article")) == 6
    hits = sum(
        4 in found.top[case].tolist()[:5] for found in example_methods(result) for case in _example_cases(result)
    )
    marked = [item for item in page.of("li") if item.get("class") == "hit"]
    assert len(marked) == hits + 6, "the hidden item itself, and wherever a method shows it"


def _example_cases(result: EvaluationResult) -> list[int]:
    lengths = np.diff(result.setting.histories.offsets)
    order = np.argsort(lengths, kind="stable")
    return [int(case) for case in order[np.unique(np.linspace(0, len(order) - 1, 6).round().astype(int))]]


def test_warm_and_cold_are_compared_only_where_both_occur(evaluation: MakeEvaluation) -> None:
    result = evaluation()
    warm = tuple(dataclasses.replace(found, slices={**found.slices, "cold": Slice(0, {})}) for found in result.methods)
    page = Page(render(dataclasses.replace(result, methods=warm)))
    assert "warm" not in {attributes.get("id") for attributes in page.of("section")}
    assert "#warm" not in {link["href"] for link in page.of("a")}


def test_no_two_curves_share_a_colour(evaluation: MakeEvaluation) -> None:
    result = evaluation()
    extra = [f"method-{number}" for number in range(8)]
    copies = [dataclasses.replace(result.method("item-knn"), name=name) for name in extra]
    curve = [
        dataclasses.replace(point, methods={**point.methods, **dict.fromkeys(extra, point.methods["item-knn"])})
        for point in result.curve
    ]
    more = dataclasses.replace(result, methods=(*copies, *result.methods), curve=tuple(curve))
    drawn = learning_curves(more)
    assert drawn is not None
    assert len({colour for colour, _ in drawn.keys}) == len(drawn.keys) == 8
    assert ("final", "few-shot") in drawn.keys
    assert drawn.left == 5
    assert "Without the 5 that end lowest" in Page(render(more)).text

"""What the verdict says follows from the numbers, in words that name the methods and their margin."""

from __future__ import annotations

import numpy as np
import pytest

from adapt.evaluate.significance import Interval
from adapt.workflows.evaluate_verdict import Difference, Group, Scores, Transfer, compare, judge

METRIC = "NDCG@10"
GROUPS: dict[str, Group] = {
    "popularity": "baseline", "item-knn": "baseline", "zero-shot": "untrained", "few-shot": "untrained",
    "scratch": "control", "fine-tuned": "trained",
}  # fmt: skip


def scores(users: int, **shares: float) -> list[Scores]:
    """Methods that find the hidden item of exactly this share of users; the better one finds what the worse one does.

    The luck of single users differs between methods by a little noise, so that paired differences have a width.
    """
    rng = np.random.default_rng(0)
    place = rng.random(users)
    made = []
    for name, group in GROUPS.items():
        key = name.replace("-", "_")
        if key in shares:
            noisy = place + rng.normal(0, 0.05, users)
            values = (noisy <= np.quantile(noisy, shares[key])).astype(float)
            made.append(Scores(name, group, values if shares[key] else np.zeros(users)))
    return made


def test_a_clear_winner_is_shipped_with_its_margin_over_the_best_baseline() -> None:
    verdict = judge(scores(2000, popularity=0.1, item_knn=0.4, zero_shot=0.3, few_shot=0.5, fine_tuned=0.501), METRIC)
    assert (verdict.tone, verdict.ship) == ("good", "few-shot")
    assert verdict.headline.startswith("Ship few-shot: +25 % NDCG@10 over item-knn (95 % +2")
    assert verdict.headline.endswith("; fine-tuned adds nothing significant.")
    assert any("zero-shot is -40 %" in sentence for sentence in verdict.sentences)


def test_training_that_pays_is_shipped() -> None:
    found = judge(scores(2000, item_knn=0.4, few_shot=0.5, fine_tuned=0.6), METRIC)
    assert found.ship == "fine-tuned"
    assert found.headline.startswith("Ship fine-tuned: +50 % NDCG@10 over item-knn")


def test_training_that_harms_is_named() -> None:
    found = judge(scores(2000, item_knn=0.3, few_shot=0.5, fine_tuned=0.4), METRIC)
    assert found.ship == "few-shot"
    assert "fine-tuned is worse (-20 %" in found.headline


def test_a_baseline_that_is_not_beaten_is_shipped() -> None:
    equal = judge(scores(2000, popularity=0.1, item_knn=0.5, few_shot=0.501), METRIC)
    assert (equal.tone, equal.ship) == ("mixed", "item-knn")
    assert equal.headline.startswith(
        "Ship item-knn, a simple baseline: few-shot, the best of the others, is not significantly better"
    )
    worse = judge(scores(2000, item_knn=0.5, few_shot=0.3), METRIC)
    assert "few-shot, the best of the others, is worse on NDCG@10 (-40 %" in worse.headline
    alone = judge(scores(2000, popularity=0.1, item_knn=0.5), METRIC)
    assert alone.headline == "Ship item-knn, a simple baseline: +400 % NDCG@10 over popularity."


def test_too_few_users_are_said_to_be_too_few() -> None:
    few = judge(scores(12, popularity=0.1, item_knn=0.2, few_shot=0.9), METRIC)
    assert (few.tone, few.ship) == ("unknown", None)
    assert few.headline.startswith("Too little data to tell: ")
    assert "12 users" in few.headline
    wide = judge(scores(80, popularity=0.10, item_knn=0.12, few_shot=0.14), METRIC)
    assert (wide.tone, wide.ship) == ("unknown", None)
    assert "cannot be told from the best, few-shot" in wide.headline
    assert "few-shot has the best mean" in wide.sentences[0]


def test_when_nobody_finds_anything_nothing_is_recommended() -> None:
    verdict = judge(scores(500, popularity=0.0, few_shot=0.0), METRIC)
    assert (verdict.tone, verdict.ship) == ("unknown", None)
    assert "no method found one of the 500 hidden items" in verdict.headline


def test_one_method_alone_is_not_compared() -> None:
    assert judge(scores(500, few_shot=0.4), METRIC).headline.startswith("Only few-shot was evaluated (NDCG@10 0.4000)")


def test_pretraining_that_does_not_help_is_in_the_headline() -> None:
    made = {found.name: found for found in scores(2000, item_knn=0.2, few_shot=0.5, scratch=0.45, fine_tuned=0.45)}
    same = Transfer(1.0, compare(made["fine-tuned"], made["scratch"]))
    better = Transfer(0.1, compare(made["few-shot"], made["scratch"]))
    harmful = Transfer(0.1, compare(made["item-knn"], made["scratch"]))
    verdict = judge(list(made.values()), METRIC, [same, better])
    assert "Pretraining does not help: fine-tuned against scratch (" in verdict.headline
    assert "not significant)." in verdict.headline
    assert verdict.sentences[-1].startswith(
        "Pretraining helps: few-shot against scratch with 10 % of the histories (+11 %"
    )
    assert [part.outcome for part in (same, better, harmful)] == ["no significant difference", "helps", "hurts"]
    assert "Pretraining" not in str(judge(list(made.values()), METRIC))


def test_shares_of_one_pair_are_said_together() -> None:
    made = {found.name: found for found in scores(2000, scratch=0.45, fine_tuned=0.3)}
    lost = [Transfer(share, compare(made["fine-tuned"], made["scratch"])) for share in (0.01, 0.1, 1.0)]
    headline = judge(list(made.values()), METRIC, lost).headline
    assert "fine-tuned against scratch with 1, 10, 100 % of the histories (-33 %" in headline
    assert "at 100 %)" in headline


@pytest.mark.parametrize(
    ("interval", "base", "words", "sign"),
    [
        (Interval(0.02, 0.01, 0.03, 0.95, 9), 0.1, "+20 %, 95 % +10 to +30", 1),
        (Interval(-0.001, -0.002, 0.001, 0.95, 9), 0.1, "-1.0 %, 95 % -2.0 to +1.0", 0),
        (Interval(-0.02, -0.03, -0.01, 0.95, 9), 0.1, "-20 %, 95 % -30 to -10", -1),
        (Interval(0.02, 0.01, 0.03, 0.95, 9), 0.0, "+0.0200, 95 % +0.0100 to +0.0300", 1),
    ],
)
def test_a_difference_in_words(interval: Interval, base: float, words: str, sign: int) -> None:
    found = Difference("a", "b", interval, base)
    assert (found.words(), found.sign) == (words, sign)


def test_the_verdict_is_the_same_on_every_run() -> None:
    made = scores(500, popularity=0.1, item_knn=0.4, few_shot=0.5)
    assert str(judge(made, METRIC, seed=3)) == str(judge(made, METRIC, seed=3))


def test_pretraining_whose_effect_is_unknown_is_not_called_useless() -> None:
    made = {found.name: found for found in scores(60, scratch=0.2, fine_tuned=0.21)}
    verdict = judge(list(made.values()), METRIC, [Transfer(1.0, compare(made["fine-tuned"], made["scratch"]))])
    assert "Pretraining" not in verdict.headline
    assert verdict.sentences[-1].startswith("Too little data to tell whether pretraining helps: fine-tuned against")


def test_a_pair_that_differs_by_more_than_pretraining_says_nothing_of_it() -> None:
    made = {found.name: found for found in scores(2000, item_knn=0.4, scratch=0.45, fine_tuned=0.3)}
    found = Transfer(1.0, compare(made["fine-tuned"], made["scratch"]), isolated=False)
    assert "retraining" not in str(judge(list(made.values()), METRIC, [found])).replace("training that", "")


def test_a_control_is_not_shipped_but_said_where_it_is_better() -> None:
    equal = judge(scores(2000, item_knn=0.3, few_shot=0.5, scratch=0.501), METRIC)
    assert equal.ship == "few-shot"
    assert "scratch" not in equal.headline
    better = judge(scores(2000, item_knn=0.3, few_shot=0.5, scratch=0.6), METRIC)
    assert better.ship == "few-shot"
    assert "Better still without the checkpoint (scratch +20 %" in better.headline
    assert better.headline.endswith("use --checkpoint training-free.")

"""The model card: what it says, and that it is always Markdown and YAML."""

from __future__ import annotations

import json

import yaml
from huggingface_hub import ModelCard
from hypothesis import example, given, settings
from hypothesis import strategies as st

from adapt.config import to_dict
from adapt.hub.card import markdown_table, render_card
from adapt.hub.format import Checkpoint

from .conftest import target

SPEC = {
    "encoders": {"text": {"kind": "static", "name": "bundled:x", "id": "static:0123", "dim": 8}},
    "normalisation": {"text": {"power": 0.5, "prior_count": 256.0}},
}


def front_matter(card: str) -> dict[str, object]:
    found = yaml.safe_load(card.split("---\n")[1])
    assert isinstance(found, dict)
    return found


def test_sections_without_numbers_are_left_out() -> None:
    card = render_card({"name": "n", "summary": "s"}, SPEC, {})
    for absent in ("Pretraining", "Left-out domains", "target", "Licences", "How it was made", "Further"):
        assert absent not in card
    assert "model-index" not in front_matter(card)
    assert "ZCA power 0.5, prior 256 items" in card


def test_the_licence_and_limits_are_always_there() -> None:
    card = render_card({"name": "n", "summary": "s"}, SPEC, {})
    assert front_matter(card)["license"] == "apache-2.0"
    assert "## Limits" in card
    assert "## Intended use" in card


def test_the_card_says_all_that_is_known(checkpoint: Checkpoint) -> None:
    card = render_card(to_dict(checkpoint.config), to_dict(checkpoint.spec), checkpoint.metrics)
    for line in (
        "- trained on: a, b",
        "- never trained on: t",
        "## Licences\n\nFree.",
        "A note.",
        "| t | text | 1,200 | 0.2000 | 0.1000 (content-kNN raw) | +100.0 % | [+0.0100, +0.1900] |",
        "| popularity | 0.1000 / 0.0500 | 0.2500 / 0.1250 |",
        "- command: `adapt pretrain`",
        "- date: 2026-01-02",
        "- machine: abacus, 2 cores",
        "- time: 10 min",
    ):
        assert line in card, line


def test_the_data_sets_of_pretraining_are_in_the_front_matter(checkpoint: Checkpoint) -> None:
    metrics = {**checkpoint.metrics, "pretraining": {"trained_on": ["a", "org/b", "shop of mine"]}}
    card = render_card(to_dict(checkpoint.config), to_dict(checkpoint.spec), metrics)
    assert front_matter(card)["datasets"] == ["a", "org/b"]


def test_the_hub_reads_every_result_of_a_card(checkpoint: Checkpoint) -> None:
    card = ModelCard(render_card(to_dict(checkpoint.config), to_dict(checkpoint.spec), checkpoint.metrics))
    found = {(result.dataset_name, result.metric_type): result.metric_value for result in card.data.eval_results}
    assert found[("t (text)", "ndcg@10")] == 0.2
    assert found[("t (both)", "recall@10")] == 0.6
    assert (card.data.license, card.data.library_name, card.data.model_name) == ("apache-2.0", "adapt", "tiny")


def test_a_target_that_was_trained_on_is_not_called_new(checkpoint: Checkpoint) -> None:
    metrics = json.loads(json.dumps(dict(checkpoint.metrics)))
    metrics["pretraining"]["trained_on"] = ["a", "t"]
    assert "never trained on" not in render_card(to_dict(checkpoint.config), to_dict(checkpoint.spec), metrics)


@settings(max_examples=50, deadline=None)
@example("next\x85line")
@example("a\u2028b\u2029c")
@given(st.text(min_size=1, max_size=30).filter(lambda text: "---" not in text))
def test_any_name_of_a_data_set_survives_the_front_matter(name: str) -> None:
    targets = {"caption": "c", "results": [target(name, "text", 0.2, 0.1)]}
    front = front_matter(render_card({"name": "tiny", "summary": "s"}, SPEC, {"targets": targets}))
    (entry,) = front["model-index"]  # type: ignore[misc]
    assert entry["results"][0]["dataset"]["type"] == name


@given(st.lists(st.lists(st.text(max_size=8), min_size=2, max_size=2), max_size=4))
def test_a_table_has_one_line_a_row_whatever_the_cells_hold(rows: list[list[str]]) -> None:
    lines = markdown_table(["a", "b"], rows).split("\n")
    assert len(lines) == 2 + len(rows)
    assert all(line.replace("\\|", "").count("|") == 3 for line in lines)

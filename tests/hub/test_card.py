"""The model card: what it says, and that it is always Markdown and YAML."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import yaml
from huggingface_hub import ModelCard
from hypothesis import example, given, settings
from hypothesis import strategies as st

from adapt.config import to_dict
from adapt.errors import CheckpointError
from adapt.hub.adapter_card import render_adapter_card
from adapt.hub.card import markdown_table, render_card
from adapt.hub.card_check import check_card
from adapt.hub.format import Checkpoint
from adapt.hub.index_card import render_index_card
from adapt.hub.regenerate import regenerate_card

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


def test_a_card_made_anew_names_the_repository_and_the_licence(folder: Path) -> None:
    before = Checkpoint.from_pretrained(str(folder))
    card = regenerate_card(folder, repository="org/tiny", license_id="mit")
    assert (folder / "README.md").read_text() == card
    assert front_matter(card)["license"] == "mit"
    assert 'from_pretrained("org/tiny")' in card
    after = Checkpoint.from_pretrained(str(folder))
    assert after.sha256 != before.sha256
    assert all(torch.equal(one, after.towers.state_dict()[name]) for name, one in before.towers.state_dict().items())
    assert regenerate_card(folder) == card, "what was said once stays"


def test_a_card_that_was_edited_is_made_anew_and_other_files_are_not_mended(folder: Path) -> None:
    card = (folder / "README.md").read_text()
    (folder / "README.md").write_text("# Mine")
    assert regenerate_card(folder) == card
    Checkpoint.from_pretrained(str(folder))
    (folder / "config.json").write_text((folder / "config.json").read_text() + "\n")
    with pytest.raises(CheckpointError, match=r"config\.json with sha256"):
        regenerate_card(folder)


def test_what_has_no_card_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="found none"):
        regenerate_card(tmp_path)


ADAPTER = {
    "dataset": "shop",
    "residual": True,
    "chosen": "fused",
    "validation": {
        "events": 1200,
        "policy": "full ranking",
        "methods": {
            name: {key: {"mean": value, "low": value / 2, "high": value} for key in ("recall@10", "ndcg@10")}
            for name, value in (("fine-tuned", 0.25), ("fused", 0.5))
        },
    },
}
BASE = {"name": "tiny", "reference": "org/tiny@" + "ab" * 20, "revision": "ab" * 20, "sha256": "cd" * 32}
LORA = {"r": 4, "lora_alpha": 8, "base_model_name_or_path": None}


def test_the_card_of_an_adapter_is_one_that_the_hub_takes() -> None:
    card = render_adapter_card(BASE, LORA, {**ADAPTER, "repository": "org/shop"})
    data = check_card(card, "README.md")
    assert (data["base_model"], data["base_model_relation"], data["library_name"]) == ("org/tiny", "adapter", "adapt")
    results = ModelCard(card).data.eval_results
    assert {(one.dataset_name, one.metric_type, one.metric_value) for one in results} == {
        ("shop", "recall@10", 0.25),
        ("shop", "ndcg@10", 0.25),
    }
    for line in (
        "| fused (chosen) | 0.5000 | 0.5000 | 0.2500 to 0.5000 |",
        "without them it reaches less",
        "`" + "ab" * 20 + "`",
        'from_pretrained("org/shop")',
        "1,200 held-back events",
    ):
        assert line in card, line


def test_the_card_of_an_adapter_with_items_says_that_it_holds_them() -> None:
    card = render_adapter_card(BASE, LORA, {**ADAPTER, "items": 7})
    assert "by their ids" in card
    assert "without them" not in card


def test_the_card_of_an_index_is_one_that_the_hub_takes() -> None:
    metrics = {
        "items": 1234,
        "dim": 8,
        "storage": "float16",
        "kind": "hnsw",
        "columns": ["price"],
        "modalities": {"text": 1200},
        "recall": {"recall": 0.995, "k": 10, "queries": 100},
        "model": {"name": "tiny", "reference": "org/tiny@v1", "fingerprint": "ab" * 32},
        "repository": "org/shop-index",
    }
    card = render_index_card(metrics)
    assert check_card(card, "README.md")["base_model"] == "org/tiny"
    for line in ("| items | 1,234 |", "0.9950 at 10, on 100 queries", "adapt index info --index org/shop-index"):
        assert line in card, line

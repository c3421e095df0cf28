"""What a push would send, and what it refuses to: decided from the folder alone."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file

from adapt.errors import CheckpointError, UsageError
from adapt.files import write_sums
from adapt.hub.leaks import refuse_leaks
from adapt.hub.upload import plan_upload

TOKEN = "hf_" + "x1Y2" * 9
SECRETS = {
    "a Hugging Face token": TOKEN,
    "a GitHub token": "ghp_" + "a1B2" * 9,
    "an AWS access key": "AKIA" + "A1B2" * 4,
    "a Google API key": "AIza" + "a1B2c" * 7,
    "a Slack token": "xoxb-" + "1234567890-abc",
    "an API key": "sk-proj-" + "a1B2" * 8,
    "a private key": "-----BEGIN RSA PRIVATE KEY-----",
    "a password in an address": "https://me:pass" + "word@host/x",
    "an assigned secret": "api_key = 'abcd" + "efgh1234'",
}


def test_the_plan_lists_what_goes_and_what_stays(folder: Path) -> None:
    (folder / "train.py").write_text("import os")
    plan = plan_upload("checkpoint", folder)
    names = {file.name for file in plan.files}
    assert {"README.md", "SHA256SUMS", "config.json", "model.safetensors", "metrics.json"} <= names
    assert plan.left_out == ("train.py",)
    assert plan.size_bytes == sum((folder / name).stat().st_size for name in names)
    assert plan.origin is None
    assert json.loads(json.dumps(plan.to_dict()))["left_out"] == ["train.py"]


@pytest.mark.parametrize("what", SECRETS)
def test_a_secret_in_a_card_is_refused_and_not_shown(folder: Path, what: str) -> None:
    with (folder / "README.md").open("a") as card:
        card.write(f"\nUse {SECRETS[what]} to try.\n")
    write_sums(folder)
    with pytest.raises(UsageError, match=f"README.md .line .*{what}") as caught:
        plan_upload("checkpoint", folder)
    assert SECRETS[what] not in str(caught.value)


def test_the_token_of_this_machine_is_found_whatever_it_looks_like(folder: Path) -> None:
    metrics = json.loads((folder / "metrics.json").read_text())
    (folder / "metrics.json").write_text(json.dumps({**metrics, "note": "plain-words-token"}))
    write_sums(folder)
    plan_upload("checkpoint", folder)
    with pytest.raises(UsageError, match="the token of this machine") as caught:
        plan_upload("checkpoint", folder, tokens=("plain-words-token",))
    assert "plain-words" not in str(caught.value)


def test_a_secret_in_the_metadata_of_weights_is_refused(tmp_path: Path) -> None:
    save_file({"w": np.zeros(1, np.float32)}, tmp_path / "w.safetensors", metadata={"by": TOKEN})
    with pytest.raises(UsageError, match=r"w.safetensors .its metadata.: a Hugging Face token"):
        refuse_leaks(tmp_path, ["w.safetensors"])


@pytest.mark.parametrize("name", [".env", ".env.local", "id_rsa", "server.pem", "sub/.netrc", "Token.txt"])
def test_files_of_keys_beside_the_weights_are_refused(folder: Path, name: str) -> None:
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text("")
    with pytest.raises(UsageError, match="keys or passwords"):
        plan_upload("checkpoint", folder)


@pytest.mark.parametrize(
    "name", ["interactions.csv", "items.parquet", "histories.safetensors", "run.json", "data/log.jsonl", "x.npy"]
)
def test_data_beside_the_weights_is_refused(folder: Path, name: str) -> None:
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text("")
    with pytest.raises(UsageError, match=f"{Path(name).name} .its name.: rows of data"):
        plan_upload("checkpoint", folder)


@pytest.mark.parametrize(
    ("metrics", "key"),
    [
        ({"validation": {"users": ["u1", "u2"]}}, "users"),
        ({"examples": [{"user_id": ["u1"], "rank": 1}]}, "user_id"),
        ({"histories": {"u1": ["i1", "i2"]}}, "histories"),
    ],
)
def test_users_in_a_document_are_refused(folder: Path, metrics: dict[str, object], key: str) -> None:
    (folder / "metrics.json").write_text(json.dumps(metrics))
    write_sums(folder)
    with pytest.raises(UsageError, match=f"metrics.json .key {key}.: users or their histories"):
        plan_upload("checkpoint", folder)


def test_numbers_of_users_are_no_users(folder: Path) -> None:
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["targets"]["results"][0]["users"] == 1200
    (folder / "metrics.json").write_text(json.dumps({**metrics, "events": {"mean": 0.5, "low": 0.4}}))
    write_sums(folder)
    assert plan_upload("checkpoint", folder).files


def test_users_in_tensors_are_refused(tmp_path: Path) -> None:
    save_file({"users": np.zeros(3, np.int64)}, tmp_path / "h.safetensors")
    with pytest.raises(UsageError, match="tensor users"):
        refuse_leaks(tmp_path, ["h.safetensors"])


def test_rows_of_users_in_a_card_are_refused(folder: Path) -> None:
    with (folder / "README.md").open("a") as card:
        card.write("\n| user_id | item_id | timestamp |\n|---|---|---|\n| u1 | i1 | 3 |\n")
    write_sums(folder)
    with pytest.raises(UsageError, match="a table of users"):
        plan_upload("checkpoint", folder)


def test_a_file_that_was_changed_after_it_was_saved_is_refused(folder: Path) -> None:
    with (folder / "metrics.json").open("a") as metrics:
        metrics.write("\n")
    with pytest.raises(CheckpointError, match=r"metrics\.json with sha256"):
        plan_upload("checkpoint", folder)


def test_a_file_of_another_type_is_refused(folder: Path) -> None:
    (folder / "weights.bin").write_bytes(b"pickle")
    write_sums(folder)
    with pytest.raises(CheckpointError, match=r"weights\.bin"):
        plan_upload("checkpoint", folder)


@pytest.mark.parametrize(
    ("front", "problem"),
    [
        ("license: [\n", "README.md"),
        ("license: apache-2.0\n", "no library_name"),
        ("license: x\nlibrary_name: y\ntags: [z]\ndatasets: {a: b}\n", "datasets that are no list"),
        ("license: x\nlibrary_name: y\ntags: [z]\nbase_model: a/b@c\n", "no name of a model"),
        ("license: x\nlibrary_name: y\ntags: [z]\nbase_model_relation: adapter\n", "base_model_relation 'adapter'"),
        ("license: x\nlibrary_name: y\ntags: [z]\nmodel-index: [{name: n}]\n", "results"),
        ("- a\n", "dict"),
    ],
)
def test_a_card_that_the_hub_would_not_take_is_refused(folder: Path, front: str, problem: str) -> None:
    (folder / "README.md").write_text(f"---\n{front}---\n# A card\n")
    write_sums(folder)
    with pytest.raises(CheckpointError, match=problem):
        plan_upload("checkpoint", folder)


@given(st.lists(st.text(alphabet="abcdefghijklmnopqrstuvwxyz0123456789-", max_size=20), max_size=8))
def test_plain_words_are_no_secret(tmp_path_factory: pytest.TempPathFactory, words: list[str]) -> None:
    folder = tmp_path_factory.mktemp("words")
    (folder / "README.md").write_text(" ".join(word for word in words if not word.startswith("sk-")), encoding="utf-8")
    refuse_leaks(folder, ["README.md"])

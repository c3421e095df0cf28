"""Sharing a folder: what a checkpoint, an adapter, a run and an index send, and what they keep."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from adapt.errors import CheckpointError, OutputError, UsageError
from adapt.files import SUMS, write_sums
from adapt.hub.card_check import check_card
from adapt.hub.format import Checkpoint
from adapt.hub.pull import pull
from adapt.hub.push import PushOptions
from adapt.hub.upload import UploadPlan
from adapt.index.filters import parse_condition
from adapt.index.sealed import seal
from adapt.model.inference import embed_items, embed_users
from adapt.workflows.hub_push import prepare, push_path
from adapt.workflows.index_build import BuildOptions, build
from adapt.workflows.index_facts import verify
from adapt.workflows.living_index import LivingIndex, SearchOptions
from adapt.workflows.run import Run

from .fake_hub import FakeHub

ITEMS = PushOptions(include_items=True, base="org/tiny")
DRY = PushOptions(dry_run=True)
SHARED = PushOptions(base="org/tiny")


@pytest.fixture(scope="module")
def index(walk: Path, base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index of the same items, one of which was removed."""
    folder = tmp_path_factory.mktemp("index") / "walk"
    build(BuildOptions(dataset=str(walk), output=str(folder), checkpoint=str(base)))
    LivingIndex.open(folder).remove(["7"])
    return folder


def planned(path: Path, scratch: Path, options: PushOptions = DRY) -> UploadPlan:
    return prepare(path, "org/shared", options, scratch / "share")


def names(plan: UploadPlan) -> set[str]:
    return {file.name for file in plan.files}


def everything(plan: UploadPlan) -> bytes:
    return b"".join((plan.folder / file.name).read_bytes() for file in plan.files)


def test_a_checkpoint_goes_as_it_is(folder: Path, tmp_path: Path) -> None:
    plan = planned(folder, tmp_path)
    assert (plan.kind, plan.folder) == ("checkpoint", folder)
    assert any("adapt hub card" in note for note in plan.notes), "its card names another repository"


def test_a_checkpoint_without_golden_outputs_or_with_others_is_refused(folder: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(folder, tmp_path / "other"))
    tensors = load_file(other / "golden.safetensors")
    from safetensors.numpy import save_file

    save_file(
        {**tensors, "item_embeddings": tensors["item_embeddings"] + np.float32(0.01)}, other / "golden.safetensors"
    )
    write_sums(other)
    with pytest.raises(CheckpointError, match="golden embeddings to within"):
        planned(other, tmp_path)
    (other / "golden.safetensors").unlink()
    write_sums(other)
    with pytest.raises(CheckpointError, match="no golden outputs"):
        planned(other, tmp_path)


def test_a_damaged_checkpoint_and_no_folder_are_refused(folder: Path, tmp_path: Path) -> None:
    with (folder / "model.safetensors").open("ab") as weights:
        weights.write(b"!")
    with pytest.raises(CheckpointError, match="sha256"):
        planned(folder, tmp_path)
    with pytest.raises(CheckpointError, match="nothing at"):
        planned(tmp_path / "none", tmp_path)


def test_a_run_goes_as_its_adapter_and_its_people_stay(commit: str, run: Run, tmp_path: Path) -> None:
    plan = planned(run.path, tmp_path, SHARED)
    assert plan.kind == "adapter"
    assert names(plan) <= {
        *("README.md", "SHA256SUMS", "metrics.json", "base.json"),
        *("adapter_config.json", "adapter_model.safetensors", "parameters.safetensors"),
    }
    sent = everything(plan)
    users = load_file(run.path / "histories.safetensors")["users"]
    assert b"histories" not in sent.replace(b"trained on the histories", b"").replace(b"all histories, stayed", b"")
    assert all(int(user).to_bytes(8, "little", signed=True) not in sent for user in users)
    assert b"red tent" not in sent
    card = check_card((plan.folder / "README.md").read_text(), "README.md")
    assert (card["base_model"], card["base_model_relation"]) == ("org/tiny", "adapter")
    written = json.loads((plan.folder / "base.json").read_text())
    assert (written["reference"], written["sha256"]) == (f"org/tiny@{commit}", run.base.sha256)
    metrics = json.loads((plan.folder / "metrics.json").read_text())
    assert metrics["validation"]["methods"]["fine-tuned"]["ndcg@10"]["mean"] == pytest.approx(
        run.record["validation"]["methods"]["fine-tuned"]["ndcg@10"]["mean"]
    )
    assert "histories of" in plan.notes[0]


def test_items_of_a_run_go_only_when_they_are_asked_for(commit: str, run: Run, tmp_path: Path) -> None:
    plan = planned(run.path, tmp_path, ITEMS)
    assert {"items.json", "items.safetensors", "normaliser.safetensors"} <= names(plan)
    assert "histories.safetensors" not in names(plan)
    assert (plan.folder / "items.safetensors").read_bytes() == (run.path / "items.safetensors").read_bytes()
    assert any("item ids" in note for note in plan.notes)
    assert "by their ids" in (plan.folder / "README.md").read_text()


def test_a_base_on_this_machine_has_to_be_shared_first(commit: str, run: Run, tmp_path: Path) -> None:
    adapter = Path(shutil.copytree(run.path / "adapter", tmp_path / "adapter"))
    for number, path in enumerate((adapter, run.path)):
        with pytest.raises(UsageError, match="a folder of this machine") as caught:
            planned(path, tmp_path / str(number))
        assert "--base" in caught.value.hint
    with pytest.raises(CheckpointError, match="found another checkpoint"):
        planned(adapter, tmp_path / "2", PushOptions(base="adapt-mini"))
    plan = planned(adapter, tmp_path / "3", SHARED)
    written = json.loads((plan.folder / "base.json").read_text())
    assert (written["reference"], written["revision"]) == (f"org/tiny@{commit}", commit)
    assert check_card((plan.folder / "README.md").read_text(), "")["base_model"] == "org/tiny"
    assert str(tmp_path).encode() not in everything(plan)


def test_an_index_needs_a_word_for_its_items(index: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds ids, titles, columns and features") as caught:
        planned(index, tmp_path)
    assert "--include-items" in caught.value.hint


def test_an_index_is_shared_without_deleted_items_users_and_paths(
    commit: str, index: Path, base: Path, tmp_path: Path
) -> None:
    plan = planned(index, tmp_path, ITEMS)
    assert {Path(name).suffix for name in names(plan)} == {".json", ".safetensors", ".md", ""}
    assert "LOCK" not in names(plan)
    own, shared = LivingIndex.open(index), LivingIndex.open(plan.folder)
    assert [shared.snapshot.id(row) for row in shared.snapshot.rows.tolist()] == [
        own.snapshot.id(row) for row in own.snapshot.rows.tolist()
    ]
    queries = next(plan.folder.glob("parts/*/queries.safetensors"))
    assert load_file(queries)["queries"].shape[0] == 0
    assert load_file(next(index.glob("parts/*/queries.safetensors")))["queries"].shape[0] > 0
    sent = everything(plan)
    assert b'"7"' not in next(plan.folder.glob("parts/*/ids.json")).read_bytes()
    assert str(base).encode() not in sent
    assert shared.snapshot.description.model.reference == f"org/tiny@{commit}"
    condition = parse_condition("title=red tent")
    for options in (SearchOptions(), SearchOptions(where=(condition,))):
        found, before = shared.by_text("red tent", options), own.by_text("red tent", options)
        assert (found.item_ids, found.titles, found.scores) == (before.item_ids, before.titles, before.scores)
    card = check_card((plan.folder / "README.md").read_text(), "README.md")
    assert card["base_model"] == "org/tiny"
    assert any("47 items" in note for note in plan.notes)


def searched_elsewhere(folder: Path) -> None:
    """Make an index say that a server searches it."""
    generation = next((folder / "generations").iterdir())
    described = json.loads((generation / "index.json").read_text())
    settings = {"engine": "milvus", "uri": "http://192.0.2.1:19530", "collection": "theirs"}
    described |= {"kind": "milvus", "graph": None, "remote": {"settings": settings, "name": "rows", "owner": "them"}}
    (generation / "index.json").write_text(json.dumps(described))
    current = json.loads((folder / "CURRENT").read_text())
    (folder / "CURRENT").write_text(json.dumps({**current, "sha256": seal(generation)}))


def test_an_engine_elsewhere_is_neither_shared_nor_asked(
    hub: FakeHub, commit: str, index: Path, tmp_path: Path
) -> None:
    own = Path(shutil.copytree(index, tmp_path / "own"))
    shutil.rmtree(own / "generations" / "000001", ignore_errors=True)  # the one before the item was removed
    searched_elsewhere(own)
    plan = planned(own, tmp_path, ITEMS)
    assert b"192.0.2.1" not in everything(plan)
    assert LivingIndex.open(plan.folder).by_text("red tent").item_ids
    searched_elsewhere(plan.folder)
    write_sums(plan.folder)
    hub.put("org/theirs", plan.folder)
    for ask in (LivingIndex.open, pull):
        with pytest.raises(CheckpointError, match=r"searched on this machine, found one that asks http://192\.0\.2\.1"):
            ask("org/theirs")


def test_an_index_is_read_saved_and_pushed_by_the_usual_names(
    hub: FakeHub, commit: str, index: Path, tmp_path: Path
) -> None:
    first = LivingIndex.open(index).push_to_hub("org/index", include_items=True, base="org/tiny")
    got = LivingIndex.from_pretrained("org/index", revision=first.commit)
    with pytest.raises(UsageError, match="one revision"):
        LivingIndex.from_pretrained(str(index), revision="main")
    got.save_pretrained(tmp_path / "mine")
    mine = LivingIndex.from_pretrained(str(tmp_path / "mine"))
    assert (mine.snapshot.ids, mine.by_text("red tent")) == (got.snapshot.ids, got.by_text("red tent"))
    mine.remove(["8"])
    assert ("8" in got.snapshot, "8" in LivingIndex.open(tmp_path / "mine").snapshot) == (True, False)
    with pytest.raises(OutputError, match="files in it"):
        got.save_pretrained(tmp_path / "mine")
    own = LivingIndex.open(index)
    own.save_pretrained(tmp_path / "own")
    assert "7" not in LivingIndex.open(tmp_path / "own").snapshot, "what was removed stays removed"
    assert all(check.passed for check in verify(tmp_path / "own"))


def test_a_shared_index_can_be_changed_where_it_was_copied_to(commit: str, index: Path, tmp_path: Path) -> None:
    plan = planned(index, tmp_path, ITEMS)
    LivingIndex.open(plan.folder).remove(["8"])
    assert "8" not in LivingIndex.open(plan.folder).snapshot


def test_the_index_of_a_run_is_refused(run: Run, walk: Path, tmp_path: Path) -> None:
    build(BuildOptions(dataset=str(walk), output=str(tmp_path / "index"), run=str(run.path)))
    with pytest.raises(UsageError, match="fine-tuned run") as caught:
        planned(tmp_path / "index", tmp_path, ITEMS)
    assert "--include-items" in caught.value.hint


def test_all_kinds_are_pushed_whole(hub: FakeHub, commit: str, base: Path, run: Run, index: Path) -> None:
    for repo, path in (("org/again", base), ("org/walk", run.path), ("org/index", index)):
        done = push_path(path, repo, ITEMS if path is not base else PushOptions())
        files = hub.files(repo)
        assert set(files) - {".gitattributes"} == names(done.plan)
        assert files[SUMS].decode().count("\n") == len(done.plan.files) - 1


def test_a_checkpoint_in_memory_is_pushed_and_comes_back(hub: FakeHub, checkpoint: Checkpoint) -> None:
    done = checkpoint.push_to_hub("org/memory", private=True, commit_message="From memory.")
    repository = hub.repositories["org/memory"]
    assert (repository.private, repository.commits[done.commit].message) == (True, "From memory.")
    again = Checkpoint.from_pretrained("org/memory", revision=done.commit)
    assert again.push_to_hub("org/memory").unchanged
    assert again.config == checkpoint.config


def test_an_adapter_and_an_index_are_pushed_from_python(commit: str, hub: FakeHub, run: Run, index: Path) -> None:
    with pytest.raises(UsageError, match="a folder of this machine"):
        run.adapter.push_to_hub("org/lora")
    done = run.adapter.push_to_hub("org/lora", base="org/tiny")
    merged = Checkpoint.from_pretrained(done.reference)
    assert merged.sha256 != run.base.sha256
    assert run.base.golden is not None
    items = run.base.golden.items
    everything = np.ones(len(run.base.golden.item_embeddings), bool)
    states = [
        embed_users(towers, [np.arange(3)], items, embed_items(towers, items, everything))
        for towers in (merged.towers, run.towers, run.base.towers)
    ]
    assert np.allclose(states[0], states[1], atol=1e-5), "what is fetched is what was fine-tuned"
    assert not np.allclose(states[0], states[2], atol=1e-3)
    living = LivingIndex.open(index)
    with pytest.raises(UsageError, match="holds ids"):
        living.push_to_hub("org/index", include_items=False, base="org/tiny")
    assert living.push_to_hub("org/index", include_items=True, base="org/tiny").commit

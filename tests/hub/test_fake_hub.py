"""The fake Hub behaves to real clients as the Hub does."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, hf_hub_download, snapshot_download
from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError

from .conftest import TOKEN
from .fake_http import Fault
from .fake_hub import FakeHub
from .fake_store import Account, Repository

FILES = {"README.md": b"---\ntags: [x]\n---\n# One\n", "model.safetensors": b"weights" * 9000, "a/b.json": b"{}"}


def test_what_is_put_there_is_listed_and_fetched(hub: FakeHub) -> None:
    oid = hub.put("org/one", FILES)
    info = HfApi().model_info("org/one", files_metadata=True)
    assert info.sha == oid
    assert {part.rfilename: part.size for part in info.siblings or ()} == {n: len(d) for n, d in FILES.items()}
    folder = Path(snapshot_download("org/one"))
    assert folder.name == oid
    assert {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()} == {
        **FILES
    }
    storage = [asked for asked in hub.asked if asked.path.startswith("/cdn/org/one")]
    assert len(storage) == 1
    assert [asked for asked in hub.asked if "org/one" in asked.path and asked.token != TOKEN] == storage
    assert storage[0].token == ""  # of another host


def test_a_push_is_one_commit_and_large_files_go_once(hub: FakeHub, tmp_path: Path) -> None:
    api = HfApi()
    api.create_repo("org/new", private=True)
    first = api.create_commit(
        "org/new", [CommitOperationAdd(name, data) for name, data in FILES.items()], commit_message="One."
    )
    assert hub.files("org/new", first.oid) == {**hub.files("org/new", first.oid), **FILES}
    second = api.create_commit(
        "org/new",
        [CommitOperationAdd("c.safetensors", FILES["model.safetensors"]), CommitOperationDelete("a/b.json")],
        commit_message="Two.",
        parent_commit=first.oid,
    )
    assert sorted(hub.files("org/new")) == [".gitattributes", "README.md", "c.safetensors", "model.safetensors"]
    assert sum(asked.method == "PUT" for asked in hub.asked) == 1
    with pytest.raises(HfHubHTTPError, match="412"):
        api.create_commit("org/new", [CommitOperationAdd("x", b"x")], commit_message="3", parent_commit=first.oid)
    assert hub.repositories["org/new"].branches["main"] == second.oid
    assert api.whoami()["name"] == "me"


def test_branches_tags_and_lists(hub: FakeHub) -> None:
    oid = hub.put("org/one", FILES)
    hub.put("other/one", {"README.md": b"# Two"})
    api = HfApi()
    api.create_tag("org/one", tag="v1")
    api.create_branch("org/one", branch="next")
    hub.put("org/one", {**FILES, "a/b.json": b"[]"})
    refs = api.list_repo_refs("org/one")
    assert {ref.name: ref.target_commit for ref in refs.tags} == {"v1": oid}
    assert {ref.name for ref in refs.branches} == {"main", "next"}
    assert Path(hf_hub_download("org/one", "a/b.json", revision="v1")).read_bytes() == b"{}"
    assert [model.id for model in api.list_models(author="org", filter="x")] == ["org/one"]
    assert [part.path for part in api.list_repo_tree("org/one", "a", recursive=True)] == ["a/b.json"]


def test_who_may_not_is_refused(hub: FakeHub) -> None:
    hub.accounts["reader"] = Account("you", ("org",), role="read")
    hub.accounts["stranger"] = Account("stranger")
    hub.put("org/secret", FILES, private=True)
    hub.repositories["org/gated"] = Repository("org/gated", gated=True)
    hub.put("org/gated", FILES)
    assert HfApi(token="reader").model_info("org/secret").private
    for token, name, kind in (
        ("stranger", "org/secret", RepositoryNotFoundError),
        (False, "org/secret", RepositoryNotFoundError),
        (TOKEN, "org/absent", RepositoryNotFoundError),
        ("stranger", "org/gated", GatedRepoError),
    ):
        with pytest.raises(kind):
            HfApi(token=token).model_info(name)  # type: ignore[arg-type]
    with pytest.raises(RevisionNotFoundError):
        HfApi().model_info("org/secret", revision="v9")
    with pytest.raises(HfHubHTTPError, match="403"):
        HfApi(token="reader").create_commit("org/secret", [CommitOperationAdd("x", b"x")], commit_message="x")
    with pytest.raises(HfHubHTTPError, match="Invalid user token"):
        HfApi(token="nobody").whoami()
    with pytest.raises(HfHubHTTPError, match="409"):
        HfApi().create_repo("org/secret")


def test_a_cut_connection_continues_where_it_was_cut(hub: FakeHub) -> None:
    hub.put("org/one", FILES)
    hub.faults.append(Fault("GET /cdn/.*model", after=40_000))
    path = hf_hub_download("org/one", "model.safetensors")
    assert Path(path).read_bytes() == FILES["model.safetensors"]
    assert [asked.range for asked in hub.asked if asked.method == "GET" and "/cdn/" in asked.path] == [
        "",
        "bytes=32768-",
    ]


@pytest.mark.parametrize("status", [429, 500, 503])
def test_faults_strike_as_often_as_asked(hub: FakeHub, status: int) -> None:
    hub.put("org/one", FILES)
    hub.faults.append(Fault("GET /api/models/org/one", status, times=2))
    api = HfApi()
    for _ in range(2):
        with pytest.raises(HfHubHTTPError, match=str(status)):
            api.model_info("org/one")
    assert api.model_info("org/one").sha


def test_a_card_that_is_no_yaml_is_refused(hub: FakeHub) -> None:
    HfApi().create_repo("org/new")
    with pytest.raises(ValueError, match="Invalid metadata"):
        HfApi().create_commit(
            "org/new", [CommitOperationAdd("README.md", b"---\na: [\n---\n")], commit_message="Bad card."
        )
    assert json.dumps(sorted(hub.files("org/new"))) == '[".gitattributes"]'

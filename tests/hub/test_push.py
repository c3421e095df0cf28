"""A push against a Hub on loopback: one commit or nothing, and what to do when it is refused."""

from __future__ import annotations

import json
import shutil
import threading
from pathlib import Path

import pytest
from huggingface_hub import snapshot_download

from adapt.errors import AdaptError, HubError, UsageError
from adapt.files import sha256_file, write_sums
from adapt.hub.failures import safe
from adapt.hub.format import Checkpoint
from adapt.hub.push import Pushed, PushOptions, push
from adapt.hub.regenerate import regenerate_card
from adapt.hub.upload import plan_upload

from .conftest import TOKEN
from .fake_hub import FakeHub, Fault
from .fake_store import Account

REPO = "org/tiny"
DEFAULTS = PushOptions()


def pushed(folder: Path, repo: str = REPO, options: PushOptions = DEFAULTS) -> Pushed:
    return push(plan_upload("checkpoint", folder), repo, options)


def another(folder: Path, note: str = "Another note.") -> None:
    """Change what the checkpoint says of itself, as somebody does who has measured something."""
    metrics = json.loads((folder / "metrics.json").read_text())
    (folder / "metrics.json").write_text(json.dumps({**metrics, "note": note}))
    regenerate_card(folder)


def local_files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def remote_files(hub: FakeHub, repo: str = REPO) -> dict[str, bytes]:
    return {name: data for name, data in hub.files(repo).items() if name != ".gitattributes"}


def commits(hub: FakeHub) -> int:
    return sum(asked.method == "POST" and "/commit/" in asked.path for asked in hub.asked)


def test_a_push_is_one_commit_of_exactly_the_files(hub: FakeHub, folder: Path) -> None:
    (folder / "notes.py").write_text("print()")
    done = pushed(folder, options=PushOptions(private=True, message="First."))
    assert commits(hub) == 1
    files = local_files(folder)
    del files["notes.py"]
    assert remote_files(hub) == files
    repository = hub.repositories[REPO]
    assert repository.private
    assert (repository.commits[done.commit].message, repository.branches["main"]) == ("First.", done.commit)
    assert done.reference == f"{REPO}@{done.commit}"
    assert Checkpoint.from_pretrained(REPO).sha256 == Checkpoint.from_pretrained(str(folder)).sha256


def test_a_dry_run_asks_nothing(hub: FakeHub, folder: Path) -> None:
    done = pushed(folder, options=PushOptions(dry_run=True))
    assert hub.asked == []
    assert done.commit == ""
    assert {file["name"] for file in done.to_dict()["files"]} == set(local_files(folder))


def test_the_same_again_makes_no_commit(hub: FakeHub, folder: Path) -> None:
    first = pushed(folder)
    again = pushed(folder)
    assert (again.commit, again.unchanged, commits(hub)) == (first.commit, True, 1)


def test_files_of_an_earlier_version_go_and_those_of_others_stay(hub: FakeHub, folder: Path, tmp_path: Path) -> None:
    pushed(folder)
    hub.put(REPO, {**hub.files(REPO), "LICENSE": b"Free."}, message="By hand.")
    fewer = Path(shutil.copytree(folder, tmp_path / "fewer"))
    (fewer / "golden.safetensors").unlink()
    write_sums(fewer)
    done = pushed(fewer)
    assert done.removed == ("golden.safetensors",)
    assert remote_files(hub) == {**local_files(fewer), "LICENSE": b"Free."}


def test_two_pushes_race_and_the_second_is_told_what_to_do(hub: FakeHub, folder: Path, tmp_path: Path) -> None:
    pushed(folder)
    theirs, ours = (Path(shutil.copytree(folder, tmp_path / name)) for name in ("theirs", "ours"))
    another(theirs, "Theirs.")
    another(ours, "Ours.")
    # While ours is on its way, theirs arrives: our commit would be on top of a revision that is no longer the newest.
    hub.faults.append(Fault("POST .*/preupload/", then=lambda: hub.put(REPO, theirs, message="Theirs.")))
    for conflict in (412, 409):
        hub.conflict = conflict
        if conflict == 409:
            hub.faults.append(Fault("POST .*/preupload/", then=lambda: hub.put(REPO, theirs, message="Again.")))
        with pytest.raises(HubError, match=rf"{REPO}.*{conflict}") as caught:
            pushed(ours)
        assert "Somebody else has pushed" in caught.value.hint
        assert f"adapt hub diff PATH {REPO}" in caught.value.hint
        assert remote_files(hub) == local_files(theirs)
    done = pushed(ours)  # what the hint says
    assert hub.repositories[REPO].branches["main"] == done.commit
    assert remote_files(hub) == local_files(ours)


def test_of_two_pushes_at_the_same_time_one_wins_whole(hub: FakeHub, folder: Path, tmp_path: Path) -> None:
    pushed(folder)
    copies = [Path(shutil.copytree(folder, tmp_path / str(number))) for number in range(2)]
    for number, copy in enumerate(copies):
        another(copy, f"Note {number}.")
    looked = threading.Barrier(2)
    hub.faults.append(Fault("POST .*/preupload/", times=2, then=lambda: looked.wait(20)))
    outcomes: dict[int, object] = {}

    def go(number: int) -> None:
        try:
            outcomes[number] = pushed(copies[number])
        except HubError as refused:
            outcomes[number] = refused

    threads = [threading.Thread(target=go, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    (winner,) = [number for number, outcome in outcomes.items() if isinstance(outcome, Pushed)]
    (refused,) = [outcome for outcome in outcomes.values() if isinstance(outcome, HubError)]
    assert "Somebody else has pushed" in refused.hint
    assert remote_files(hub) == local_files(copies[winner])


@pytest.mark.parametrize(
    "pattern", ["PUT /large/", "POST .*/commit/", "POST .*/preupload/", "POST .*lfs/objects/batch"]
)
def test_an_interrupted_push_leaves_nothing_half_and_continues(hub: FakeHub, folder: Path, pattern: str) -> None:
    hub.faults.append(Fault(pattern, 503, times=-1))
    with pytest.raises(HubError, match="503") as caught:
        pushed(folder)
    assert "the same command goes on" in caught.value.hint
    assert remote_files(hub) == {}
    sent = [asked.path for asked in hub.asked if asked.method == "PUT"]
    hub.faults.clear()
    hub.asked.clear()
    pushed(folder)
    assert remote_files(hub) == local_files(folder)
    again = [asked.path for asked in hub.asked if asked.method == "PUT"]
    if "commit" in pattern:
        assert sent
        assert again == [], "large files that arrived are not sent again"


@pytest.mark.parametrize(
    ("status", "fix"),
    [
        (401, "hf auth login"),
        (403, "may not write to org/tiny"),
        (409, "Somebody else has pushed"),
        (429, "wait some minutes"),
        (500, "try again later"),
    ],
)
def test_every_refusal_names_its_fix(hub: FakeHub, folder: Path, status: int, fix: str) -> None:
    hub.faults.append(Fault("POST .*/commit/", status, times=-1))
    with pytest.raises(HubError, match=f"push to {REPO}") as caught:
        pushed(folder)
    assert fix in caught.value.hint
    assert caught.value.exit_code == 5


def test_a_token_that_may_only_read_is_told_so(hub: FakeHub, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.accounts["hf_reader"] = Account("you", ("org",), role="read")
    monkeypatch.setenv("HF_TOKEN", "hf_reader")
    with pytest.raises(HubError, match="403") as caught:
        pushed(folder)
    assert "role write" in caught.value.hint
    assert REPO not in hub.repositories


def test_no_token_and_a_bad_one(hub: FakeHub, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "")
    with pytest.raises(HubError, match="found none") as caught:
        pushed(folder)
    assert "hf auth login" in caught.value.hint
    assert hub.asked == []
    monkeypatch.setenv("HF_TOKEN", "hf_expired")
    with pytest.raises(HubError, match="401") as caught:
        pushed(folder)
    assert "hf_expired" not in str(caught.value)


def test_offline_and_an_endpoint_where_nobody_is(hub: FakeHub, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(HubError, match="HF_HUB_OFFLINE") as caught:
        pushed(folder)
    assert "--dry-run" in caught.value.hint
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(HubError, match="push to") as caught:
        pushed(folder)
    assert "HF_ENDPOINT" in caught.value.hint


def test_what_is_public_is_not_pushed_to_as_if_it_were_private(hub: FakeHub, folder: Path) -> None:
    pushed(folder)
    another(folder)
    with pytest.raises(UsageError, match="public already"):
        pushed(folder, options=PushOptions(private=True))
    assert commits(hub) == 1


def test_a_changed_copy_goes_only_on_top_of_its_own_revision(hub: FakeHub, folder: Path, tmp_path: Path) -> None:
    first = pushed(folder)
    copy = Path(snapshot_download(REPO, local_dir=tmp_path / "copy"))
    assert pushed(copy).unchanged, "a copy as it came is the same again"
    another(copy)
    second = pushed(copy)  # on top of the revision it came from
    stale = Path(snapshot_download(REPO, revision=first.commit, local_dir=tmp_path / "stale"))
    another(stale, "From the first.")
    with pytest.raises(UsageError, match=first.commit[:12]) as caught:
        pushed(stale)
    assert second.commit[:12] in caught.value.message
    assert "metrics.json" in caught.value.message
    with pytest.raises(UsageError, match="changed copy"):
        pushed(stale, "org/other")


def test_a_changed_copy_of_somebody_elses_checkpoint_is_not_pushed_as_ones_own(
    hub: FakeHub, folder: Path, tmp_path: Path
) -> None:
    hub.put("stranger/towers", folder)
    copy = Path(snapshot_download("stranger/towers", local_dir=tmp_path / "copy"))
    another(copy)
    with pytest.raises(UsageError, match="changed copy"):
        pushed(copy, "org/mine")
    assert "org/mine" not in hub.repositories
    shutil.rmtree(copy / ".cache")  # what the hint says: then it is one's own
    assert pushed(copy, "org/mine").commit


def test_a_file_of_the_cache_that_was_changed_is_seen(hub: FakeHub, folder: Path) -> None:
    hub.put("stranger/towers", folder)
    snapshot = Path(snapshot_download("stranger/towers"))
    assert plan_upload("checkpoint", snapshot).origin is not None
    assert plan_upload("checkpoint", snapshot).origin.changed == ()  # type: ignore[union-attr]
    for name in ("metrics.json", "SHA256SUMS"):  # a file of its own in place of the link to the cache's
        content = (snapshot / name).read_bytes()
        (snapshot / name).unlink()
        (snapshot / name).write_bytes(content.replace(b"A note.", b"Another."))
    sums = [
        f"{sha256_file(snapshot / line[66:])}{line[64:]}" for line in (snapshot / "SHA256SUMS").read_text().splitlines()
    ]
    (snapshot / "SHA256SUMS").write_text("\n".join(sums) + "\n")
    origin = plan_upload("checkpoint", snapshot).origin
    assert origin is not None
    assert (origin.repo, set(origin.changed)) == ("stranger/towers", {"metrics.json", "SHA256SUMS"})
    with pytest.raises(UsageError, match="changed copy of stranger/towers@"):
        pushed(snapshot, "org/mine")


@pytest.mark.parametrize("repo", ["tiny", "org/tiny/x", "../x", "org/", "org/tiny@main", "https://x/y"])
def test_what_names_no_repository_is_refused(hub: FakeHub, folder: Path, repo: str) -> None:
    with pytest.raises(UsageError, match="org/name"):
        pushed(folder, repo)
    assert hub.asked == []


def test_neither_the_token_nor_a_signed_address_is_in_an_error(hub: FakeHub, folder: Path) -> None:
    for pattern in ("PUT /large/", "POST .*/commit/", "GET /api/models"):
        hub.faults[:] = [Fault(pattern, 403, times=-1, body=json.dumps({"error": f"bad {TOKEN}"}).encode())]
        with pytest.raises(AdaptError) as caught:
            pushed(folder)
        assert TOKEN not in str(caught.value)
        assert "secret-of-the-cdn" not in str(caught.value)
        assert caught.value.__cause__ is None
    assert safe(f"Bearer {TOKEN}") == "Bearer ***"


def test_the_token_is_sent_to_the_hub_and_not_with_a_large_file(hub: FakeHub, folder: Path) -> None:
    pushed(folder)
    assert {asked.token for asked in hub.asked if asked.method == "POST" and "/commit/" in asked.path} == {TOKEN}
    assert {asked.token for asked in hub.asked if asked.method == "PUT"} == {""}

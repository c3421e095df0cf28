"""References, and what they lead to."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapt.errors import CheckpointError, HubError, UsageError
from adapt.features.adapted import FILES as ADAPTER_FILES
from adapt.hub.bundled import bundled_entries
from adapt.hub.format import Checkpoint
from adapt.hub.ref import Reference, parse_reference
from adapt.hub.resolve import locate, resolve
from adapt.progress import Silent

from .fake_http import Fault
from .fake_hub import FakeHub


class Notes(Silent):
    """Keeps what is noted."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, message: str) -> None:
        self.notes.append(message)


def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)


def names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


@given(st.text(max_size=30))
def test_any_text_is_a_reference_or_a_usage_error(text: str) -> None:
    kind = None
    with contextlib.suppress(UsageError):
        kind = parse_reference(text).kind
    assert kind in (None, "path", "bundled", "hub")
    if kind is None:
        with pytest.raises(UsageError, match="adapt hub list"):
            parse_reference(text)


@pytest.mark.parametrize(
    "text", ["~nobody-of-this-name/towers", "~" + "x" * 300, "a" * 300, "a/" * 3000, "./" + "x" * 300]
)
def test_names_that_no_file_system_holds_are_no_crash(text: str) -> None:
    with pytest.raises((UsageError, CheckpointError)):
        resolve(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("adapt-mini", Reference("bundled", "adapt-mini")),
        ("org/name", Reference("hub", "org/name")),
        ("org/name@v1.0", Reference("hub", "org/name", "v1.0")),
        ("hf://org/name", Reference("hub", "org/name")),
        ("hf://org/name/sub/folder@main", Reference("hub", "org/name", "main", "sub/folder")),
        ("./somewhere", Reference("path", "somewhere")),
        ("/somewhere", Reference("path", "/somewhere")),
    ],
)
def test_the_forms_of_a_reference(text: str, expected: Reference) -> None:
    assert parse_reference(text) == expected


def test_a_folder_that_exists_is_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "org" / "name").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert parse_reference("org/name").kind == "path"


@pytest.mark.parametrize("text", ["hf://org/name/../../etc@main", "hf://org/name/a/../b", "hf://org/name//x"])
def test_a_subfolder_may_not_leave_the_repository(text: str) -> None:
    with pytest.raises(UsageError):
        parse_reference(text)


def test_an_unknown_name_suggests_the_nearest() -> None:
    (name, *_) = [entry.name for entry in bundled_entries() if entry.kind == "checkpoint"]
    with pytest.raises(CheckpointError, match=f"Did you mean {name}"):
        resolve(name[:-1])


def test_an_encoder_is_no_checkpoint() -> None:
    with pytest.raises(CheckpointError, match="static-minilm-256"):
        resolve("static-minilm-256")


def test_a_missing_folder_is_said(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="nothing at"):
        resolve(str(tmp_path / "none"))


def test_a_written_reference_reads_back() -> None:
    for text in ("org/name", "org/name@v1.0", "hf://org/name/sub/folder@main", "adapt-mini"):
        assert str(parse_reference(text)) == text


def test_a_revision_is_given_once_and_to_a_repository(folder: Path) -> None:
    for reference in ("org/tiny@v1", str(folder), "adapt-mini"):
        with pytest.raises(UsageError, match="revision"):
            locate(reference, "v2")


def test_a_checkpoint_comes_from_the_hub_without_the_files_beside_it(hub: FakeHub, folder: Path) -> None:
    more = {"pytorch_model.bin": b"pickle", "evil.py": b"import os", "parts/0f/graph.hnsw": b"", "notes.json": b"{}"}
    hub.put("org/tiny", {path.name: path.read_bytes() for path in folder.iterdir()} | more)
    read = Checkpoint.from_pretrained("org/tiny")
    assert read.sha256 == Checkpoint.from_pretrained(str(folder)).sha256
    assert sorted(hub.fetched()) == sorted(names(folder))


def test_the_adapter_of_a_tuned_encoder_comes_along(hub: FakeHub, checkpoint: Checkpoint, tmp_path: Path) -> None:
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    for name in ADAPTER_FILES:
        (adapter / name).write_text(name)
    encoder = replace(checkpoint.spec.encoders["text"], kind="transformers", adapter=str(adapter))
    tuned = replace(checkpoint, spec=replace(checkpoint.spec, encoders={"text": encoder}))
    tuned.save_pretrained(tmp_path / "tuned")
    hub.put("org/tiny", tmp_path / "tuned")
    fetched = Path(Checkpoint.from_pretrained("org/tiny").spec.encoders["text"].adapter)
    assert {path.name: path.read_text() for path in fetched.iterdir()} == {name: name for name in ADAPTER_FILES}


def test_a_revision_is_a_branch_a_tag_or_a_commit(hub: FakeHub, folder: Path) -> None:
    first = hub.put("org/tiny", folder)
    hub.repositories["org/tiny"].tags["v1"] = first
    newer = {path.name: path.read_bytes() for path in folder.iterdir()} | {"new.md": b"newer"}
    second = hub.put("org/tiny", newer)
    for reference, revision, commit in (
        ("org/tiny", "", second),
        ("org/tiny@v1", "", first),
        ("org/tiny", "v1", first),
        ("hf://org/tiny", first, first),
        (f"org/tiny@{first}", "", first),
    ):
        found = locate(reference, revision)
        assert found.commit == commit
        assert found.pinned == f"org/tiny@{commit}"
    assert Checkpoint.from_pretrained("org/tiny", revision="v1").config.name == "tiny"


def test_a_folder_of_a_repository_is_fetched_alone(hub: FakeHub, folder: Path) -> None:
    inside = {f"towers/small/{path.name}": path.read_bytes() for path in folder.iterdir()}
    commit = hub.put("org/many", {**inside, "config.json": b"{}", "towers/large/model.safetensors": b"large"})
    found = locate("hf://org/many/towers/small")
    assert found.pinned == f"hf://org/many/towers/small@{commit}"
    assert set(hub.fetched()) == set(inside)
    assert Checkpoint.from_pretrained("hf://org/many/towers/small").config.name == "tiny"


def test_a_branch_that_moved_is_said_and_both_can_be_had(hub: FakeHub, folder: Path) -> None:
    first = hub.put("org/tiny", folder)
    said = Notes()
    locate("org/tiny", progress=said)
    locate("org/tiny", progress=said)
    assert said.notes == []
    files = {path.name: path.read_bytes() for path in folder.iterdir()} | {"new.md": b""}
    second = hub.put("org/tiny", files)
    assert locate("org/tiny", progress=said).commit == second
    assert said.notes == [
        f"org/tiny has moved since it was last fetched, from {first[:12]} to {second[:12]}; org/tiny@{first} is the "
        "earlier one"
    ]
    before = len(hub.asked)
    assert locate(f"org/tiny@{first}", progress=said).commit == first
    assert len(hub.asked) == before  # a commit in the cache is not asked for again


def test_offline_with_a_warm_cache_works(hub: FakeHub, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commit = hub.put("org/tiny", folder)
    resolve("org/tiny")
    offline(monkeypatch)
    before = len(hub.asked)
    assert Checkpoint.from_pretrained("org/tiny").sha256 == Checkpoint.from_pretrained(str(folder)).sha256
    assert locate(f"org/tiny@{commit}").commit == commit
    assert len(hub.asked) == before


def test_offline_with_a_cold_cache_says_what_to_do(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    offline(monkeypatch)
    with pytest.raises(HubError) as failure:
        resolve("org/never-seen@v1")
    assert "no file of it" in failure.value.message
    assert "`HF_HUB_OFFLINE=0 adapt hub pull org/never-seen@v1`" in failure.value.hint
    assert hub.asked == []


def test_offline_with_half_of_it_says_which_half(hub: FakeHub, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.put("org/tiny", folder)
    got = resolve("org/tiny")
    (got / "model.safetensors").unlink()
    offline(monkeypatch)
    with pytest.raises(HubError, match=r"without model\.safetensors"):
        resolve("org/tiny")


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (Fault("/api/models/org/tiny", 500, times=-1), ("500", "try again")),
        (Fault("/api/models/org/tiny", 429, times=-1), ("429", "try again")),
        (Fault("/api/models/org/tiny", 200, times=-1, body=b"<html>"), ("not the Hub's", "HF_ENDPOINT")),
        (Fault("GET /.*README", 503, times=-1), ("503", "are kept")),
    ],
    ids=["500", "429", "garbled", "503 for a file"],
)
def test_a_hub_that_fails_is_a_hub_error(hub: FakeHub, folder: Path, fault: Fault, words: tuple[str, ...]) -> None:
    hub.put("org/tiny", folder)
    hub.faults.append(fault)
    with pytest.raises(HubError) as failure:
        resolve("org/tiny")
    for word in ("org/tiny", *words):
        assert word in str(failure.value)


def test_who_may_not_read_is_told_why(hub: FakeHub, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.put("other/secret", folder, private=True)
    hub.put("other/gated", folder)
    hub.repositories["other/gated"].gated = True
    hub.put("org/tiny", folder)
    for reference, word in (
        ("org/absent", "Check the name"),
        ("other/secret", "HF_TOKEN"),
        ("other/gated", "Accept its conditions"),
        ("org/tiny@v9", "no revision 'v9'"),
    ):
        with pytest.raises(HubError) as failure:
            resolve(reference)
        assert word in failure.value.hint, reference
    monkeypatch.setenv("HF_TOKEN", "hf_" + "wrong" * 8)
    with pytest.raises(HubError) as failure:
        resolve("org/tiny")
    assert "wrong" not in str(failure.value)


def test_nobody_at_the_endpoint_points_to_the_copy_in_the_cache(
    hub: FakeHub, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    commit = hub.put("org/tiny", folder)
    resolve("org/tiny")
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(HubError) as failure:
        resolve("org/tiny")
    assert f"HF_HUB_OFFLINE=1 the copy in the cache is used, of commit {commit[:12]}" in failure.value.hint
    with pytest.raises(HubError, match="HF_ENDPOINT"):
        resolve("org/other")


def test_a_fetch_that_was_cut_off_leaves_nothing_half_usable_and_continues(
    hub: FakeHub, checkpoint: Checkpoint, tmp_path: Path
) -> None:
    checkpoint.save_pretrained(tmp_path / "saved")
    files = {path.name: path.read_bytes() for path in (tmp_path / "saved").iterdir()}
    files["model.safetensors"] += b"x" * 200_000  # its hash is not looked at here
    hub.put("org/tiny", files)
    hub.faults += [Fault("GET /cdn/.*model", after=50_000), Fault("GET /cdn/.*model", 500, times=-1)]
    with pytest.raises(HubError, match="files that have arrived are kept"):
        resolve("org/tiny")
    cache = tmp_path / "hub-cache" / "hub" / "models--org--tiny"
    assert not list(cache.glob("snapshots/*/model.safetensors"))
    hub.faults.clear()
    hub.asked.clear()
    folder = resolve("org/tiny")
    assert (folder / "model.safetensors").read_bytes() == files["model.safetensors"]
    assert hub.fetched() == ["model.safetensors"]  # the others were there


def test_a_connection_that_breaks_is_taken_up_where_it_broke(hub: FakeHub, folder: Path) -> None:
    size = 200_000
    hub.put(
        "org/tiny", {path.name: path.read_bytes() for path in folder.iterdir()} | {"model.safetensors": b"x" * size}
    )
    hub.faults.append(Fault("GET /cdn/.*model", after=50_000))
    assert (resolve("org/tiny") / "model.safetensors").stat().st_size == size
    asked = [asked.range for asked in hub.asked if "/cdn/" in asked.path and "model" in asked.path]
    assert asked == ["", "bytes=49152-"]  # whole pieces of 16 KiB


def test_fetches_in_parallel_share_the_work(hub: FakeHub, folder: Path) -> None:
    hub.put("org/tiny", folder)
    hub.faults.append(Fault("GET /cdn/", seconds=0.2, times=-1))
    found: list[Path] = []
    threads = [threading.Thread(target=lambda: found.append(resolve("org/tiny"))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 1
    assert len(found) == 4
    assert hub.fetched().count("model.safetensors") == 1


def test_another_process_uses_the_variables_of_the_hub(hub: FakeHub, folder: Path, tmp_path: Path) -> None:
    commit = hub.put("org/tiny", folder, private=True)
    token = next(iter(hub.accounts))
    program = "from adapt.hub.resolve import locate; print(locate('org/tiny').folder)"
    environment = {**os.environ, **hub.environment(tmp_path / "home", token)}
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=True)
    assert Path(ran.stdout.strip()) == tmp_path / "home" / "hub" / "models--org--tiny" / "snapshots" / commit
    assert token not in ran.stdout + ran.stderr


def test_a_repository_that_holds_no_checkpoint_says_so(hub: FakeHub) -> None:
    hub.put("org/tiny", {"README.md": b"# Nothing"})
    with pytest.raises(CheckpointError, match="SHA256SUMS"):
        Checkpoint.from_pretrained("org/tiny")

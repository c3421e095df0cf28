"""References, and what they lead to."""

from __future__ import annotations

import contextlib
import http.server
import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapt.errors import CheckpointError, HubError, UsageError
from adapt.features.adapted import FILES as ADAPTER_FILES
from adapt.hub import resolve as resolving
from adapt.hub.bundled import bundled_entries
from adapt.hub.format import Checkpoint
from adapt.hub.ref import Reference, parse_reference
from adapt.hub.resolve import resolve

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class FakeHub(http.server.BaseHTTPRequestHandler):
    """The part of the Hub's API that fetching a snapshot needs, for one repository."""

    files: dict[str, bytes]
    asked: list[str]
    cut: tuple[str, ...] = ()

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def answer(self, body: bool) -> None:
        path = self.path.split("?")[0]
        if path.startswith("/api/models/org/broken"):
            self.reply(500, b"{}", "application/json", body)
        elif path.startswith("/api/models/org/garbled"):
            self.reply(200, b"<html>", "text/html", body)
        elif path.startswith("/api/models/org/private"):
            self.reply(401, b"{}", "application/json", body, {"X-Error-Code": "GatedRepo"})
        elif path.startswith("/api/models/org/tiny/tree/"):
            tree = [{"type": "file", "path": name, "size": len(data), "oid": name} for name, data in self.files.items()]
            self.reply(200, json.dumps(tree).encode(), "application/json", body)
        elif path.startswith("/api/models/org/tiny"):
            siblings = [{"rfilename": name} for name in self.files]
            described = {"id": "org/tiny", "sha": COMMIT, "siblings": siblings, "private": False}
            self.reply(200, json.dumps(described).encode(), "application/json", body)
        elif path.startswith("/org/tiny/resolve/") and path.split("/", 5)[5] in self.files:
            name = path.split("/", 5)[5]
            self.asked.append(name)
            if name in self.cut and body:
                self.send_response(200)
                self.send_header("Content-Length", "100000")
                self.end_headers()
                self.wfile.write(b"half")
                self.close_connection = True
                return
            headers = {"ETag": f'"{hash(name) & 0xFFFFFFFF:08x}"', "X-Repo-Commit": COMMIT}
            self.reply(200, self.files[name], "application/octet-stream", body, headers)
        else:
            self.reply(404, b"{}", "application/json", body, {"X-Error-Code": "RepoNotFound"})

    def reply(self, status: int, content: bytes, kind: str, body: bool, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(content)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if body:
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def hub(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[FakeHub]]:
    """A loopback Hub with one checkpoint and files beside it that nobody should fetch."""
    handler = type("Handler", (FakeHub,), {"files": {p.name: p.read_bytes() for p in folder.iterdir()}, "asked": []})
    handler.files |= {"pytorch_model.bin": b"pickle", "evil.py": b"import os"}
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    from huggingface_hub import constants

    endpoint = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", endpoint + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setenv("HF_ENDPOINT", endpoint)
    monkeypatch.setattr(resolving, "_CACHE", str(tmp_path / "hub-cache"))
    yield handler
    server.shutdown()
    server.server_close()


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


def test_a_checkpoint_comes_from_the_hub_without_the_files_beside_it(hub: type[FakeHub], folder: Path) -> None:
    read = Checkpoint.from_pretrained("org/tiny")
    assert read.sha256 == Checkpoint.from_pretrained(str(folder)).sha256
    assert set(hub.asked) == {path.name for path in folder.iterdir()}


def test_the_adapter_of_a_tuned_encoder_comes_along(hub: type[FakeHub], checkpoint: Checkpoint, tmp_path: Path) -> None:
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    for name in ADAPTER_FILES:
        (adapter / name).write_text(name)
    encoder = replace(checkpoint.spec.encoders["text"], kind="transformers", adapter=str(adapter))
    tuned = replace(checkpoint, spec=replace(checkpoint.spec, encoders={"text": encoder}))
    tuned.save_pretrained(tmp_path / "tuned")
    paths = [path for path in (tmp_path / "tuned").rglob("*") if path.is_file()]
    hub.files = {path.relative_to(tmp_path / "tuned").as_posix(): path.read_bytes() for path in paths}
    fetched = Path(Checkpoint.from_pretrained("org/tiny").spec.encoders["text"].adapter)
    assert {path.name: path.read_text() for path in fetched.iterdir()} == {name: name for name in ADAPTER_FILES}


@pytest.mark.parametrize("reference", ["org/absent", "org/private", "org/broken", "org/garbled"])
def test_a_repository_that_cannot_be_had_is_a_hub_error(hub: type[FakeHub], reference: str) -> None:
    with pytest.raises(HubError, match=reference):
        resolve(reference)


def test_a_connection_that_breaks_is_a_hub_error(hub: type[FakeHub], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "cut", ("model.safetensors",))
    monkeypatch.setattr("huggingface_hub.file_download.time.sleep", lambda _: None)  # between attempts
    with pytest.raises(HubError, match="org/tiny"):
        resolve("org/tiny")


def test_a_damaged_file_from_the_hub_is_refused(hub: type[FakeHub]) -> None:
    hub.files["model.safetensors"] = hub.files["model.safetensors"][:-1] + b"!"
    with pytest.raises(CheckpointError, match="sha256"):
        Checkpoint.from_pretrained("org/tiny")


def test_a_repository_that_holds_no_checkpoint_says_so(hub: type[FakeHub]) -> None:
    hub.files.clear()
    hub.files["README.md"] = b"# Nothing"
    with pytest.raises(CheckpointError, match="SHA256SUMS"):
        Checkpoint.from_pretrained("org/tiny")


def test_nobody_at_the_endpoint_is_a_hub_error(hub: type[FakeHub], monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(HubError, match="org/tiny"):
        resolve("org/tiny")


def test_offline_with_a_cold_cache_is_a_hub_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(resolving, "_CACHE", str(tmp_path))
    with pytest.raises(HubError, match="org/never-seen"):
        resolve("org/never-seen")

"""What is wrong with a repository or a folder is refused, each with a message that says what it is."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from adapt.adapters import BASE
from adapt.errors import AdaptError, CheckpointError, HubError
from adapt.files import SUMS, sha256_bytes, write_sums
from adapt.hub import fetch
from adapt.hub.format import Checkpoint
from adapt.hub.resolve import resolve
from adapt.workflows.hub_verify import verify

from .adapter_cases import edit_json, save_adapter
from .fake_http import Fault
from .fake_hub import FakeHub

Edit = Callable[[Path], object]


class Bomb:
    """Unpickling it leaves a mark."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("unpickled",)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def said(reference: str) -> AdaptError:
    with pytest.raises(AdaptError) as failure:
        Checkpoint.from_pretrained(reference)
    assert isinstance(failure.value, CheckpointError | HubError)
    return failure.value


def add_line(line: str) -> Edit:
    return lambda folder: (folder / SUMS).write_text((folder / SUMS).read_text() + line + "\n")


def change_tensor(folder: Path, name: str, value: torch.Tensor) -> None:
    tensors = load_file(folder / name)
    key = next(iter(tensors))
    tensors[key] = value
    save_file(tensors, folder / name)


DIGEST = sha256_bytes(b"x")


@pytest.mark.parametrize(
    ("edit", "resum", "words"),
    [
        (lambda folder: (folder / "model.safetensors").open("ab").write(b"!"), False, "sha256"),
        (lambda folder: (folder / "config.json").unlink(), False, "no such file"),
        (add_line(f"{DIGEST}  ../../outside.json"), False, "'../../outside.json'"),
        (add_line(f"{DIGEST}  /etc/hostname"), False, "'/etc/hostname'"),
        (add_line(f"{DIGEST}  C:\\outside.json"), False, "inside the folder"),
        (add_line(f"{DIGEST}  config.json"), False, "config.json twice"),
        (add_line("no hash at all"), False, "'no hash at all'"),
        (add_line(f"{DIGEST}  modeling.py"), False, "metrics.json, model.safetensors, modeling.py"),
        (lambda folder: edit_json(folder / "config.json", "format_version", 99), True, "format_version 1, found 99"),
        (lambda folder: edit_json(folder / "config.json", "trust_remote_code", True), True, "trust_remote_code"),
        (lambda folder: (folder / "model.safetensors").write_bytes(pickle.dumps(Bomb())), True, "safetensors"),
        (lambda folder: (folder / "golden.safetensors").write_bytes(pickle.dumps(Bomb())), True, "safetensors"),
        (
            lambda folder: change_tensor(folder, "model.safetensors", torch.zeros(3)),
            True,
            "as float32 (8, 8)",
        ),
    ],
    ids=[
        *("changed byte", "missing file", "traversing path", "absolute path", "path of another system"),
        *("duplicate", "line that is none", "python file in the list", "unknown format", "unknown key"),
        *("pickle as weights", "pickle as golden outputs", "tensor of another shape"),
    ],
)
def test_a_tampered_checkpoint_is_refused_here_and_on_the_hub(
    hub: FakeHub, folder: Path, monkeypatch: pytest.MonkeyPatch, edit: Edit, resum: bool, words: str
) -> None:
    monkeypatch.chdir(folder.parent)
    edit(folder)
    if resum:
        write_sums(folder)
    hub.put("org/tiny", folder)
    for reference in (str(folder), "org/tiny"):
        assert words in said(reference).message
    assert not Path("unpickled").exists()


def test_what_is_no_checkpoint_is_never_fetched_or_opened(
    hub: FakeHub, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder.parent)
    bomb = pickle.dumps(Bomb())
    names = (
        *("pytorch_model.bin", "model.pt", "model.pkl", "optimizer.pth", "modeling_tiny.py", "setup.py"),
        *("graph.hnsw", "parts/0f/graph.hnsw", "tokenizer.json", "encoders/text/pytorch_model.bin", ".env"),
    )
    hub.put("org/tiny", contents(folder) | dict.fromkeys(names, bomb))
    read = Checkpoint.from_pretrained("org/tiny")
    assert read.config.name == "tiny"
    assert sorted(hub.fetched()) == sorted(contents(folder))
    assert not Path("unpickled").exists()


def test_a_pickle_instead_of_the_weights_is_a_file_that_is_missing(hub: FakeHub, folder: Path) -> None:
    files = contents(folder)
    del files["model.safetensors"]
    hub.put("org/tiny", files | {"pytorch_model.bin": pickle.dumps(Bomb())})
    assert "model.safetensors, found no such file" in said("org/tiny").message


def test_bytes_that_changed_on_their_way_are_refused(hub: FakeHub, folder: Path) -> None:
    hub.put("org/tiny", folder)
    data = (folder / "model.safetensors").read_bytes()
    hub.served["org/tiny/model.safetensors"] = data[:-1] + bytes([data[-1] ^ 1])
    assert "sha256" in said("org/tiny").message


def test_a_file_that_is_longer_than_was_said_is_refused(hub: FakeHub, folder: Path) -> None:
    hub.put("org/tiny", folder)
    hub.served["org/tiny/model.safetensors"] = b"x" * 1_000_000
    message = said("org/tiny").message
    assert "size" in message
    assert "Signature" not in message, "addresses of files are signed: whoever has one can read the file"


def test_an_over_large_file_is_not_fetched(hub: FakeHub, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    size = (folder / "model.safetensors").stat().st_size
    monkeypatch.setitem(fetch.LARGEST, ".safetensors", size - 1)
    hub.put("org/tiny", folder)
    assert f"at most {size - 1:,} bytes in model.safetensors of org/tiny, found {size:,}" in said("org/tiny").message
    assert hub.fetched() == []


def test_too_many_files_are_not_fetched(hub: FakeHub, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "MOST_FILES", 10)
    hub.put("org/tiny", contents(folder) | {f"parts/{number:x}/ids.json": b"[]" for number in range(10)})
    assert "at most 10 files in org/tiny, found 17" in said("org/tiny").message
    assert hub.fetched() == []


@pytest.mark.parametrize(
    ("name", "words"),
    [("../../evil.json", "'../../evil.json'"), ("/etc/evil.json", "'/etc/evil.json'")],
)
def test_a_repository_with_files_outside_of_it_is_refused(hub: FakeHub, folder: Path, name: str, words: str) -> None:
    hub.put("org/tiny", contents(folder) | {name: b"{}"})
    assert words in said("org/tiny").message
    assert hub.fetched() == []


def test_a_listing_with_a_file_twice_is_refused(hub: FakeHub, folder: Path) -> None:
    commit = hub.put("org/tiny", folder)
    siblings = [{"rfilename": "config.json", "size": size} for size in (10, 20)]
    listing = json.dumps({"id": "org/tiny", "sha": commit, "private": False, "siblings": siblings}).encode()
    hub.faults.append(Fault("GET /api/models/org/tiny", 200, body=listing))
    assert "config.json twice" in said("org/tiny").message


@pytest.mark.parametrize("pinned", [False, True], ids=["by a branch", "by a commit"])
def test_a_link_that_leads_out_of_the_cache_is_refused(
    hub: FakeHub, folder: Path, tmp_path: Path, pinned: bool
) -> None:
    commit = hub.put("org/tiny", folder)
    snapshot = resolve("org/tiny")
    outside = tmp_path / "outside.json"
    outside.write_bytes((folder / "config.json").read_bytes())
    (snapshot / "config.json").unlink()
    (snapshot / "config.json").symlink_to(outside)
    message = said(f"org/tiny@{commit}" if pinned else "org/tiny").message
    assert f"a link to {outside}" in message


def test_a_link_in_a_repository_arrives_as_text_and_is_refused(hub: FakeHub, folder: Path) -> None:
    hub.put(
        "org/tiny", contents(folder) | {"config.json": b"/etc/hostname"}
    )  # git keeps a link's target as its content
    assert "sha256" in said("org/tiny").message


def test_golden_outputs_that_are_not_given_fail_the_check(folder: Path) -> None:
    change_golden = load_file(folder / "golden.safetensors")
    change_golden["item_embeddings"] = change_golden["item_embeddings"].flip(0).contiguous()
    save_file(change_golden, folder / "golden.safetensors")
    write_sums(folder)
    checks = {check.name: check for check in verify(str(folder)).checks}
    assert checks["loads"].passed
    assert checks["golden outputs"].passed is False
    assert "expected the golden embeddings to within 0.0001" in checks["golden outputs"].detail


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda folder: edit_json(folder / BASE, "sha256", "0" * 64), "0" * 64),
        (lambda folder: edit_json(folder / BASE, "reference", "org/tiny@main"), "pinned to a commit"),
        (lambda folder: edit_json(folder / BASE, "reference", "org/tiny"), "pinned to a commit"),
        (lambda folder: edit_json(folder / BASE, "reference", "../../secret"), "a folder of its author"),
        (lambda folder: edit_json(folder / BASE, "reference", "/home/me/tiny"), "a folder of its author"),
        (lambda folder: edit_json(folder / "adapter_config.json", "use_dora", True), "use_dora"),
        (
            lambda folder: edit_json(folder / "adapter_config.json", "megatron_config", {"a": 1}),
            "megatron_config",
        ),
        (lambda folder: edit_json(folder / "adapter_config.json", "init_lora_weights", "pissa"), "init_lora_weights"),
        (lambda folder: edit_json(folder / "adapter_config.json", "of_the_future", True), "of_the_future"),
        (lambda folder: edit_json(folder / "adapter_config.json", "peft_type", "LOHA"), "'LOHA'"),
        (lambda folder: edit_json(folder / "adapter_config.json", "r", 1 << 40), "shape"),
        (
            lambda folder: change_tensor(folder, "adapter_model.safetensors", torch.zeros(2, 3)),
            "of shape",
        ),
        (
            lambda folder: save_file({"elsewhere.lora_A.weight": torch.zeros(1)}, folder / "adapter_model.safetensors"),
            "elsewhere",
        ),
        (lambda folder: (folder / "adapter_model.safetensors").write_bytes(pickle.dumps(Bomb())), "Safetensor"),
        (lambda folder: (folder / "evil.py").write_text("import os"), "evil.py"),
    ],
    ids=[
        *("another base", "base by a branch", "base without a revision", "base outside", "base on a machine"),
        *("another method", "module to import", "changed start", "newer variant", "no LoRA", "huge rank"),
        *("another shape", "no such layer", "pickle", "python file in the list"),
    ],
)
def test_a_tampered_adapter_is_refused(
    hub: FakeHub, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, edit: Edit, words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    commit = hub.put("org/tiny", folder)
    save_adapter(Checkpoint.from_pretrained(str(folder)), tmp_path / "made", f"org/tiny@{commit}", commit)
    edit(tmp_path / "made")
    write_sums(tmp_path / "made")
    hub.put("org/adapter", tmp_path / "made")
    assert words in said("org/adapter").message
    assert not Path("unpickled").exists()

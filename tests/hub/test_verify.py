"""``verify`` and ``pull``: what they look at, what they say, and what they leave on the machine."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from adapt.config import to_dict
from adapt.errors import CheckpointError, HubError, OutputError
from adapt.files import write_sums
from adapt.hub import kinds
from adapt.hub.bundled import bundled_entries
from adapt.hub.card import render_card
from adapt.hub.format import Checkpoint
from adapt.hub.kinds import kind_of
from adapt.hub.origin import origin_of
from adapt.hub.pull import pull
from adapt.hub.resolve import resolve
from adapt.workflows.hub_verify import Verified, verify

from .adapter_cases import save_adapter
from .fake_http import Fault
from .fake_hub import FakeHub
from .test_resolve import Notes, offline


def outcome(found: Verified) -> dict[str, bool | None]:
    return {check.name: check.passed for check in found.checks}


def test_a_sound_checkpoint_passes_everything(folder: Path) -> None:
    found = verify(str(folder))
    assert found.sound
    assert found.kind == "checkpoint"
    assert list(outcome(found)) == ["hashes", "card", "loads", "feature spec", "golden outputs"]
    assert json.loads(json.dumps(found.to_dict()))["sound"] is True


def test_the_bundled_checkpoints_are_sound() -> None:
    for entry in bundled_entries():
        if entry.kind == "checkpoint":
            found = verify(entry.name)
            assert found.sound, found
            assert found.reference == entry.name


def test_a_checkpoint_without_golden_outputs_is_not_sound(folder: Path) -> None:
    (folder / "golden.safetensors").unlink()
    write_sums(folder)
    found = verify(str(folder))
    assert outcome(found) == {
        "hashes": True,
        "card": True,
        "loads": True,
        "feature spec": True,
        "golden outputs": False,
    }
    assert "no golden outputs" in found.checks[-1].detail


def test_what_needs_whole_bytes_is_left_out_where_they_are_not(folder: Path) -> None:
    (folder / "config.json").write_text("{}")
    found = verify(str(folder))
    assert outcome(found) == {"hashes": False, "card": True}
    assert not found.sound


def test_a_card_without_metadata_fails(folder: Path) -> None:
    (folder / "README.md").write_text("# tiny\n")
    write_sums(folder)
    assert outcome(verify(str(folder)))["card"] is False


@pytest.mark.parametrize(("change", "words"), [({"id": ""}, "id"), ({"name": ""}, "name"), ({"dim": 0}, "dim")])
def test_a_feature_spec_that_names_its_encoder_by_half_fails(
    checkpoint: Checkpoint, tmp_path: Path, change: dict[str, object], words: str
) -> None:
    spec = checkpoint.spec
    encoder = replace(spec.encoders["text"], **change)  # type: ignore[arg-type]
    replace(checkpoint, spec=replace(spec, encoders={"text": encoder})).save_pretrained(tmp_path / "half")
    found = {check.name: check for check in verify(str(tmp_path / "half")).checks}
    assert found["feature spec"].passed is False
    assert f"expected {words} of the text encoder" in found["feature spec"].detail


def test_an_adapter_is_verified_with_its_base(hub: FakeHub, folder: Path, tmp_path: Path) -> None:
    commit = hub.put("org/tiny", folder)
    save_adapter(Checkpoint.from_pretrained(str(folder)), tmp_path / "made", f"org/tiny@{commit}", commit)
    hub.put("org/adapter", tmp_path / "made")
    found = verify("org/adapter")
    assert outcome(found) == {"hashes": True, "card": True, "base": True, "loads": True}
    assert found.kind == "adapter"
    elsewhere = verify(str(tmp_path / "made"))
    assert elsewhere.sound  # the base is in the cache by now


def test_a_local_adapter_whose_base_is_not_here_fails(hub: FakeHub, folder: Path, tmp_path: Path) -> None:
    commit = hub.put("org/tiny", folder)
    save_adapter(Checkpoint.from_pretrained(str(folder)), tmp_path / "made", f"org/tiny@{commit}", commit)
    assert outcome(verify(str(tmp_path / "made")))["loads"] is False
    assert verify(str(tmp_path / "made"), allow_download=True).sound


def test_a_pull_says_what_is_here(hub: FakeHub, folder: Path) -> None:
    commit = hub.put("org/tiny", folder)
    pulled = pull("org/tiny")
    assert pulled.reference == f"org/tiny@{commit}"
    assert pulled.sha256 == Checkpoint.from_pretrained(str(folder)).sha256
    assert pulled.files == len(list(folder.iterdir()))
    assert pulled.size_bytes == sum(path.stat().st_size for path in folder.iterdir())
    assert (pulled.kind, pulled.newest, pulled.needs) == ("checkpoint", "", None)
    assert json.loads(json.dumps(pulled.to_dict()))["commit"] == commit


def test_a_pull_of_an_earlier_revision_says_that_the_branch_is_elsewhere(hub: FakeHub, folder: Path) -> None:
    first = hub.put("org/tiny", folder)
    second = hub.put("org/tiny", {path.name: path.read_bytes() for path in folder.iterdir()} | {"new.md": b""})
    said = Notes()
    assert pull("org/tiny", revision=first, progress=said).newest == second
    assert said.notes == [f"org/tiny@{first[:12]} is not the newest: its main branch is at {second[:12]}"]
    assert verify(f"org/tiny@{first}").newest == second


def test_a_pull_of_what_is_damaged_fails(hub: FakeHub, folder: Path) -> None:
    (folder / "config.json").write_text("{}")
    hub.put("org/tiny", folder)
    with pytest.raises(CheckpointError, match="sha256"):
        pull("org/tiny")


def test_a_working_copy_remembers_where_it_is_from(hub: FakeHub, folder: Path, tmp_path: Path) -> None:
    commit = hub.put("org/tiny", folder)
    copy = tmp_path / "copy"
    pulled = pull("org/tiny", output=copy)
    assert pulled.folder == str(copy)
    names = sorted(path.name for path in folder.iterdir())
    assert {name: (copy / name).read_bytes() for name in names} == {
        name: (folder / name).read_bytes() for name in names
    }
    assert not any((copy / name).is_symlink() for name in names)
    origin = origin_of(copy, names)
    assert origin is not None
    assert (origin.commit, origin.changed) == (commit, ())
    assert Checkpoint.from_pretrained(str(copy)).sha256 == pulled.sha256
    with pytest.raises(OutputError, match="new or empty"):
        pull("org/tiny", output=copy)


def test_a_working_copy_offline_is_made_from_the_cache(
    hub: FakeHub, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.put("org/tiny", folder)
    resolve("org/tiny")
    offline(monkeypatch)
    pull("org/tiny", output=tmp_path / "copy")
    assert Checkpoint.from_pretrained(str(tmp_path / "copy")).config.name == "tiny"


def test_a_working_copy_that_fails_leaves_nothing(hub: FakeHub, folder: Path, tmp_path: Path) -> None:
    hub.put("org/tiny", folder)
    resolve("org/tiny")
    hub.faults.append(Fault("(GET|HEAD) /org/tiny/resolve/.*README", 403, times=-1))
    with pytest.raises(HubError):
        pull("org/tiny", output=tmp_path / "copies" / "one")
    assert not list((tmp_path / "copies").iterdir())


def test_what_a_folder_holds_is_told_by_its_files(folder: Path, tmp_path: Path) -> None:
    assert kind_of(folder) == "checkpoint"
    with pytest.raises(CheckpointError, match="found none of feature_spec"):
        kind_of(tmp_path)
    (folder / "adapter_config.json").write_text("{}")
    with pytest.raises(CheckpointError, match="checkpoint and adapter"):
        kind_of(folder)


def test_every_file_that_is_written_is_one_that_is_fetched(folder: Path, tmp_path: Path) -> None:
    save_adapter(Checkpoint.from_pretrained(str(folder)), tmp_path / "made", "../tiny")
    written = {path.name for place in (folder, tmp_path / "made") for path in place.iterdir()}
    assert written <= set(kinds.NAMED)


def test_golden_outputs_of_another_machine_may_differ_a_little(folder: Path) -> None:
    read = Checkpoint.from_pretrained(str(folder))
    assert read.golden is not None
    near = replace(read.golden, user_embeddings=read.golden.user_embeddings + np.float32(5e-5))
    replace(read, golden=near).save_pretrained(folder, replace=True)
    assert render_card(to_dict(read.config), to_dict(read.spec), read.metrics) == (folder / "README.md").read_text()
    found = verify(str(folder)).checks[-1]
    assert found.passed
    assert "5e-05" in found.detail

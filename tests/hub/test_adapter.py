"""An adapter in a folder or on the Hub becomes a checkpoint with its base, which is fetched by its pin."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from adapt.adapters import BASE, BESIDE
from adapt.errors import CheckpointError, OutputError
from adapt.files import write_sums
from adapt.hub.adapter import Adapter
from adapt.hub.format import Checkpoint
from adapt.hub.golden import make_golden
from adapt.hub.pull import pull

from .adapter_cases import METRICS, edit_json, save_adapter
from .fake_hub import FakeHub


def same_outputs(one: torch.nn.Module, other: torch.nn.Module, checkpoint: Checkpoint) -> bool:
    """Whether two towers embed the golden items and histories alike."""
    golden = make_golden(one, checkpoint.statistics, checkpoint.spec.normalisation)  # type: ignore[arg-type]
    return golden.error(other) < 1e-5  # type: ignore[arg-type]


@pytest.fixture
def adapter(folder: Path, tmp_path: Path) -> Path:
    """An adapter of the checkpoint in ``folder``, which it names by a relative path."""
    save_adapter(Checkpoint.from_pretrained(str(folder)), tmp_path / "adapter", "../tiny")
    return tmp_path / "adapter"


def on_the_hub(hub: FakeHub, folder: Path, tmp_path: Path) -> torch.nn.Module:
    """Put the checkpoint at ``org/tiny`` and an adapter of it at ``org/adapter``."""
    commit = hub.put("org/tiny", folder)
    base = Checkpoint.from_pretrained(str(folder))
    towers = save_adapter(base, tmp_path / "made", f"org/tiny@{commit}", commit)
    hub.put("org/adapter", tmp_path / "made")
    hub.put("org/tiny", {path.name: path.read_bytes() for path in folder.iterdir()} | {"README.md": b"newer"})
    return towers


def test_an_adapter_reads_back_with_its_base_and_figures(adapter: Path, folder: Path) -> None:
    read = Adapter.from_pretrained(str(adapter))
    assert read.base.name == "tiny"
    assert read.base.reference == "../tiny"
    assert read.base.sha256 == Checkpoint.from_pretrained(str(folder)).sha256
    assert read.metrics == METRICS
    assert len(read.sha256) == 64
    assert read.commit == ""


def test_its_checkpoint_is_the_base_with_the_adapter_merged(folder: Path, tmp_path: Path) -> None:
    base = Checkpoint.from_pretrained(str(folder))
    towers = save_adapter(base, tmp_path / "adapter", "../tiny")
    adapter = Adapter.from_pretrained(str(tmp_path / "adapter"))
    merged = Checkpoint.from_pretrained(str(tmp_path / "adapter"))
    assert same_outputs(towers, merged.towers, base)
    assert same_outputs(adapter.on(base), merged.towers, base)
    assert not same_outputs(base.towers, merged.towers, base)
    assert merged.towers.state_dict().keys() == base.towers.state_dict().keys()
    assert merged.sha256 not in (base.sha256, adapter.sha256, "")
    assert merged.metrics["pretraining"]["trained_on"] == ["a", "b", "shop"]
    merged.save_pretrained(tmp_path / "merged")
    again = Checkpoint.from_pretrained(str(tmp_path / "merged"))
    assert again.golden is not None
    assert again.golden.error(merged.towers) == 0


def test_the_fingerprint_is_of_base_and_adapter(folder: Path, tmp_path: Path) -> None:
    base = Checkpoint.from_pretrained(str(folder))
    found = set()
    for name in ("one", "two"):
        save_adapter(base, tmp_path / name, "../tiny")
        found.add(Checkpoint.from_pretrained(str(tmp_path / name)).sha256)
    assert len(found) == 1
    edit_json(tmp_path / "two" / "metrics.json", "dataset", "other")
    write_sums(tmp_path / "two")
    assert Checkpoint.from_pretrained(str(tmp_path / "two")).sha256 not in found


def test_an_adapter_from_the_hub_brings_its_base_by_the_pin(hub: FakeHub, folder: Path, tmp_path: Path) -> None:
    towers = on_the_hub(hub, folder, tmp_path)
    merged = Checkpoint.from_pretrained("org/adapter")
    assert same_outputs(towers, merged.towers, merged)
    assert sorted(set(hub.fetched())) == sorted(
        {path.name for path in folder.iterdir()} | {path.name for path in (tmp_path / "made").iterdir()}
    )
    assert merged.sha256 == Checkpoint.from_pretrained("org/adapter", revision="main").sha256


def test_the_base_of_a_local_adapter_is_fetched_only_when_that_is_allowed(
    hub: FakeHub, folder: Path, tmp_path: Path
) -> None:
    on_the_hub(hub, folder, tmp_path)
    adapter = Adapter.from_pretrained(str(tmp_path / "made"))
    with pytest.raises(CheckpointError) as failure:
        adapter.checkpoint()
    assert f"`adapt hub pull {adapter.base.reference}`" in failure.value.hint
    assert hub.asked == []
    with pytest.raises(CheckpointError, match="not in the cache"):
        Checkpoint.from_pretrained(str(tmp_path / "made"))
    allowed = adapter.checkpoint(allow_download=True)
    hub.asked.clear()
    assert adapter.checkpoint().sha256 == allowed.sha256  # it is in the cache now
    assert hub.asked == []


def test_pulling_an_adapter_pulls_its_base(hub: FakeHub, folder: Path, tmp_path: Path) -> None:
    on_the_hub(hub, folder, tmp_path)
    pulled = pull("org/adapter")
    assert (pulled.kind, pulled.needs.kind if pulled.needs else "") == ("adapter", "checkpoint")
    hub.asked.clear()
    Checkpoint.from_pretrained(pulled.folder)
    assert hub.asked == []


def test_a_copy_has_the_same_bytes(adapter: Path, tmp_path: Path) -> None:
    read = Adapter.from_pretrained(str(adapter))
    read.save_pretrained(tmp_path / "copies" / "one")
    assert Adapter.from_pretrained(str(tmp_path / "copies" / "one")).sha256 == read.sha256
    with pytest.raises(OutputError):
        read.save_pretrained(tmp_path / "copies" / "one")


def test_peft_itself_loads_the_adapter_onto_the_towers(folder: Path, tmp_path: Path) -> None:
    from peft import PeftModel

    base = Checkpoint.from_pretrained(str(folder))
    towers = save_adapter(base, tmp_path / "adapter", "../tiny")
    own = Checkpoint.from_pretrained(str(folder)).towers
    model = PeftModel.from_pretrained(own, str(tmp_path / "adapter"))
    with torch.no_grad():  # what peft does not know
        own.get_parameter("log_recency").copy_(towers.get_parameter("log_recency"))
    assert same_outputs(towers, model.base_model.model, base)


def test_another_base_is_refused_with_both_hashes(adapter: Path, folder: Path) -> None:
    before = Checkpoint.from_pretrained(str(folder))
    with torch.no_grad():
        before.towers.get_parameter("user_map.weight").add_(1)
    before.save_pretrained(folder, replace=True)
    other = Checkpoint.from_pretrained(str(folder))
    with pytest.raises(CheckpointError) as failure:
        Checkpoint.from_pretrained(str(adapter))
    assert before.sha256 in str(failure.value)
    assert other.sha256 in str(failure.value)


@pytest.mark.parametrize("name", [BASE, BESIDE, "adapter_model.safetensors", "adapter_config.json", "README.md"])
def test_a_changed_file_is_refused(adapter: Path, name: str) -> None:
    (adapter / name).write_bytes((adapter / name).read_bytes() + b" ")
    with pytest.raises(CheckpointError, match="sha256"):
        Checkpoint.from_pretrained(str(adapter))


def test_a_checkpoint_is_no_adapter(folder: Path) -> None:
    with pytest.raises(CheckpointError, match="checkpoint"):
        Adapter.from_pretrained(str(folder))

"""Training that is shared by processes is the training of one: losses, gradients and curves, of every kind of task."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from adapt.train.log import read_log
from adapt.train.loop import run_loop
from tests.launching import ranks

from .two_processes import OPTIONS, TASKS, gradients

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two processes leave."""
    folder = tmp_path_factory.mktemp("two")
    for done in ranks(["-m", "tests.train.two_processes", folder], folder):
        assert done.returncode == 0, done.stderr[-3000:]
    return folder


@pytest.mark.parametrize("name", TASKS)
def test_losses_and_gradients_are_those_of_the_whole_batch(shared: Path, name: str) -> None:
    whole = gradients(TASKS[name](), 0, 1)
    found = load_file(shared / f"{name}.safetensors")
    assert found.keys() == whole.keys()
    for key, expected in whole.items():
        assert torch.allclose(found[key], expected, atol=1e-6, rtol=1e-6), key


@pytest.mark.parametrize("name", TASKS)
def test_the_curve_is_that_of_one_process(shared: Path, tmp_path: Path, name: str) -> None:
    run_loop(TASKS[name](), OPTIONS, tmp_path, device="cpu")
    one, two = (read_log(folder / "log.jsonl") for folder in (tmp_path, shared / name))
    assert one[0]["losses"]["total"] != one[-1]["losses"]["total"]
    assert [record["losses"]["total"] for record in two] == pytest.approx(
        [record["losses"]["total"] for record in one], abs=1e-4
    )

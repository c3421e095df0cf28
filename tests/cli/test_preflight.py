"""What is looked at before a command begins lets through all that the command can use."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapt.cli import preflight
from adapt.errors import CheckpointError


def test_towers_that_are_made_for_a_data_set_are_a_checkpoint() -> None:
    preflight.checkpoint("training-free", "adapt-mini", "org/name@v1", "", None)
    with pytest.raises(CheckpointError, match="found 'training-fee'"):
        preflight.checkpoint("training-fee")


def test_a_copy_of_a_shared_run_is_a_run(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="expected a run"):
        preflight.run(str(tmp_path))
    (tmp_path / "adapter_config.json").write_text("{}")
    preflight.run(str(tmp_path), "org/name@v1")

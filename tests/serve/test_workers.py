"""What several processes are told, and how they say why they cannot serve."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from adapt.data.columns import ColumnOptions
from adapt.errors import AdaptError, CheckpointError, UsageError
from adapt.serve.security import Keys
from adapt.serve.settings import Settings
from adapt.serve.workers import Plan, _Child
from adapt.workflows.live_types import LiveOptions


def test_a_plan_survives_the_pipe() -> None:
    columns = ColumnOptions(item="Art. No", text=("a", "b"), text_features=Path("x.npy"))
    plan = Plan(
        LiveOptions("ïndex", "memory", allow_download=True, columns=columns),
        Keys(("a" * 64,), ("b" * 64,)),
        Settings(queue=3),
    )
    assert Plan.from_json(plan.to_json()) == plan
    assert Plan.from_json(replace(plan, settings=Settings()).to_json()).settings == Settings()


@pytest.mark.parametrize(
    ("said", "kind", "message"),
    [
        (
            json.dumps({"kind": "CheckpointError", "message": "no index", "hint": "build it"}),
            CheckpointError,
            "no index",
        ),
        (json.dumps({"kind": "UsageError", "message": "two of a kind", "hint": ""}), UsageError, "two of a kind"),
        ("", CheckpointError, "ended with 3"),
        ("ready", CheckpointError, "ended with 3"),
    ],
)
def test_a_process_that_ends_right_away_says_why(said: str, kind: type[AdaptError], message: str) -> None:
    program = f"print({said!r})" if said else ""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as process:
        child = _Child(process)
        child.listen()
        assert child.ready == (said == "ready")
        error = child.error(3)
    assert type(error) is kind
    assert message in error.message

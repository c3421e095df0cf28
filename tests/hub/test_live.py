"""Against the Hub itself: with an account, and only when asked for.

export HF_TOKEN=... ADAPT_LIVE_REPO=you/adapt-live-test
pytest -m live tests/hub/test_live.py --force-enable-socket
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from adapt.hub.format import Checkpoint
from adapt.hub.push import PushOptions
from adapt.workflows.hub_push import push_path
from adapt.workflows.hub_verify import verify

pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(
        "ADAPT_LIVE_REPO" not in os.environ, reason="needs an account: set ADAPT_LIVE_REPO and HF_TOKEN"
    ),
]


@pytest.fixture(autouse=True)
def _online(monkeypatch: pytest.MonkeyPatch) -> None:
    """All other tests are offline."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)


def test_a_private_push_comes_back_verified(folder: Path) -> None:
    done = push_path(folder, os.environ["ADAPT_LIVE_REPO"], PushOptions(private=True))
    found = verify(done.reference)
    assert found.sound, found.checks
    assert Checkpoint.from_pretrained(done.reference).sha256 == Checkpoint.from_pretrained(str(folder)).sha256
    assert push_path(folder, done.repo, PushOptions(private=True)).unchanged

"""Power goes while changes are made: what was answered is there once; what is sent again is not made twice."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import httpx

from adapt.workflows.live_types import LiveOptions
from adapt.workflows.living_index import LivingIndex

from .conftest import ITEMS
from .processes import PATIENCE, Served, serving

KILLS = int(os.environ.get("ADAPT_TEST_KILLS", "2"))
WRITERS = 4
EVENTS = 60  # that the data set brings


@dataclass(frozen=True)
class Change:
    """A request and the key that it is sent with, however often."""

    method: str
    path: str
    body: Any
    key: str


@dataclass(eq=False)
class Written:
    """What was sent, and what of it was answered."""

    sent: dict[str, Change] = field(default_factory=dict)
    answered: set[str] = field(default_factory=set)


def test_what_was_answered_survives_sigkill_once(options: LiveOptions) -> None:
    written, points = Written(), random.Random(0)
    for kill in range(KILLS):
        with serving(options) as served:
            sent_again(served, written)
            before = len(written.answered)
            threads = [
                threading.Thread(target=write, args=(served, written, f"{kill}-{writer}")) for writer in range(WRITERS)
            ]
            for thread in threads:
                thread.start()
            wait_for(lambda known=before: len(written.answered) - known >= 8)  # type: ignore[misc]
            time.sleep(points.uniform(0, 0.5))
            assert served.stop(signal.SIGKILL) == -signal.SIGKILL
            for thread in threads:
                thread.join()
    with serving(options) as served, served.caller() as caller:
        sent_again(served, written)
        assert written.answered == set(written.sent)
        items = {change.path.rsplit("/", 1)[-1] for change in written.sent.values() if change.method == "PUT"}
        events = [event for change in written.sent.values() for event in change.body.get("events", [])]
        info = caller.get("/v1/info").json()
        assert info["memory"]["events"] == EVENTS + len(events)
        assert info["index"]["count"] == ITEMS + len(items)
        for item in items:
            assert caller.get(f"/v1/items/{item}").json()["title"] == f"thing {item}"
        assert served.stop() == 0
    now = LivingIndex.open(options.index).snapshot
    found = Counter(now.id(row) for row in now.rows.tolist())
    assert set(found.values()) == {1}
    assert items <= set(found)
    assert len(found) == ITEMS + len(items)


def write(served: Served, written: Written, name: str) -> None:
    """Add items and record events, one request after another, until the service is gone."""
    with served.caller() as caller:
        for number in range(10_000):
            item, key = f"{name}-{number}", f"key {name}-{number}"
            if number % 2:
                change = Change("PUT", f"/v1/items/{item}", {"title": f"thing {item}"}, key)
            else:
                events = [{"user_id": name, "item_id": f"{(number + step) % ITEMS:03}"} for step in range(3)]
                change = Change("POST", "/v1/events", {"events": events}, key)
            written.sent[key] = change
            try:
                answer = sent(caller, change)
            except httpx.TransportError:
                return
            assert answer.status_code == 200, answer.text
            assert answer.json()["replayed"] is False
            written.answered.add(key)


def sent_again(served: Served, written: Written) -> None:
    """Send everything once more; what was answered before must be known, the rest is made now or was made unheard."""
    with served.caller() as caller:
        for key, change in written.sent.items():
            answer = sent(caller, change)
            assert answer.status_code == 200, answer.text
            if key in written.answered:
                assert answer.json()["replayed"] is True, f"lost: {change}"
            written.answered.add(key)


def sent(caller: httpx.Client, change: Change) -> httpx.Response:
    return caller.request(change.method, change.path, json=change.body, headers={"Idempotency-Key": change.key})


def wait_for(true: Any) -> None:
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)

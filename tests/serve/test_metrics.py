"""What is counted, and the quantiles of the last minute."""

from __future__ import annotations

import re

import numpy as np
import pytest
from starlette.testclient import TestClient

from adapt.serve.metrics import Latencies


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


def test_quantiles_are_those_of_the_last_minute() -> None:
    clock = Clock()
    latencies = Latencies(clock)
    assert latencies.quantiles() == {"p50_ms": None, "p90_ms": None, "p99_ms": None, "requests": 0}
    rng = np.random.default_rng(0)
    seconds = rng.lognormal(np.log(0.004), 0.8, 5_000)
    for number, value in enumerate(seconds):
        clock.now = 1_000 + number / 100  # 50 seconds
        latencies.add(float(value))
    found = latencies.quantiles()
    assert found["requests"] == 5_000
    for percent in (50, 90, 99):
        measured = found[f"p{percent}_ms"]
        assert measured is not None
        assert measured == pytest.approx(1e3 * float(np.percentile(seconds, percent)), rel=0.09)
    clock.now = 1_000 + 70
    assert 2_900 < latencies.quantiles()["requests"] < 4_100  # type: ignore[operator]
    clock.now = 2_000
    assert latencies.quantiles()["requests"] == 0


def test_odd_durations_are_counted() -> None:
    latencies = Latencies(Clock())
    for seconds in (0.0, -1e-9, 1e-9, 1e9):
        latencies.add(seconds)
    assert latencies.quantiles()["requests"] == 4


def value(text: str, series: str) -> float:
    found = re.search(rf"^{re.escape(series)} (\S+)$", text, re.MULTILINE)
    return float(found[1]) if found else 0.0


def test_requests_are_counted_by_route_and_status(client: TestClient) -> None:
    series = {
        'adapt_requests_total{method="POST",route="/v1/recommend",status="200"}': 2,
        'adapt_requests_total{method="POST",route="/v1/recommend",status="422"}': 1,
        'adapt_requests_total{method="GET",route="/v1/items/{item_id}",status="404"}': 2,
        'adapt_requests_total{method="GET",route="none",status="404"}': 1,
        'adapt_requests_total{method="other",route="none",status="404"}': 1,
        'adapt_request_seconds_count{route="/v1/recommend"}': 3,
        "adapt_batch_size_count": 2,
        "adapt_batch_size_sum": 2,
    }
    before = client.get("/metrics").text
    for _ in range(2):
        client.post("/v1/recommend", json={"history": ["000"]})
        client.get("/v1/items/nowhere")
    client.post("/v1/recommend", json={})
    client.get("/secret/path")
    client.request("BREW", "/coffee")
    after = client.get("/metrics")
    assert after.headers["content-type"].startswith("text/plain")
    for name, count in series.items():
        assert value(after.text, name) - value(before, name) == count, name
    assert value(after.text, "adapt_index_items") == 40
    assert value(after.text, "adapt_events") == 60
    assert value(after.text, "adapt_memory_bytes") > 50e6
    assert "secret" not in after.text  # an unknown path makes no series
    assert "python_info" not in after.text  # a registry of its own


def test_info_tells_sizes_methods_limits_and_latencies(client: TestClient) -> None:
    for _ in range(3):
        client.post("/v1/recommend", json={"history": ["000"]})
    info = client.get("/v1/info").json()
    assert info["index"]["count"] == 40
    assert info["memory"]["events"] == 60
    assert info["limits"]["k"] == 1_000
    assert len(info["index"]["model"]["fingerprint"]) == 64
    assert info["uptime_seconds"] >= 0
    assert info["latency"]["requests"] >= 3
    assert 0 < info["latency"]["p50_ms"] <= info["latency"]["p99_ms"]
    assert "/" not in str(info["index"])

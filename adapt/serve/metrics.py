"""What the service counts: for Prometheus, and the latencies of the last minute."""

from __future__ import annotations

import os
import resource
import sys
import time
from collections.abc import Callable
from math import ceil, log

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

SHARED = "PROMETHEUS_MULTIPROC_DIR"
"""Names the folder in which several processes add up their counts; prometheus-client reads it when it is imported."""
_METHODS = {"GET", "HEAD", "POST", "PUT", "DELETE"}
_BOUNDS = (0.001, 0.002, 0.004, 0.008, 0.015, 0.025, 0.04, 0.06, 0.1, 0.2, 0.5, 1, 2.5, 5, 10, 30)
_WINDOW = 60  # seconds
_FINEST, _STEP, _STEPS = 1e-4, 1.08, 180  # seconds; each bucket is 8 % wider than the one before, up to 100 s


class Latencies:
    """How long requests took in the last minute, in buckets that are 8 % wide."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seconds = [-1] * _WINDOW
        self._counts = [[0] * _STEPS for _ in range(_WINDOW)]

    def add(self, seconds: float) -> None:
        """Count one request."""
        now = int(self._clock())
        place = now % _WINDOW
        if self._seconds[place] != now:
            self._seconds[place] = now
            self._counts[place] = [0] * _STEPS
        bucket = ceil(log(max(seconds, _FINEST) / _FINEST) / log(_STEP))
        self._counts[place][min(bucket, _STEPS - 1)] += 1

    def quantiles(self) -> dict[str, float | int | None]:
        """``p50_ms``, ``p90_ms``, ``p99_ms`` (None where there was no request) and ``requests``."""
        now = int(self._clock())
        current = [
            counts for second, counts in zip(self._seconds, self._counts, strict=True) if now - _WINDOW < second <= now
        ]
        summed = [sum(column) for column in zip(*current, strict=True)] if current else [0] * _STEPS
        total = sum(summed)
        found: dict[str, float | int | None] = {
            f"p{percent}_ms": _quantile(summed, total * percent / 100) if total else None for percent in (50, 90, 99)
        }
        return {**found, "requests": total}


def _quantile(counts: list[int], below: float) -> float:
    """Milliseconds, the upper bound of the bucket in which ``below`` requests are reached."""
    reached = 0
    for bucket, count in enumerate(counts):
        reached += count
        if reached >= below:
            return round(1e3 * _FINEST * _STEP**bucket, 2)
    return round(1e3 * _FINEST * _STEP ** (_STEPS - 1), 2)


class Metrics:
    """The counters of one process, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.latencies = Latencies()
        self._requests = Counter(
            "adapt_requests",
            "Requests by route, method and status.",
            ("route", "method", "status"),
            registry=self.registry,
        )
        self._seconds = Histogram(
            "adapt_request_seconds",
            "Seconds of a request by route.",
            ("route",),
            buckets=_BOUNDS,
            registry=self.registry,
        )
        self._batch = Histogram(
            "adapt_batch_size",
            "Requests for recommendations that were answered together.",
            buckets=(1, 2, 4, 8, 16, 32, 64),
            registry=self.registry,
        )
        self._gauges = {
            name: Gauge(
                f"adapt_{name}", text, registry=self.registry, multiprocess_mode="livesum" if added else "livemax"
            )
            for name, text, added in (
                ("queue_depth", "Requests that wait for a thread.", True),
                ("requests_running", "Requests that are being read or answered.", True),
                ("index_items", "Items that can be found.", False),
                ("events", "Interactions that the memory holds.", False),
                ("memory_bytes", "Resident memory.", True),
            )
        }

    def counted(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count a request."""
        known = method if method in _METHODS else "other"
        self._requests.labels(route, known, str(status)).inc()
        self._seconds.labels(route).observe(seconds)
        if route.startswith("/v1/") and not route.endswith(("/health", "/ready", "/info")):
            self.latencies.add(seconds)

    def batched(self, size: int) -> None:
        """Count a batch."""
        self._batch.observe(size)

    def set(self, values: dict[str, float]) -> None:
        """Set gauges by their names."""
        for name, value in values.items():
            self._gauges[name].set(value)

    def text(self) -> bytes:
        """The text that Prometheus reads; of all processes where there are several."""
        self._gauges["memory_bytes"].set(resident_bytes())
        if SHARED not in os.environ:
            return generate_latest(self.registry)
        together = CollectorRegistry()
        MultiProcessCollector(together)  # type: ignore[no-untyped-call]
        return generate_latest(together)


def resident_bytes() -> int:
    """The memory that this process holds; its peak where the system says no more."""
    try:
        with open("/proc/self/statm", encoding="ascii") as handle:  # noqa: PTH123 - a scrape may be frequent
            return int(handle.read().split()[1]) * resource.getpagesize()
    except OSError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024


class Meter:
    """ASGI middleware: counts every request by the route that answered it.

    Args:
        app: what is counted.
        metrics: where.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start, status, method = time.perf_counter(), 499, scope["method"]  # 499: the caller hung up

        async def send_noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, send_noted)
        finally:
            route = getattr(scope.get("route"), "path", "none")
            self._metrics.counted(route, method, status, time.perf_counter() - start)

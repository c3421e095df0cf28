"""Routes about the service itself: probes, figures, and the page."""

from __future__ import annotations

import time
from hashlib import sha256
from importlib import resources

import anyio.to_thread
from fastapi import FastAPI
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.requests import Request
from starlette.responses import Response

from adapt.serve import answers
from adapt.serve.context import Context
from adapt.serve.documents import Operation, add_route
from adapt.serve.problems import ProblemError, busy
from adapt.serve.security import PAGE
from adapt.serve.settings import limits
from adapt.version import __version__

_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".ico": "image/x-icon",
    ".woff2": "font/woff2",
}
_INFO = {
    "version": __version__,
    "methods": ["few-shot", "zero-shot"],
    "limits": {"k": 1000, "history": 1000, "body_bytes": 16_777_216},
    "uptime_seconds": 3712.4,
    "latency": {"p50_ms": 3.4, "p90_ms": 6.1, "p99_ms": 11.9, "requests": 212},
    "waiting": {"compute": 0, "writes": 0, "uploads": 0, "thumbnails": 0},
}


def add_about(app: FastAPI, context: Context) -> None:
    """Add the routes about the service."""

    async def health(_request: Request) -> Response:
        return answers.rendered({"status": "alive"})

    async def ready(_request: Request) -> Response:
        if not context.ready:
            raise busy("the service is starting or stopping")
        return answers.rendered({"status": "ready"})

    async def info(_request: Request) -> Response:
        known = await context.searched(context.service.info)
        return answers.rendered(
            {
                **known,
                "version": __version__,
                "methods": list(context.service.methods()),
                "limits": limits(context.settings),
                "uptime_seconds": round(time.monotonic() - context.started, 1),
                "latency": context.metrics.latencies.quantiles(),
                "waiting": context.waiting(),
            }
        )

    async def metrics(_request: Request) -> Response:
        text = await anyio.to_thread.run_sync(_exposed, context)
        return Response(text, media_type=CONTENT_TYPE_LATEST)

    alive = Operation("Whether the process is alive", "service", {"status": "alive"}, answers.StateModel, public=True)
    taking = Operation(
        "Whether requests are to be sent here", "service", {"status": "ready"}, answers.StateModel, public=True
    )
    figures = Operation("Sizes, methods, recall, limits, and the latencies of the last minute", "service", _INFO)
    scraped = Operation("Figures for Prometheus", "service", "adapt_index_items 41.0\n", media_type="text/plain")
    add_route(app, "GET", "/v1/health", health, alive)
    add_route(app, "GET", "/v1/ready", ready, taking)
    add_route(app, "GET", "/v1/info", info, figures)
    add_route(app, "GET", "/metrics", metrics, scraped)
    _add_page(app)


def _exposed(context: Context) -> bytes:
    known = context.service.info()
    context.metrics.set(
        {
            "queue_depth": sum(context.waiting().values()),
            "requests_running": context.running,
            "index_items": known["index"]["count"],
            "events": known["memory"]["events"],
        }
    )
    return context.metrics.text()


def _add_page(app: FastAPI) -> None:
    """The page, from memory: no request names a file of this machine."""
    files = _page_files()

    async def page(request: Request) -> Response:
        name = request.path_params.get("name", "index.html")
        if name not in files:
            raise ProblemError(404, "expected a file of the page, found another name")
        data, kind, tag = files[name]
        headers = {"ETag": tag, "Cache-Control": "no-cache"}
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers=headers)
        return Response(data, headers=headers, media_type=kind)

    for path in ("/", PAGE + "{name}"):
        app.add_api_route(path, page, methods=["GET"], include_in_schema=False)


def _page_files() -> dict[str, tuple[bytes, str, str]]:
    """Bytes, media type and tag of every file of the page."""
    found = {}
    for file in (resources.files("adapt.serve") / "page").iterdir():
        suffix = file.name[file.name.rfind(".") :]
        if file.is_file() and suffix in _TYPES:
            data = file.read_bytes()
            found[file.name] = (data, _TYPES[suffix], f'"{sha256(data).hexdigest()[:32]}"')
    return found
